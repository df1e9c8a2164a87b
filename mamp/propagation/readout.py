"""Reading a space-time memory: every query cell looks at every cell of every memory frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamp.core.files import MB


def memory_read(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    *,
    known: Sequence[Tensor] | None = None,
    top_k: int | None = None,
    max_bytes: int = 64 * MB,
) -> Tensor:
    """Read the memory: softmax over all its cells of <key, query> / sqrt(C), times values (STM, eq. 1).

    query: (K, C, h, w). keys: M of (K, C, n), n cells a frame. values: M of (K, V, n). known: M of bool (K,),
    which objects a frame knows, best on the CPU; each object in at least one. top_k: read only so many cells,
    the most similar ones. max_bytes: bound on the affinity in memory, by reading a part of the query cells at
    a time; no result depends on it. Returns (K, V, h, w), float32. Similarities are float32 under autocast
    too.
    """
    height, width = query.shape[-2:]
    with torch.autocast(query.device.type, enabled=False):
        scaled = query.float().flatten(2) * query.shape[1] ** -0.5  # (K, C, h*w)
        cells = sum(key.shape[-1] for key in keys)
        rows = max(1, int(max_bytes // (3 * 4 * len(query) * cells)))  # affinity, softmax and one copy
        hidden = [_hidden(there, query.device) for there in known or ()]
        parts = [_read(part, keys, values, hidden=hidden, top_k=top_k) for part in scaled.split(rows, dim=-1)]
    return torch.cat(parts, dim=-1).unflatten(-1, (height, width))


def _hidden(known: Tensor, device: torch.device) -> Tensor | None:
    """Which objects a frame does not know, bool (K, 1, 1) on the device; None where it knows all."""
    return None if bool(known.all()) else ~known.to(device)[:, None, None]


def _read(
    query: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    *,
    hidden: Sequence[Tensor | None],
    top_k: int | None,
) -> Tensor:
    """(K, C, q) query cells -> (K, V, q). hidden: of each frame, as of `_hidden`, or empty."""
    frames = [key.float().transpose(1, 2) @ query for key in keys]  # M of (K, n, q)
    for n, objects in enumerate(hidden):
        if objects is not None:
            frames[n] = frames[n].masked_fill(objects, -torch.inf)
    affinity = torch.cat(frames, dim=1)  # (K, M*n, q)
    if top_k is not None and top_k < affinity.shape[1]:
        best, cells = affinity.topk(top_k, dim=1)
        weights = torch.zeros_like(affinity).scatter(1, cells, best.softmax(dim=1))
    else:
        weights = affinity.softmax(dim=1)
    sizes = [key.shape[-1] for key in keys]
    read = torch.zeros(())
    for n, (value, part) in enumerate(zip(values, weights.split(sizes, dim=1), strict=True)):
        product = value.float() @ part  # (K, V, q)
        read = product if n == 0 else read + product
    return read
