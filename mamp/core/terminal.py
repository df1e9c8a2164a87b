"""Words for a terminal: what names and files hold cannot steer it."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

# of a regular expression's class: all but tab and line end; halves of a character, as Python keeps the bytes
# of a name that is no UTF-8
CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
# with the marks that turn the direction of writing
_STEERING = re.compile(f"[{CONTROL}\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return `text` with control characters and broken bytes as escapes, such as \\x1b."""
    return _STEERING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class PlainOutput:
    """Standard output whose text goes through `printable`. State: the stream behind it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write printable text."""
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """What is printed within goes through `printable`, so that no name can steer the terminal."""
    with contextlib.redirect_stdout(cast(TextIO, PlainOutput(sys.stdout))):
        yield


def clipped(text: str, most: int = 200) -> str:
    """Return a name as one printable line, cut where it is longer; line ends and tabs as escapes."""
    text = printable(text).replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text if len(text) <= most else f"{text[:most]}..."


def short(value: object, most: int = 60) -> str:
    """Return what a message shows of a value that may be long or deep: the beginning of its repr."""
    import reprlib

    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = shown.maxlong = most
    return shown.repr(value)
