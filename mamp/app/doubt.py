"""How wrong a computed mask is likely to be, object by object, and which frame is worth correcting next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.app.project import Frame

# expected error = 1 - exp(-SCALE * x ** POWER), x: see `doubts`; fitted to 1 - J on the `tune` sequences of
# DAVIS-2016, presets tuned and fast (docs/experiments.md, "What a correction is worth")
SCALE, POWER = 0.0903, 0.819
GROWTH = 20.0  # frames
SURE = 0.02  # what any pixel lacks; over a whole frame it would outweigh a small object


class Place(NamedTuple):
    """A frame, the object on it to look at, and how much of the object is expected to be wrong, 0 to 1."""

    frame: int
    object: int
    unsure: float


def doubts(probabilities: Tensor, ids: Sequence[int]) -> dict[int, float]:
    """Return the expected error 1 - J of each object's mask, in [0, 1]; 1 where nothing of it is left.

    The margin of a pixel is the difference of its two most probable labels. What the object's pixels, and
    those where it comes second, lack of a margin of 1 is summed and divided by the object's area: the lack. A
    mask that is wrong is also ragged: the lack is multiplied by the square root of the border's length over
    the square root of the area.

    probabilities: (K+1, H, W), background first. ids: of the K objects.
    """
    best, labels = torch.topk(probabilities, 2, dim=0)  # (2, H, W)
    lack = 1 - (best[0] - best[1])
    lack = lack.masked_fill(lack <= SURE, 0)
    found = {}
    for k, number in enumerate(ids, start=1):
        mine = labels[0] == k
        area = float(mine.sum())
        if not area:
            found[number] = 1.0
            continue
        border = F.max_pool2d(mine[None, None].float(), 3, 1, 1)[0, 0].sum().item() - area
        x = float(lack[mine | (labels[1] == k)].sum()) / area * (border / area**0.5) ** 0.5
        found[number] = round(1 - float(np.exp(-SCALE * x**POWER)), 4)
    return found


def worth(frames: Sequence[Frame], objects: Collection[int]) -> dict[int, np.ndarray]:
    """Return what a correction of each frame is expected to save of each object, float (T,), in frames.

    Errors are expected to grow with the distance from the drawn frame that they come from, as
    1 - exp(-distance / GROWTH), towards what each frame's own doubt says. So what a correction saves is the
    sum, over the frames from it to the next drawn one, of how much nearer it is to them. Where all frames are
    as doubtful the middle is worth most. A frame that was computed backward is looked at in that direction. 0
    where nothing can be saved: frames that are drawn, locked, or not computed.
    """
    kinds = np.array([frame.kind for frame in frames])
    fixed = np.array([frame.kind == "drawn" or frame.locked for frame in frames])
    found = {}
    for number in objects:
        errors = np.array([error_of(frame, number) for frame in frames])
        forward = np.where(kinds == "forward", errors, 0.0)
        backward = np.where(kinds == "backward", errors, 0.0)[::-1]
        drawn = kinds == "drawn"
        saved = _saved(forward, drawn) + _saved(backward, drawn[::-1])[::-1]
        found[number] = np.where(fixed, 0.0, saved)
    return found


def _saved(errors: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """What a correction of each frame saves in those from it to the next drawn one, float (T,)."""
    fade, saved = float(np.exp(-1 / GROWTH)), np.zeros_like(errors)
    ahead = 0.0  # sum of errors[t] * fade ** (t - i) over the frames t from i to the next drawn one
    for i in range(len(errors) - 1, -1, -1):
        ahead = 0.0 if drawn[i] else errors[i] + fade * ahead
        saved[i] = ahead
    start = np.maximum.accumulate(np.where(drawn, np.arange(len(errors)), 0)) if len(errors) else saved
    nearer = 1 - fade ** (np.arange(len(errors)) - start)
    return np.where(errors > 0, saved * nearer, 0.0)


def error_of(frame: Frame, number: int) -> float:
    """The expected error of an object's mask; of a project of an earlier version that of the worst object."""
    if frame.kind == "drawn":
        return 0.0
    return frame.each.get(number, 0.0) if frame.each else frame.unsure or 0.0


def next_place(
    frames: Sequence[Frame], objects: Collection[int], *, seen: Collection[int] = ()
) -> Place | None:
    """Return the frame and object whose correction is worth most; None where no computed frame is left.

    seen: frames that were looked at already; they and those close to them are passed over.
    """
    near = max(2, round(len(frames) / 40))
    open_ = np.array([bool(f.kind) and f.kind != "drawn" and not f.locked for f in frames], bool)
    for index in seen:
        open_[max(0, index - near) : index + near + 1] = False
    best: tuple[float, float, int, int] | None = None
    for number, saved in worth(frames, objects).items():
        errors = np.array([error_of(frame, number) for frame in frames])
        ranked = np.where(open_ & (errors > 0), saved + 1e-6 * errors, -1.0)
        if len(ranked) and (top := int(ranked.argmax())) >= 0 and ranked[top] >= 0:
            rank = (float(ranked[top]), float(errors[top]), -top, -number)
            best = max(best, rank) if best else rank
    return best and Place(-best[2], -best[3], best[1])


def worst(each: Mapping[int, float]) -> float | None:
    """The expected error of the worst object; None without objects."""
    return max(each.values(), default=None)
