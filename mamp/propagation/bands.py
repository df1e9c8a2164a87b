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
from mamp.propagation.guided import colour_window, fast_step, guided_filter, local_function
from mamp.propagation.labels import normalised, with_background

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


def edge_fit(radius: float, size: tuple[int, ...], *, eps: float, fit: str) -> EdgeFit:
    """Windows of about `radius` pixels on frames of (H, W). fit: "fast" (smaller grid) or "exact"."""
    whole = max(1, round(radius))
    return EdgeFit(whole, eps, fast_step(whole, size) if fit == "fast" else 1)


def fitted(probabilities: Tensor, frame: Tensor, fit: EdgeFit) -> Tensor:
    """Probabilities (K+1, H, W) fitted to the edges of the frame, float (3, H, W)."""
    if fit.step == 1:
        found = guided_filter(frame, probabilities, **vars(fit))
    else:  # the background is what is left, as the filter keeps sums
        found = with_background(guided_filter(frame, probabilities[1:], **vars(fit)))
    return normalised(found.clamp(0, 1))


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
    """Return the most probable channel of each pixel, int16 or int32 (H, W); of equals the first.

    scores: (K+1, h, w), 0 or more, background first. frame: (3, H, W), float in [0, 1] or uint8. sides: rows
    and columns. fit: to the edges of the frame, or not. without: channels that win nowhere. max_bytes: about
    what a band of rows takes; it changes only time and rounding.
    """
    height, width = frame.shape[-2:]
    rows = max(1, max_bytes // (4 * _PLANES * width))
    bands = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    work = _Work(scores, frame, sides, bands)
    channels = [k for k in work.cells if k not in (without or ())]
    fitted = None if fit is None else _Fitted(work, fit, channels)
    kind = torch.int16 if len(scores) < 2**15 else torch.int32
    result = torch.zeros((height, width), dtype=kind, device=scores.device)
    for band in bands:
        best = scores.new_zeros(band[1] - band[0], width)
        for k, down, across, values in work.plain(band, channels) if fitted is None else fitted.values(band):
            here = slice(down[0] - band[0], down[1] - band[0]), slice(*across)
            better = values > best[here]
            best[here] = torch.where(better, values, best[here])
            result[slice(*down), slice(*across)].masked_fill_(better, k)
    return result


class _Work:
    """One frame. State: where each channel's scores are not 0, and the sum over the channels."""

    def __init__(self, scores: Tensor, frame: Tensor, sides: tuple[Side, Side], bands: list[Span]) -> None:
        self.scores, self.frame, self.bands = scores, frame, bands
        self.rows, self.columns = sides
        self.size: Span = (frame.shape[-2], frame.shape[-1])
        self.total = scores.sum(0)  # (h, w)
        spans = zip(_spans(scores.amax(2)), _spans(scores.amax(1)), strict=True)
        self.cells = {k: (y, x) for k, (y, x) in enumerate(spans) if y[1] > y[0] or k == 0}

    def plain(self, band: Span, channels: list[int]) -> Iterator[Found]:
        """Channel, rows, columns and probabilities of all that may lie in the band."""
        total = spread(self.total, (self.rows, band), (self.columns, (0, self.size[1])))
        for k in channels:
            rows, columns = self.box(k)
            rows = _both(rows, band)
            if rows[1] > rows[0] and columns[1] > columns[0]:
                here = total[rows[0] - band[0] : rows[1] - band[0], slice(*columns)]
                plane = spread(self.scores[k], (self.rows, rows), (self.columns, columns))
                plane = plane / here.clamp(min=1e-12)
                yield k, rows, columns, torch.where(here > 0, plane, 1.0) if k == 0 else plane

    def box(self, k: int) -> tuple[Span, Span]:
        """Rows and columns where channel k may be; background may be everywhere."""
        if k == 0:
            return (0, self.size[0]), (0, self.size[1])
        cells = self.cells[k]
        return self.rows.reached(cells[0]), self.columns.reached(cells[1])


class _Fitted:
    """Channels as functions of the colours of a frame, on the grid that edges are fitted on.

    State: for each channel where its function is not 0, and the function there; 16 bytes for each cell.
    """

    def __init__(self, work: _Work, fit: EdgeFit, channels: list[int]) -> None:
        self.work, device = work, work.scores.device
        self.grid: Span = (-(-work.size[0] // fit.step), -(-work.size[1] // fit.step))
        sides = list(zip(work.size, self.grid, strict=True))
        self.shrink = [Shrinking(n, m, device) for n, m in sides]
        self.taps = [bilinear_taps(m, n).to(device) for n, m in sides]
        self.radius = max(1, round(fit.radius / fit.step))
        self.mean = torch.stack([_mean(plane) for plane in work.frame])[:, None, None]
        self.guide = work.scores.new_zeros(3, *self.grid)
        for band in work.bands:
            self._add(self.guide, self._image(band), band, (0, work.size[1]))
        self.window = colour_window(self.guide, radius=self.radius, eps=fit.eps)
        self.functions = self._functions(channels)

    def values(self, band: Span) -> Iterator[Found]:
        """Channel, rows, columns and values of all that may lie in the band; elsewhere a channel is 0."""
        image = self._image(band)
        for k, (where, function) in self.functions.items():
            rows = _both(self.taps[0].reached(*where[0]), band)
            columns = self.taps[1].reached(*where[1])
            if rows[1] <= rows[0] or columns[1] <= columns[0]:
                continue
            taps = []
            for side, span, there in zip(self.taps, (rows, columns), where, strict=True):
                near, most = side[slice(*span)].moved(there[0]), there[1] - there[0] - 1
                taps.append(Taps(near.first.clamp(0, most), near.second.clamp(0, most), near.part))
            at = sampled(function, *taps)
            colours = image[:, rows[0] - band[0] : rows[1] - band[0], slice(*columns)]
            yield k, rows, columns, ((at[:3] * colours).sum(0) + at[3]).clamp(0, 1)

    def _functions(self, channels: list[int]) -> dict[int, tuple[tuple[Span, Span], Tensor]]:
        """Each channel's place on the grid, and its slopes and offset (4, ., .) there."""
        cells = {k: self._cells(k) for k in channels}
        planes = {
            k: self.guide.new_zeros(1, y[1] - y[0], x[1] - x[0])
            for k, (y, x) in cells.items()
            if y[1] > y[0] and x[1] > x[0]
        }
        for band in self.work.bands:
            for k, rows, columns, values in self.work.plain(band, list(planes)):
                self._add(planes[k], values[None], rows, columns, cells[k])
        return {k: self._function(planes.pop(k), *cells[k]) for k in list(planes)}

    def _cells(self, k: int) -> tuple[Span, Span]:
        """The cells of the grid where a channel is not 0."""
        rows, columns = self.work.box(k)
        return self.shrink[0].reached(*rows), self.shrink[1].reached(*columns)

    def _add(
        self, out: Tensor, x: Tensor, rows: Span, columns: Span, cells: tuple[Span, Span] | None = None
    ) -> None:
        """Add to cells (C, Y, X) of the grid what these pixels (C, H, W) give to them."""
        cells = cells or ((0, self.grid[0]), (0, self.grid[1]))
        y = _both(self.shrink[0].reached(*rows), cells[0])
        x = self.shrink[1].along(x, -1, cells[1], columns)
        out[:, y[0] - cells[0][0] : y[1] - cells[0][0]] += self.shrink[0].along(x, -2, y, rows)

    def _function(self, plane: Tensor, y: Span, x: Span) -> tuple[tuple[Span, Span], Tensor]:
        """Where the function of a plane at these cells is not 0, and the function."""
        reach = 2 * self.radius + 1  # one more, of zeros, for pixels between
        wide, where = (
            (_grown(y, by, self.grid[0]), _grown(x, by, self.grid[1])) for by in (2 * reach, reach)
        )
        here = slice(*wide[0]), slice(*wide[1])
        padded = torch.zeros_like(self.guide[:1, here[0], here[1]])
        padded[:, y[0] - wide[0][0] : y[1] - wide[0][0], x[0] - wide[1][0] : x[1] - wide[1][0]] = plane
        mean, *triangle = [value[..., here[0], here[1]] for value in self.window]
        function = local_function(
            self.guide[:, here[0], here[1]], padded, mean=mean, triangle=triangle, radius=self.radius
        )
        cut = [slice(a[0] - b[0], a[1] - b[0]) for a, b in zip(where, wide, strict=True)]
        return where, function[:, cut[0], cut[1]].clone()

    def _image(self, rows: Span) -> Tensor:
        """(3, ., W): the frame in these rows, less its mean colour."""
        part = self.work.frame[:, slice(*rows)]
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
