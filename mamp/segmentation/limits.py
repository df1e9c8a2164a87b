"""Refuse what does not fit into memory before it is begun, and say what would fit."""

from __future__ import annotations

from typing import Any

import torch

from mamp import methods
from mamp.core.errors import UserError, plural
from mamp.core.files import MB
from mamp.core.memory import free_bytes
from mamp.methods.base import Propagator

LEAST_SIDE = 96  # a short side below this is not proposed
LEFT = 0.9  # of what is free is used at most


def refuse_too_many(
    propagator: Propagator, method: Any, objects: int, size: tuple[int, int], *, device: torch.device
) -> None:
    """UserError where so many objects on frames of (H, W) need more memory than is free.

    The sentence names how many objects would fit, and a short side at which all would. What the propagator
    holds already counts as free.
    """
    free = _free(device)
    if free is None:
        return
    there = int(LEFT * free) + propagator.memory_bytes
    needed = propagator.bytes_needed(size, objects)
    if needed <= there:
        return
    fitting = _most(lambda count: propagator.bytes_needed(size, count) <= there, objects)
    advice = [f"give {plural(fitting, 'object')} or fewer at a time"] if fitting else []
    if (side := _short_side(propagator, method, objects, size, there)) is not None:
        advice.append(f"set method.propagation.short_side={side}")
    advice = advice or ["use smaller frames or a machine with more memory"]
    raise UserError(
        f"{plural(objects, 'object')} on frames of {size[1]}x{size[0]} need about {_gb(needed)} of memory,"
        f" and {_gb(there)} are free; {', or '.join(advice)}"
    )


def _free(device: torch.device) -> int | None:
    if device.type == "cuda":
        spare = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + spare
    return free_bytes()


def _most(fits: Any, count: int) -> int:
    """The largest number below `count` that fits; 0 for none."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _short_side(
    propagator: Propagator, method: Any, objects: int, size: tuple[int, int], there: int
) -> int | None:
    """The largest method.propagation.short_side at which it fits; None where there is none."""
    knobs: Any = vars(method).get("propagation")
    there_are = {} if knobs is None else vars(knobs)
    if "short_side" not in there_are:
        return None
    now = min(knobs.short_side or min(size), int(min(size) * there_are.get("enlarge", 1)))

    def fits(side: int) -> bool:
        update: dict[str, Any] = {"propagation": knobs.model_copy(update={"short_side": side})}
        if "motion" in vars(method):
            update["motion"] = type(method.motion)()  # none, which needs no network
        changed = method.model_copy(update=update)
        other = methods.get(method.name).build_propagator(
            propagator.model, changed, motion=propagator.motion, device=propagator.device
        )
        return other.bytes_needed(size, objects) <= there

    side = _most(fits, now) // 8 * 8
    return side if side >= LEAST_SIDE else None


def _gb(count: int) -> str:
    return f"{count / (1000 * MB):.2g} GB" if count < 10**10 else f"{count / (1000 * MB):.0f} GB"
