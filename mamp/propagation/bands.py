"""The label map of many objects or of a large frame, without a probability for each object and pixel.

The frame goes through in bands of rows, and in each band the objects one by one, each only where it may lie.
Soft labels on the grid of features are 0 nearly everywhere for nearly every object, so that this is also
faster. What the dense way gives (`MampPropagator._to_frame` and `_fitted`) differs by rounding alone.

Letters: K objects, H W pixels, h w feature cells, Y X cells of the grid that edges are fitted on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mamp.ops.taps import Shrinking, Taps, bilinear_taps, sampled
from mamp.propagation.guided import colour_window, local_function

Span = tuple[int, int]  # start and stop
Found = tuple[int, Span, Span, Tensor]  # channel, rows, columns, and its values there
BAND_BYTES = 1 << 27  # about what one band takes
_PLANES = 24  # float planes of a band that are held at once, at most


@dataclass(frozen=True)
class Side:
    """How cells of features become pixels along one side, by way of the pixels that the network sees.

    cells: taps of all pixels of the network that lie in the frame. pixels: taps of all pixels of the video.
    """

    cells: Taps
    pixels: Taps

    def reached(self, cells: Span) -> Span:
        """The pixels of the video that read these cells."""
        return self.pixels.reached(*self.cells.reached(*cells))


@dataclass(frozen=True)
class EdgeFit:
    """The arguments of `guided_filter`."""

    radius: int
    eps: float
    step: int


def spread(scores: Tensor, rows: tuple[Side, Span], columns: tuple[Side, Span]) -> Tensor:
    """Scores (..., h, w) -> their values at these pixels of the video."""
    inner, outer = [], []
    for side, span in (rows, columns):
        pixels = side.pixels[slice(*span)]
        reads = pixels.reads()
        inner.append(side.cells[slice(*reads)])
        outer.append(pixels.moved(reads[0]))
    return sampled(sampled(scores, *inner), *outer)


def winners(
    scores: Tensor,
    frame: Tensor,
    sides: tuple[Side, Side],
    *,
    fit: EdgeFit | None,
    without: list[int] | None = None,
    max_bytes: int = BAND_BYTES,
) -> Tensor:
    """Most probable channel of each pixel, int32 (H, W); of equals the first, background, channel 0, before
    all.

    scores: (K+1, h, w), 0 or more. frame: (3, H, W), float in [0, 1] or uint8. sides: rows and columns.
    fit: to the edges of the frame, or not. without: channels that win nowhere. max_bytes: about what is
    held beside the result; changes nothing but time and rounding.
    """
    work = _Work(scores, frame, sides, fit, set(without or ()))
    height, width = frame.shape[-2:]
    result = torch.zeros((height, width), dtype=torch.int32, device=scores.device)
    rows = max(1, max_bytes // (4 * _PLANES * width))
    for top in range(0, height, rows):
        band = (top, min(top + rows, height))
        result[slice(*band)] = work.band(band)
    return result


class _Work:
    """One frame. State: where each channel's scores are not 0, and the sum over the channels."""

    def __init__(
        self, scores: Tensor, frame: Tensor, sides: tuple[Side, Side], fit: EdgeFit | None, without: set[int]
    ) -> None:
        device = scores.device
        self.scores, self.frame, self.fit, self.without = scores, frame, fit, without
        self.rows, self.columns = sides
        self.size = frame.shape[-2:]
        self.total = scores.sum(0)  # (h, w)
        spans = zip(_spans(scores.amax(2)), _spans(scores.amax(1)), strict=True)
        self.cells = {k: (y, x) for k, (y, x) in enumerate(spans) if y[1] > y[0] or k == 0}
        if fit is not None:
            grid = [-(-side // fit.step) for side in self.size]
            self.shrink = [Shrinking(n, m, device) for n, m in zip(self.size, grid, strict=True)]
            self.taps = [bilinear_taps(m, n).to(device) for n, m in zip(self.size, grid, strict=True)]
            self.grid: Span = (grid[0], grid[1])
            self.radius = max(1, round(fit.radius / fit.step))
            self.mean = torch.stack([_mean(plane) for plane in frame])[:, None, None]

    def band(self, band: Span) -> Tensor:
        """The winners in rows `band`."""
        best = self.scores.new_zeros(band[1] - band[0], self.size[1])
        winner = torch.zeros_like(best, dtype=torch.int32)
        channels = [k for k in self.cells if k not in self.without]
        for k, rows, columns, values in (
            self._fitted(band, channels) if self.fit is not None else self._plain(band, channels)
        ):
            here = slice(rows[0] - band[0], rows[1] - band[0]), slice(*columns)
            better = values > best[here]
            best[here] = torch.where(better, values, best[here])
            winner[here].masked_fill_(better, k)
        return winner

    def _box(self, k: int, band: Span) -> tuple[Span, Span]:
        """Rows of the band, and columns, where channel k may be; background may be everywhere."""
        if k == 0:
            return band, (0, self.size[1])
        cells = self.cells[k]
        return _both(self.rows.reached(cells[0]), band), self.columns.reached(cells[1])

    def _probabilities(self, k: int, rows: Span, columns: Span, total: Tensor) -> Tensor:
        """Channel k at these pixels; total: the sum over all channels there."""
        plane = spread(self.scores[k], (self.rows, rows), (self.columns, columns)) / total.clamp(min=1e-12)
        return torch.where(total > 0, plane, 1.0) if k == 0 else plane

    def _total(self, rows: Span) -> Tensor:
        return spread(self.total, (self.rows, rows), (self.columns, (0, self.size[1])))

    def _plain(self, band: Span, channels: list[int]) -> Iterator[Found]:
        """(channel, rows, columns, probabilities) of all that may lie in the band."""
        total = self._total(band)
        for k in channels:
            rows, columns = self._box(k, band)
            if rows[1] > rows[0] and columns[1] > columns[0]:
                part = total[rows[0] - band[0] : rows[1] - band[0], slice(*columns)]
                yield k, rows, columns, self._probabilities(k, rows, columns, part)

    def _fitted(self, band: Span, channels: list[int]) -> Iterator[Found]:
        """As `_plain`, fitted to the edges of the frame; 0 where a channel is not yielded."""
        assert self.fit is not None
        down, across = self.shrink
        out = self.taps[0][slice(*band)].reads()  # rows of the grid whose functions are read
        near = _grown(out, 2 * self.radius, self.grid[0])  # rows of the grid that these depend on
        pixels, everywhere = down.read_by(*near), (0, self.size[1])
        total = self._total(pixels)
        guide = self._shrunk(self._image(pixels), (near, (0, self.grid[1])), (pixels, everywhere))
        window = colour_window(guide, radius=self.radius, eps=self.fit.eps)
        image = self._image(band)
        for k in channels:
            rows, columns = self._box(k, pixels)
            if rows[1] <= rows[0] or columns[1] <= columns[0]:
                continue
            # cells of the grid that are not 0
            y, x = _both(down.reached(*rows), near), across.reached(*columns)
            part = total[rows[0] - pixels[0] : rows[1] - pixels[0], slice(*columns)]
            plane = self._probabilities(k, rows, columns, part)[None]
            plane = self._shrunk(plane, (y, x), (rows, columns))
            where, function = self._function(plane, y, x, near=near, out=out, guide=guide, window=window)
            rows = _both(self.taps[0].reached(*where[0]), band)
            columns = self.taps[1].reached(*where[1])
            if rows[1] <= rows[0] or columns[1] <= columns[0]:
                continue
            yield k, rows, columns, self._applied(function, where, rows, columns, image, band)

    def _function(
        self, plane: Tensor, y: Span, x: Span, *, near: Span, out: Span, guide: Tensor, window: list[Tensor]
    ) -> tuple[tuple[Span, Span], Tensor]:
        """Slopes and offset (4, ., .) of a channel where they are not 0, and where that is on the grid."""
        reach = 2 * self.radius + 1  # one more, of zeros, for pixels between
        wide = _both(_grown(y, 2 * reach, self.grid[0]), near), _grown(x, 2 * reach, self.grid[1])
        where = _both(_grown(y, reach, self.grid[0]), out), _grown(x, reach, self.grid[1])
        here = slice(wide[0][0] - near[0], wide[0][1] - near[0]), slice(*wide[1])
        padded = guide.new_zeros(1, wide[0][1] - wide[0][0], wide[1][1] - wide[1][0])
        padded[:, y[0] - wide[0][0] : y[1] - wide[0][0], x[0] - wide[1][0] : x[1] - wide[1][0]] = plane
        mean, *triangle = [value[..., here[0], here[1]] for value in window]
        function = local_function(
            guide[:, here[0], here[1]], padded, mean=mean, triangle=triangle, radius=self.radius
        )
        cut = [slice(a[0] - b[0], a[1] - b[0]) for a, b in zip(where, wide, strict=True)]
        return where, function[:, cut[0], cut[1]]

    def _applied(
        self,
        function: Tensor,
        where: tuple[Span, Span],
        rows: Span,
        columns: Span,
        image: Tensor,
        band: Span,
    ) -> Tensor:
        """The function of the colours at these pixels, in [0, 1]."""
        taps = []
        for taps_of, span, there in zip(self.taps, (rows, columns), where, strict=True):
            moved = taps_of[slice(*span)].moved(there[0])
            most = there[1] - there[0] - 1
            taps.append(Taps(moved.first.clamp(0, most), moved.second.clamp(0, most), moved.part))
        at = sampled(function, *taps)
        colours = image[:, rows[0] - band[0] : rows[1] - band[0], slice(*columns)]
        return ((at[:3] * colours).sum(0) + at[3]).clamp(0, 1)

    def _shrunk(self, x: Tensor, cells: tuple[Span, Span], pixels: tuple[Span, Span]) -> Tensor:
        """(C, H, W) of these pixels -> (C, Y, X) of these cells of the grid."""
        for shrink, dim, now, before in zip(self.shrink, (-2, -1), cells, pixels, strict=True):
            x = shrink.along(x, dim, now, before)
        return x

    def _image(self, rows: Span) -> Tensor:
        """(3, ., W): the frame in these rows, less its mean colour."""
        part = self.frame[:, slice(*rows)]
        return (part.float() / 255 if part.dtype == torch.uint8 else part) - self.mean


def _spans(values: Tensor) -> list[Span]:
    """(N, n), 0 or more -> N times the first place that is not 0 and the one after the last, or (0, 0)."""
    there = (values > 0).to(torch.uint8)
    first = there.argmax(1)
    last = there.shape[1] - there.flip(1).argmax(1)
    found = there.any(1)
    spans = torch.stack((first * found, last * found), 1).tolist()
    return [(start, stop) for start, stop in spans]


def _mean(plane: Tensor) -> Tensor:
    """The mean of (H, W) in [0, 1], or uint8."""
    return (
        plane.sum(dtype=torch.int64).float() / (255 * plane.numel())
        if plane.dtype == torch.uint8
        else plane.mean()
    )


def _both(a: Span, b: Span) -> Span:
    return max(a[0], b[0]), min(a[1], b[1])


def _grown(span: Span, by: int, most: int) -> Span:
    return max(0, span[0] - by), min(most, span[1] + by)
