"""Frames in memory, or from anything that gives them one by one, as a video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from mamp.core.errors import UserError
from mamp.video.parts import Part


class Listed:
    """Frames that are all there, as a list or an array; each is called by its number in the whole."""

    jumps = True

    def __init__(self, frames: Sequence[Any], numbers: Sequence[int]) -> None:
        self.frames, self.numbers = frames, numbers
        self.names = [str(number) for number in numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, at: Any) -> int:
        """The index of frame number `at`, 0 for None; UserError when it is not among the frames."""
        if at is None:
            return 0
        if at not in self.numbers:
            raise UserError(f"at={at!r} is not among the frames that are used; give one of their numbers")
        return self.numbers.index(at)

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield (index, frame) in order."""
        for index in range(start, len(self) if stop is None else stop):
            yield index, self.frames[self.numbers[index]]

    def backward(self, start: int) -> Iterator[tuple[int, Any]]:
        """Yield (index, frame) from `start` down to 0."""
        for index in range(start, -1, -1):
            yield index, self.frames[self.numbers[index]]


def is_listed(video: Any) -> bool:
    """Whether frames can be asked for in any order."""
    return hasattr(video, "__len__") and hasattr(video, "__getitem__")


def _bounds(part: Part) -> tuple[int, int | None]:
    """The first and the last frame number of a part; UserError for places that are none."""
    for name, place in (("start", part.start), ("end", part.end)):
        if place is not None and not isinstance(place, int):
            raise UserError(f"{name}={place!r} needs a video file or a folder of images; give a frame number")
    start, end = part.start or 0, part.end
    assert isinstance(start, int) and not isinstance(end, (str, float))
    return start, end


def numbers_of(part: Part, count: int) -> range:
    """Return the frame numbers of a part of `count` frames; UserError for places that are none of them."""
    start, end = _bounds(part)
    if start >= count or (end is not None and not start <= end < count):
        raise UserError(
            f"start={start}, end={end} are not part of {count} frames; give numbers below {count}"
        )
    return range(start, count if end is None else end + 1, part.every)[: part.max_frames]


def streamed(frames: Iterable[Any], part: Part) -> Iterator[tuple[int, Any]]:
    """Yield (number, frame) of the part of a stream, which is read no further than that."""
    start, end = _bounds(part)
    numbered = islice(enumerate(frames), start, None if end is None else end + 1, part.every)
    return islice(numbered, part.max_frames)
