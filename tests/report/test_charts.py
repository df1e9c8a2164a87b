"""Charts, read back from their SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from mamp.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_chart


def points(svg: str) -> list[list[tuple[float, float]]]:
    lines = [element for element in ElementTree.fromstring(svg).iter() if element.tag == "polyline"]
    return [[tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()] for line in lines]


def test_values_lie_where_the_axes_say():
    ((first, second, third),) = points(line_chart({"a": ([0, 5, 10], [0, 0.5, 1])}, title="t", unit=True))
    assert first == (LEFT, HEIGHT - BOTTOM) and third == (WIDTH - RIGHT, TOP)
    assert second == ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)


def test_names_are_escaped():
    svg = line_chart({"<b>": ([0], [1])}, title='"&')
    assert "<b>" not in svg and ElementTree.fromstring(svg).get("aria-label") == '"&'


def test_spikes_of_a_long_curve_stay():
    values = [0.0] * 10_000
    values[7777] = 9.0
    ((*line,),) = points(line_chart({"a": (list(range(10_000)), values)}, title="t"))
    assert len(line) <= 700 and min(y for _, y in line) == pytest.approx(TOP)


def test_one_point_and_no_line_are_charts_too():
    assert len(points(line_chart({"a": ([3], [2])}, title="t"))[0]) == 1
    assert points(line_chart({}, title="t")) == []


def labels(svg: str) -> list[str]:
    return [str(element.text) for element in ElementTree.fromstring(svg).iter() if element.tag == "text"]


def test_labels_have_the_digits_that_tell_them_apart():
    assert labels(line_chart({"a": ([1, 2400], [5.01, 5.04])}, title="t")) == [
        *("5.01", "5.025", "5.04"),
        *("1", "2,400"),
    ]
    assert labels(line_chart({"a": ([0, 23], [0, 1])}, title="t", unit=True))[:5] == [
        *("0", "0.25", "0.5", "0.75", "1")
    ]


def test_a_level_line_stands_in_the_middle():
    svg = line_chart({"a": ([1, 240], [0.01, 0.01])}, title="t")
    ((first, last),) = points(svg)
    assert first[1] == last[1] == (TOP + HEIGHT - BOTTOM) / 2
    assert labels(svg)[:3] == ["0.005", "0.01", "0.015"]
