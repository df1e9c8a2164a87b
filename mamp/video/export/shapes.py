"""Masks as polygons whose filling is the mask again, pixel for pixel.

The corners of a polygon are centres of pixels, counted from 0, and its outline belongs to it: what
`PIL.ImageDraw.polygon` (with outline) and `cv2.fillPoly` draw. An object of several parts has several
polygons, and one with holes is cut into parts without.
"""

from __future__ import annotations

import numpy as np

Polygon = list[tuple[int, int]]  # (x, y)
_STEPS = {(1, 0): 0, (0, 1): 1, (-1, 0): 2, (0, -1): 3}  # right, down, left, up


def polygons(mask: np.ndarray) -> list[Polygon]:
    """Return polygons, each of three corners at least, that fill `mask`, bool (H, W), together."""
    if not mask.any():
        return []
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    small = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    found: list[Polygon] = []
    for loop in _loops(small):
        if (cut := _hole(loop)) is not None:
            parts = ((small[:, :cut], 0), (small[:, cut:], cut))
            found = [_moved(shape, across, 0) for part, across in parts for shape in polygons(part)]
            break
        found.append(_corners(loop))
    return [_moved(shape, left, top) for shape in found]


def _moved(shape: Polygon, across: int, down: int) -> Polygon:
    return [(x + across, y + down) for x, y in shape]


def _loops(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Follow the edges of pixels around the mask, the mask on the right; corners (x, y) of each closed way.

    Where two parts touch in a corner they stay apart.
    """
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # nothing above: along the upper edge to the right
        (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)),
        (padded[1:-1, :-2], (0, 1), (0, -1)),
    )
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, (dx, dy), step in sides:
        for y, x in np.argwhere(inside & ~neighbour).tolist():
            ways.setdefault((x + dx, y + dy), []).append(step)
    loops = []
    while ways:
        start = here = next(iter(ways))
        step = ways[here][0]
        loop: list[tuple[int, int]] = []
        while True:
            there = ways[here]
            if len(there) > 1 and loop:  # turn right, to stay with the same pixel
                turn = (_STEPS[step] + 1) % 4
                step = next(s for s in there if _STEPS[s] == turn)
            else:
                step = there[0]
            there.remove(step)
            if not there:
                del ways[here]
            loop.append(here)
            here = here[0] + step[0], here[1] + step[1]
            right = (_STEPS[step] + 1) % 4
            if here == start and all(_STEPS[s] != right for s in ways.get(here, ())):
                break
        loops.append(loop)
    return loops


def _hole(loop: list[tuple[int, int]]) -> int | None:
    """The middle column of a loop that goes around a hole; None for one around a part."""
    x, y = (np.array(v) for v in zip(*loop, strict=True))
    area = int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())  # twice; positive is clockwise, y down
    return None if area > 0 else (int(x.min()) + int(x.max()) + 1) // 2


def _corners(loop: list[tuple[int, int]]) -> Polygon:
    """The centres of the pixels along a loop, without those on a straight way."""
    pixels: Polygon = []
    for (x, y), (nx, ny) in zip(loop, [*loop[1:], loop[0]], strict=True):
        # the pixel on the right of the edge from (x, y) to (nx, ny)
        pixel = (min(x, nx) - (ny > y), min(y, ny) - (nx < x))
        if not pixels or pixels[-1] != pixel:
            pixels.append(pixel)
    if len(pixels) > 1 and pixels[0] == pixels[-1]:
        pixels.pop()
    count = len(pixels)
    kept = []
    for i, (x, y) in enumerate(pixels):
        (ax, ay), (bx, by) = pixels[i - 1], pixels[(i + 1) % count]
        if (x - ax, y - ay) != (bx - x, by - y):
            kept.append((x, y))
    kept = kept or pixels
    return kept + [kept[-1]] * (3 - len(kept))
