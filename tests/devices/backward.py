"""Autograd's engine in Python for the pretend device; torch's own asks a driver for streams."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def backward(tensors: Any, grad_tensors: Any = None, *_: Any, **__: Any) -> None:
    """torch.autograd.backward: add gradients to the leaves' `.grad`."""
    _gradients(_listed(tensors), _listed(grad_tensors), None)


def gradients(outputs: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Tensor | None, ...]:
    """torch.autograd.grad of `outputs` with respect to `inputs`."""
    return _gradients(_listed(outputs), [None], _listed(inputs))


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


@torch.no_grad()
def _gradients(
    roots: list[Tensor], seeds: list[Tensor | None], wanted: Sequence[Tensor] | None
) -> tuple[Tensor | None, ...]:
    """Visit each node of the graph once all that read it have been visited.

    Without oneDNN, whose gradients of narrow convolutions can end the process (`core.devices.backward_on`).
    """
    with _without_onednn():
        return _visited(roots, seeds, wanted)


def _visited(
    roots: list[Tensor], seeds: list[Tensor | None], wanted: Sequence[Tensor] | None
) -> tuple[Tensor | None, ...]:
    waiting = _readers([_node(root) for root in roots])
    asked = {tuple(torch.autograd.graph.get_gradient_edge(t)[:2]): n for n, t in enumerate(wanted or ())}
    held: dict[Any, dict[int, Tensor]] = {}
    found: dict[int, Tensor] = {}
    for root, seed in zip(roots, seeds, strict=True):
        _add(held, _node(root), root.output_nr, torch.ones_like(root) if seed is None else seed)
    ready = [node for node in dict.fromkeys(map(_node, roots)) if not waiting[node]]
    while ready:
        node = ready.pop()
        mine = held.pop(node, {})
        found |= {asked[node, n]: gradient for n, gradient in mine.items() if (node, n) in asked}
        if type(node).__name__ == "AccumulateGrad":
            if wanted is None and 0 in mine:
                leaf = node.variable
                leaf.grad = mine[0].detach().clone() if leaf.grad is None else leaf.grad + mine[0]
            continue
        below = node.next_functions
        inputs = (mine.get(n) for n in range(len(node._input_metadata)))
        given = node(*inputs) if mine else (None,) * len(below)
        given = given if isinstance(given, tuple) else (given,)
        for (child, place), gradient in zip(below, given, strict=True):
            if child is not None:
                _add(held, child, place, gradient)
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
    return tuple(found.get(n) for n in range(len(wanted or ())))


def _readers(roots: list[Any]) -> Counter[Any]:
    """Of each node of the graph how many edges lead to it."""
    waiting: Counter[Any] = Counter()
    seen, todo = set(roots), list(dict.fromkeys(roots))
    while todo:
        for child, _ in todo.pop().next_functions:
            if child is not None:
                waiting[child] += 1
                if child not in seen:
                    seen.add(child)
                    todo.append(child)
    return waiting


def _add(held: dict[Any, dict[int, Tensor]], node: Any, place: int, gradient: Tensor | None) -> None:
    mine = held.setdefault(node, {})
    if gradient is not None:
        of = node._input_metadata[place]
        gradient = gradient.to(of.dtype).sum_to_size(of.shape)
        mine[place] = mine[place] + gradient if place in mine else gradient


def _node(tensor: Tensor) -> Any:
    return (
        tensor.grad_fn if tensor.grad_fn is not None else torch.autograd.graph.get_gradient_edge(tensor).node
    )


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]
