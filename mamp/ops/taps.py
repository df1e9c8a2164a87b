"""Resizing a part of a picture: what each new row and column reads of the old ones.

Numbers are those of `mamp.ops.sizes.resize` but for rounding, whatever the part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mamp.ops.sizes import bilinear_neighbours


@dataclass(frozen=True)
class Taps:
    """What each new cell along one side reads in a bilinear resize.

    Two old cells, int64 (n,), and the second one's part, float32 (n,). Both ascend.
    """

    first: Tensor
    second: Tensor
    part: Tensor

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, some: slice) -> Taps:
        return Taps(self.first[some], self.second[some], self.part[some])

    def reads(self) -> tuple[int, int]:
        """The first old cell that is read, and the one after the last."""
        return int(self.first[0]), int(self.second[-1]) + 1

    def reached(self, start: int, stop: int) -> tuple[int, int]:
        """The first new cell that reads any of the old cells start to stop - 1; the one after the last."""
        low = int(torch.searchsorted(self.second, start))
        return low, max(low, int(torch.searchsorted(self.first, stop - 1, right=True)))

    def moved(self, offset: int) -> Taps:
        """The same where the old cells begin at `offset`."""
        return Taps(self.first - offset, self.second - offset, self.part)

    def to(self, device: torch.device) -> Taps:
        """The same on `device`."""
        return Taps(self.first.to(device), self.second.to(device), self.part.to(device))


def bilinear_taps(source: int, target: int) -> Taps:
    """Half-pixel centres, as `resize`."""
    first, second, part = (torch.from_numpy(x) for x in bilinear_neighbours(source, target))
    return Taps(first, second, part)


def centred_taps(source: int, cell: int, target: int) -> Taps:
    """Old cell i at new cell i * `cell`; the last one goes on, as `mamp.propagation.labels.magnify`."""
    place = torch.arange(target)
    first = (place // cell).clamp(max=source - 1)
    part = (place % cell).float() / cell
    return Taps(first, (first + (part > 0)).clamp(max=source - 1), part)


def placed_taps(source: int, target: int, *, cell: float, offset: float, between: float) -> Taps:
    """Return the taps of old cells centred at `cell` * i + `offset` of a side of length `between`.

    New cells divide that side evenly. Beyond the first and last centre the outermost cells go on.
    """
    place = ((torch.arange(target, dtype=torch.float64) + 0.5) * between / target - offset) / cell
    place = place.clamp(0, source - 1)
    first = place.floor().long()
    part = (place - first).float()
    return Taps(first, (first + (part > 0)).clamp(max=source - 1), part)


def sampled(x: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """(..., h, w) -> (..., len(rows), len(columns))."""
    x = torch.lerp(x[..., rows.first, :], x[..., rows.second, :], rows.part[:, None])
    # gather: ten times faster than x[..., columns.first] on the CPU
    left, right = (x.gather(-1, c.expand(*x.shape[:-1], -1)) for c in (columns.first, columns.second))
    return torch.lerp(left, right, columns.part)


class Shrinking:
    """An antialiased `resize` along one side to fewer cells, or as many, as weights.

    weights: float32 (target, source), what each new cell is of the old ones; None where nothing changes.
    """

    def __init__(self, source: int, target: int, device: torch.device) -> None:
        self.weights: Tensor | None = None
        if source != target:
            scale = source / target
            centre = (torch.arange(target, dtype=torch.float64)[:, None] + 0.5) * scale
            distance = (torch.arange(source, dtype=torch.float64) + 0.5 - centre).abs() / scale
            weights = (1 - distance).clamp(min=0)
            self.weights = (weights / weights.sum(1, keepdim=True)).float().to(device)

    def read_by(self, start: int, stop: int) -> tuple[int, int]:
        """The first old cell that new cells start to stop - 1 read, and the one after the last."""
        return (start, stop) if self.weights is None else nonzero_span(self.weights[start:stop].amax(0))

    def reached(self, start: int, stop: int) -> tuple[int, int]:
        """The first new cell that reads any of the old cells start to stop - 1; the one after the last."""
        return (start, stop) if self.weights is None else nonzero_span(self.weights[:, start:stop].amax(1))

    def along(self, x: Tensor, dim: int, cells: tuple[int, int], pixels: tuple[int, int]) -> Tensor:
        """New cells `cells` of x, which holds old cells `pixels` along its dimension -2 or -1."""
        if self.weights is None:
            return x
        part = self.weights[slice(*cells), slice(*pixels)]
        return part @ x if dim == -2 else x @ part.T


def nonzero_span(values: Tensor) -> tuple[int, int]:
    """The first place of (n,) that is above 0 and the one after the last; (0, 0) for none."""
    places = (values > 0).nonzero()
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
