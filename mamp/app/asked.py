"""What a request says, checked."""

from __future__ import annotations

import math
from typing import Any

from starlette.requests import Request

from mamp.app.gate import body
from mamp.app.proposal import MOST
from mamp.core.texts import parse_json

LARGEST_JSON = 65536


class Refused(Exception):
    """The request cannot be met; status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def whole(text: str) -> int:
    """A whole number of 0 or more; 0 for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object in a request."""
    try:
        values = parse_json((await body(request, LARGEST_JSON) or b"{}").decode())
    except ValueError:
        raise Refused(400, "the request is no JSON") from None
    if not isinstance(values, dict):
        raise Refused(400, "the request is no JSON object")
    return values


def numbers(value: Any, count: int) -> tuple[float, ...]:
    """So many finite numbers."""
    if not isinstance(value, list) or len(value) != count:
        raise Refused(400, f"{count} numbers are needed")
    if not all(type(v) in (int, float) and math.isfinite(v) and abs(v) < 1e6 for v in value):
        raise Refused(400, f"{count} numbers are needed")
    return tuple(float(v) for v in value)


def number(value: Any) -> int | None:
    """A whole number, or None where none is given."""
    if value is None:
        return None
    if type(value) is not int or abs(value) > 1e9:
        raise Refused(400, "object and series are whole numbers")
    return value


def points(value: Any) -> tuple[tuple[float, float], ...]:
    """Points (x, y)."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST:
        raise Refused(400, f"points are a list of [x, y], {MOST} at most")
    return tuple((x, y) for x, y in (numbers(point, 2) for point in value))


def box(value: Any) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of a box, in order, or None."""
    if value is None:
        return None
    left, top, right, bottom = numbers(value, 4)
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)
