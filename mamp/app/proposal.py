"""A mask from a few clicks or a box: a classifier of the frame's own features, fitted to them on the spot.

Nothing is learnt from masks: cells are separated by the features that carry labels, and by colour.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamp import methods
from mamp.app.cells import Cells, classify, connected, disc, distances
from mamp.core.devices import out_of_memory
from mamp.core.errors import UserError, first_line
from mamp.methods.trunk import MethodTrunk

MOST = 200  # points
KEPT = 400  # answers of one frame that later clicks can go on from

Point = tuple[float, float]
Suggest = Callable[[np.ndarray, "Wish", "np.ndarray | None"], np.ndarray]


@dataclass(frozen=True)
class Wish:
    """What a person showed: points (x, y) on and beside the object, or a box (left, top, right, bottom).

    All in pixels of the frame.

    series: a number of the person's page, the same for all clicks of one suggestion.
    """

    inside: tuple[Point, ...] = ()
    outside: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None
    series: int = 0

    def before(self) -> list[tuple[Wish, Point, bool]]:
        """The wishes that this one may have followed, each with the click that was added, and its side."""
        found = []
        if self.inside:
            found.append((replace(self, inside=self.inside[:-1]), self.inside[-1], True))
        if self.outside:
            found.append((replace(self, outside=self.outside[:-1]), self.outside[-1], False))
        return found


class Proposer:
    """Masks from clicks. State: what is known of the frame asked about last, and the answers given on it.

    network, method: as a `Segmenter` takes them. A method without a trunk leaves the colours to go by.
    suggest: what answers instead, see `of_person`.
    """

    def __init__(
        self, network: torch.nn.Module, method: Any, device: torch.device, *, suggest: Suggest | None = None
    ) -> None:
        self._device, self._suggest = device, suggest
        build = methods.get(method.name).trunk
        self._trunk: MethodTrunk | None = None
        if build is not None:
            self._trunk = build(network, method)
        elif isinstance(network, MethodTrunk):  # the probe's encoder
            self._trunk = network
        if self._trunk is not None:
            self._trunk.to(device).eval()
        self._seen: tuple[int, Cells] | None = None  # a frame's checksum, and its cells
        self._answers: OrderedDict[Wish, np.ndarray] = OrderedDict()

    @out_of_memory(lambda: "start the page with --device cpu, or give it smaller frames")
    @torch.inference_mode()
    def mask(
        self,
        index: int,
        frame: np.ndarray,
        wish: Wish,
        *,
        current: np.ndarray | None = None,
        near: np.ndarray | None = None,
    ) -> np.ndarray:
        """bool (H, W): what `wish` says of `frame`, uint8 (H, W, 3), which is number `index` of its video.

        current: the object's mask on this frame before the first click, bool (H, W), which clicks correct.
        near: the object's mask on a neighbouring frame, as a hint where there is no current one.
        Raises UserError for a wish that shows nothing.
        """
        refuse_nothing(wish, frame.shape)
        current = current if current is not None and current.any() else None
        if self._suggest is not None:
            return asked(self._suggest, frame, wish, current)
        cells = self._look(frame)
        for earlier, point, on in wish.before():
            mask = self._answers.get(earlier)
            if mask is None and current is not None and earlier == Wish(series=wish.series):
                mask = current
            if mask is not None:
                return self._keep(wish, corrected(cells, mask, wish, point, on=on))
        mask = begun(cells, wish, near=near)
        return self._keep(wish, mask if current is None else mask | current)

    def _keep(self, wish: Wish, mask: np.ndarray) -> np.ndarray:
        self._answers[wish] = mask
        while len(self._answers) > KEPT:
            self._answers.popitem(last=False)
        return mask

    def _look(self, frame: np.ndarray) -> Cells:
        """The frame's cells; looked at anew only where it is another frame than the last."""
        key = zlib.crc32(np.ascontiguousarray(frame).data)
        if self._seen is None or self._seen[0] != key:
            self._seen, self._answers = (key, Cells.of(frame, self._trunk, self._device)), OrderedDict()
        return self._seen[1]


def refuse_nothing(wish: Wish, size: tuple[int, ...]) -> None:
    """UserError for a wish without a box or a click within the frame."""
    there = [0 <= x < size[1] and 0 <= y < size[0] for x, y in wish.inside]
    beside = wish.outside and wish.series  # a click beside corrects the mask that is there
    if wish.box is None and not any(there) and not beside:
        raise UserError("no click or box shows the object; click on it, or draw a box around it")


def begun(cells: Cells, wish: Wish, *, near: np.ndarray | None) -> np.ndarray:
    """bool (H, W): the first answer to a wish."""
    on, off = cells.at(wish.inside), cells.at(wish.outside)
    if not on.any() and wish.box is None:
        raise UserError("no click or box shows the object; click on it, or draw a box around it")
    hint = None if near is None or not near.any() else cells.shrunk(near)
    if hint is not None and (wish.box is not None or not (distances(hint < 0.5)[on] > 0).all()):
        hint = None  # the click lies elsewhere
    start = _from_box(cells, wish.box) if wish.box is not None else _from_clicks(cells, on, hint)
    belief = cells.zeros()
    object_, ground = start.object, start.ground + 3 * disc(off, 0.03 * cells.short)
    for _ in range(TURNS):
        looks = classify(cells, object_, ground)
        odds = _held((start.prior + looks).masked_fill(start.beyond, -8.0), cells, on, off)
        belief = cells.smooth(odds.sigmoid()).masked_fill(start.beyond, 0)
        belief = _touching(belief.masked_fill(on, 1).masked_fill(off, 0), on)
        object_ = belief * (belief > SURE) + _part(on, 0.05, belief)
        unlike = (belief < 1 - SURE) & (looks < 0)  # not by its place alone
        # cells close to the object see some of it: they are separated by what is learnt elsewhere
        unlike = unlike & (distances(belief > 0.5) > BAND)
        ground = (1 - belief) * unlike * (_close(belief, cells) + 0.05) + 0.1 * start.ground * (looks < 0)
        ground = ground + _part(off, 0.1, ground)
    return _whole(cells.fit(belief, wish.box), cells, wish)


def corrected(cells: Cells, mask: np.ndarray, wish: Wish, point: Point, *, on: bool) -> np.ndarray:
    """bool (H, W): a mask after one more click.

    A click on the object only adds the part around it, a click beside only takes away. So what was right
    elsewhere stays.
    """
    click = cells.at((point,))
    if not click.any():
        return mask
    before = cells.shrunk(mask)
    there = before > 0.5
    apart = distances(click)
    depth = float(
        distances(there if on else ~there)[click].min()
    )  # how far the click lies from the other side
    depth = min(depth, DEEPEST * cells.short)
    reach = REACH * depth + 3
    far = apart > reach
    object_ = before * (before > SURE) * (far | torch.tensor(on))
    ground = (1 - before) * (before < 1 - SURE) * (_close(before, cells) + 0.02)
    ground = ground * (far | torch.tensor(not on))
    spot = disc(click, max(1.0, 0.5 * depth))
    clicks = cells.at(wish.inside), cells.at(wish.outside)
    object_ = object_ + (_part(spot, 0.5, object_) if on else 0) + _part(clicks[0], 0.05, object_)
    ground = ground + (0 if on else _part(spot, 0.5, ground)) + _part(clicks[1], 0.05, ground)
    side = 1.0 if on else -1.0
    odds = classify(cells, object_, ground) + side * LEAN * (1 - 2 * apart / reach)
    odds = _held(odds, cells, *clicks)
    odds = torch.where(far, (8 * (before - 0.5)), odds)
    belief = cells.smooth(odds.sigmoid()).masked_fill(clicks[0], 1).masked_fill(clicks[1], 0)
    found = cells.fit(torch.where(far, before, belief), None)
    spots = cells.spots((point,))
    if on:
        return mask | connected((found | spots) & ~mask, spots & ~mask)
    return mask & ~connected((~found | spots) & mask, spots & mask)


@dataclass(frozen=True)
class Start:
    """What is known before anything is fitted, (h, w) each.

    object, ground: weights of cells that are taken for the object and for what is around it. prior: log odds
    that hold throughout. beyond: where the object cannot be.
    """

    object: Tensor
    ground: Tensor
    prior: Tensor
    beyond: Tensor


def _from_clicks(cells: Cells, on: Tensor, hint: Tensor | None) -> Start:
    """An object around the clicks; of another frame's mask there it has the extent."""
    apart = distances(on) / cells.short
    object_, ground = torch.exp(-((apart / 0.03) ** 2)), ((apart - GAP) / 0.5).clamp(0, 1)
    prior = 0.6 * (1 - 2 * (apart / 0.25) ** 2).clamp(min=-6)
    if hint is not None:
        beside = distances(hint > 0.5) / cells.short
        object_ = object_ + hint * (distances(hint < 0.5) / cells.short > 0.02)
        ground = (beside > 0.05).float() * torch.exp(-beside / 0.2)
        prior = 2 * (1 - beside / 0.04).clamp(min=-3) * (hint < 0.5) + 1.5 * (hint > 0.5)
    return Start(object_, ground, prior, torch.zeros_like(on))


def _from_box(cells: Cells, box: tuple[float, float, float, float]) -> Start:
    """An object that fills a box: its middle at first, against a ring around the box."""
    (left, right), (top, bottom) = cells.across(box[0], box[2]), cells.down(box[1], box[3])
    wide, high = max(right - left, 1e-3), max(bottom - top, 1e-3)
    x, y = ((2 * cells.x + 1 - left - right) / wide).abs(), ((2 * cells.y + 1 - top - bottom) / high).abs()
    middle = x**2 + y**2
    beyond = (x > 1 + 1 / wide) | (y > 1 + 1 / high)
    around = max(4.0, 0.5 * min(wide, high))
    ring = beyond & (x < 1 + 2 * around / wide) & (y < 1 + 2 * around / high)
    core = (2 - 4 * middle).sigmoid().masked_fill(beyond, 0)
    inner = core[~beyond]
    core = core * (core > inner.quantile(1 - CORE)) if len(inner) > 1 else core
    if not core.any():
        core = (~beyond).float()
    return Start(core, ring.float() + 0.02 * beyond, 0.7 * (1 - middle), beyond)


def _held(odds: Tensor, cells: Cells, on: Tensor, off: Tensor) -> Tensor:
    """Log odds that are what the clicks say at their places."""
    for clicks, value in ((on, 5.0), (off, -5.0)):
        if clicks.any():
            weight = disc(clicks, 0.02 * cells.short)
            odds = odds * (1 - weight) + value * weight
    return odds


def _touching(belief: Tensor, on: Tensor) -> Tensor:
    """A belief that is small in parts without a click, where there are clicks."""
    if not on.any():
        return belief
    likely = belief > 0.4
    held = connected(likely.cpu().numpy(), on.cpu().numpy())
    return torch.where(likely & ~torch.from_numpy(held).to(belief.device), 0.2 * belief, belief)


def _close(belief: Tensor, cells: Cells) -> Tensor:
    """(h, w), 1 at the object and less with the distance from it: what is near is separated first."""
    there = belief > 0.5
    if not there.any():
        return torch.ones_like(belief)
    size = float(there.sum()) ** 0.5 / cells.short
    return torch.exp(-distances(there) / cells.short / (size + 0.05))


def _part(chosen: Tensor, part: float, others: Tensor) -> Tensor:
    """Weights of chosen cells that add up to a part of those of the others."""
    total = chosen.float().sum()
    return chosen.float() * (part * others.sum() / total) if total > 0 else torch.zeros_like(others)


def _whole(mask: np.ndarray, cells: Cells, wish: Wish) -> np.ndarray:
    """A mask without parts that have no click; of a box the large ones stay."""
    spots = cells.spots(wish.inside)
    mask = (mask | spots) & ~cells.spots(wish.outside)
    held = connected(mask, spots) if wish.inside else np.zeros_like(mask)
    return held | cells.large(mask) if wish.box is not None else held


def of_person(name: str) -> Suggest:
    """Return the function that `--suggest MODULE:FUNCTION` names.

    It is called as `function(frame, points, labels, box, mask)`: frame uint8 (H, W, 3) RGB; points float
    (N, 2) of x, y and labels int (N,), 1 on the object and 0 beside it; box float (4,) of left, top, right,
    bottom or None; mask bool (H, W), the object's mask before the first click, or None. It returns bool
    (H, W).
    Raises UserError where there is no such function.
    """
    from importlib import import_module

    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute) if module and attribute else None
    except Exception as error:
        raise UserError(
            f"--suggest {name} cannot be imported ({first_line(error)}); give MODULE:FUNCTION"
        ) from None
    if not callable(found):
        raise UserError(f"--suggest {name} is no function; give MODULE:FUNCTION, such as my_sam:suggest")

    def suggest(frame: np.ndarray, wish: Wish, mask: np.ndarray | None) -> np.ndarray:
        points = np.array([*wish.inside, *wish.outside], np.float32).reshape(-1, 2)
        labels = np.array([1] * len(wish.inside) + [0] * len(wish.outside))
        box = None if wish.box is None else np.array(wish.box, np.float32)
        try:
            made = np.asarray(found(frame, points, labels, box, mask))
        except Exception as error:
            raise UserError(
                f"{name} failed ({type(error).__name__}: {first_line(error)}); correct it there"
            ) from error
        if made.shape != frame.shape[:2]:
            raise UserError(f"{name} returned {made.shape}; return a mask {frame.shape[:2]}, as the frame")
        return made.astype(bool)

    return suggest


def asked(suggest: Suggest, frame: np.ndarray, wish: Wish, current: np.ndarray | None) -> np.ndarray:
    """What a person's own function answers."""
    return suggest(frame, wish, current)


TURNS = 4  # of fitting
SURE = 0.65  # belief from which a cell is learnt from
GAP = 0.1  # of the short side, around a click, that is not ground at first
BAND = 2.0  # cells around the object that are not learnt from
CORE = 0.3  # part of a box that is taken for the object
REACH = 1.7  # what a click changes, in its distance from the other side
DEEPEST = 0.1  # of the short side
LEAN = 1.0  # log odds towards a click's side at the click
