"""Odd values, names and bytes, and ways to spoil what is right."""

from __future__ import annotations

import copy
import math
from random import Random
from typing import Any

BIG = 10**400
SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    255,
    256,
    65536,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**30,
    0.5,
    -0.5,
    1e308,
    -1e308,
    1e-320,
    math.nan,
    math.inf,
    -math.inf,
    "",
    " ",
    "a",
    "-",
    "null",
    "1",
    "1e5",
    "nan",
    "\x1b[31mred\x1b[0m",
    "line\nline",
    "\0",
    "é",
    "\U0001f600",
    "..",
    "/",
    "../../etc/passwd",
    "/etc/passwd",
    "x" * 300,
    "x" * 5000,
    [],
    {},
    [None],
    [[]],
    {"": None},
    {"a": {"b": {}}},
    [1, "a", None],
    "1,2,3",
)
NAMES = (
    "a",
    "A",
    "00000",
    "bear",
    "with space",
    " lead",
    "trail ",
    "tab\there",
    "new\nline",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "bell\x07",
    "back\x08space",
    "\u202eright",
    "é",
    "\U0001f600",
    "-rf",
    "--help",
    "@30",
    "a@30",
    "a=b",
    "a:b",
    "a%b",
    "%s",
    "{0}",
    "$HOME",
    "`id`",
    "a;b",
    "a|b",
    "a&b",
    "a'b",
    'a"b',
    "a\\b",
    "#a",
    "...",
    ".hidden",
    "._drop",
    "Annotations",
    "JPEGImages",
    "masks",
    "CON",
    "x" * 200,
    "x" * 255,
    "name.png",
    "name.jpg",
    "name.mp4",
    "\x7f",
    "\x9b31m",
    "a*b",
    "a?b",
    "[a]",
    "~",
    "~root",
    "1e5",
    "0x10",
    "١٢",
    "²",
)
BROKEN_NAMES = (b"\xff\xfe", b"caf\xe9", b"\x80\x81.jpg", b"\xf0\x9f")  # no UTF-8


def scalar(rng: Random) -> Any:
    return copy.deepcopy(rng.choice(SCALARS)) if rng.random() < 0.97 else BIG


def nested(rng: Random, depth: int) -> Any:
    """Lists and maps in one another."""
    value: Any = 0
    for _ in range(depth):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def deep_text(rng: Random) -> str:
    """JSON of thousands of levels."""
    depth = rng.choice((100, 900, 2000, 20000, 200000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    return opening * depth + "0" + closing * rng.choice((depth, 0))


def spoiled(value: Any, rng: Random, times: int | None = None) -> Any:
    """A copy of nested maps and lists with one to four places of another value, name or shape."""
    value = copy.deepcopy(value)
    for _ in range(times or rng.choice((1, 1, 1, 2, 4))):
        if rng.random() < 0.03:
            return scalar(rng)
        _spoil_one(value, rng)
    return value


def _spoil_one(value: Any, rng: Random) -> None:
    places = list(_places(value))
    if not places:
        return
    holder, key = rng.choice(places)
    how = rng.random()
    if how < 0.6:
        holder[key] = scalar(rng)
    elif how < 0.7:
        del holder[key]
    elif how < 0.8:
        holder[key] = [holder[key]]
    elif how < 0.87:
        holder[key] = {"a": holder[key]}
    elif how < 0.9:
        holder[key] = nested(rng, rng.choice((5, 60, 100)))
    elif isinstance(holder, dict):
        holder[str(rng.choice(NAMES))] = holder.pop(key)
    else:
        holder.insert(0, scalar(rng))


def _places(value: Any):
    if isinstance(value, dict):
        for key in value:
            yield value, key
            yield from _places(value[key])
    elif isinstance(value, list):
        for index in range(len(value)):
            yield value, index
            if index < 30:
                yield from _places(value[index])


def damaged(content: bytes, rng: Random) -> bytes:
    """Bytes cut, flipped, doubled, or replaced."""
    data = bytearray(content)
    how = rng.choice(
        ("cut", "flip", "flip", "flips", "zero", "insert", "swap", "head", "random", "empty", "double")
    )
    size = len(data)
    if not size:
        return rng.randbytes(16)
    if how == "cut":
        return bytes(data[: rng.randrange(size)])
    if how == "empty":
        return b""
    if how == "random":
        return rng.randbytes(rng.choice((1, 16, 300, 5000)))
    if how == "double":
        return bytes(data + data)
    if how == "insert":
        at = rng.randrange(size)
        return bytes(data[:at]) + rng.randbytes(rng.choice((1, 8, 100))) + bytes(data[at:])
    if how == "zero":
        at = rng.randrange(size)
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif how == "swap":
        a, b = sorted(rng.randrange(size) for _ in range(2))
        data[a : a + 16], data[b : b + 16] = data[b : b + 16], data[a : a + 16]
    else:
        reach = min(size, 200) if how == "head" else size
        for _ in range(1 if how == "flip" else rng.choice((3, 20))):
            data[rng.randrange(reach)] = rng.randrange(256)
    return bytes(data)


def text_bytes(text: str, rng: Random) -> bytes:
    """Text in one of the ways that programs write it."""
    how = rng.choice(
        ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "crlf", "cr")
    )
    if how == "crlf":
        return text.replace("\n", "\r\n").encode()
    if how == "cr":
        return text.replace("\n", "\r").encode()
    return text.encode(how, errors="replace")
