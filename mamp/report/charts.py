"""Line charts as inline SVG: a few hundred bytes each, where a charting library takes megabytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 320, 130
LEFT, RIGHT, TOP, BOTTOM = 42, 6, 8, 20

Line = tuple[Sequence[float], Sequence[float]]  # x, y


def line_chart(
    lines: Mapping[str, Line], *, title: str, x_range: tuple[float, float] | None = None, unit: bool = False
) -> str:
    """An <svg> of lines, name -> (x, y), in the order of the page's colours (class line0, line1, ...).

    x_range: by default what the lines span. unit: the y axis runs from 0 to 1; else from the least to the
    greatest value. The plot's own box is in data-left and data-right, so that the page can lay a cursor
    over it.
    """
    xs = [x for line in lines.values() for x in line[0]] or [0.0]
    ys = [y for line in lines.values() for y in line[1]] or [0.0]
    x0, x1 = x_range or (min(xs), max(xs))
    y0, y1 = (0.0, 1.0) if unit else (min(ys), max(ys))
    if y0 == y1:  # a level line stands in the middle
        y0, y1 = y0 - (abs(y0) or 1.0) / 2, y0 + (abs(y0) or 1.0) / 2
    x1 = max(x1, x0 + 1e-9)
    across = (WIDTH - LEFT - RIGHT) / (x1 - x0)
    down = (HEIGHT - TOP - BOTTOM) / (y1 - y0)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'data-left="{LEFT}" data-right="{WIDTH - RIGHT}"><title>{escape(title)}</title>'
    ]
    steps = 4 if unit else 2
    for part in range(steps + 1):
        value = y0 + (y1 - y0) * part / steps
        y = HEIGHT - BOTTOM - (value - y0) * down
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 5}" y="{y + 4:.1f}"'
            f' text-anchor="end">{_short(value, (y1 - y0) / steps)}</text>'
        )
    for value, anchor in ((x0, "start"), (x1, "end")):
        x = LEFT + (value - x0) * across
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{_short(value, x1 - x0)}</text>'
        )
    for number, (name, (x_values, y_values)) in enumerate(lines.items()):
        points = " ".join(
            f"{LEFT + (x - x0) * across:.1f},{HEIGHT - BOTTOM - (y - y0) * down:.1f}"
            for x, y in _thinned(x_values, y_values)
        )
        parts.append(
            f'<polyline class="line{number % 6}" points="{points}"><title>{escape(name)}</title></polyline>'
        )
    return "".join(
        [*parts, f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}" x1="-9" x2="-9"/></svg>']
    )


def _thinned(xs: Sequence[float], ys: Sequence[float], *, most: int = 600) -> list[tuple[float, float]]:
    """At most about `most` points: of each stretch the least and the greatest value, so that spikes stay."""
    points = list(zip(xs, ys, strict=True))
    if len(points) <= most:
        return points
    step = math.ceil(2 * len(points) / most)
    kept = []
    for begin in range(0, len(points), step):
        stretch = points[begin : begin + step]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return kept


def _short(value: float, step: float) -> str:
    """The value with as many digits as `step` needs."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2g}"
    text = f"{value:,.{min(max(1 - math.floor(math.log10(step)), 0), 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
