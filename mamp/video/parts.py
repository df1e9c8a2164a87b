"""Part of a video: from a frame or time, to a frame or time, every n-th frame, at most so many."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mamp.core.errors import UserError

if TYPE_CHECKING:
    from mamp.video.frames import FrameSource

Place = int | float | str
_FORMS = "give a frame number (120), a frame's name, or a time (1:02.5 or 12s)"
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:\.\d*)?)")  # 1:02:03.5 or 2:03.5
_UNITS = re.compile(r"(?:(\d+(?:\.\d*)?)h)?(?:(\d+(?:\.\d*)?)m(?:in)?)?(?:(\d+(?:\.\d*)?)s(?:ec)?)?")
_MILLI = re.compile(r"(\d+(?:\.\d*)?)ms")
_LONGEST = 40  # letters of a time
_NEARLY = 1e-4  # seconds by which a time may lie before its frame: times are written with few digits


@dataclass(frozen=True)
class Part:
    """Which frames of a video are used.

    start, end: the first and the last frame, both included, as `find` takes them; None is the video's own.
    every: 2 takes every second frame, counted from the first. max_frames: stop after so many.
    """

    start: Place | None = None
    end: Place | None = None
    every: int = 1
    max_frames: int | None = None

    def checked(self) -> Part:
        """Return the part itself; UserError when it can have no frame."""
        for name, count in (("every", self.every), ("max-frames", self.max_frames)):
            if count is not None and count < 1:
                raise UserError(f"--{name} is {count}; give 1 or more")
        return self

    def of(self, source: FrameSource) -> FrameSource:
        """Return the frames of `source` that belong to the part; UserError when there are none."""
        self.checked()
        first = 0 if self.start is None else find(self.start, source, option="--start")
        last = len(source) - 1 if self.end is None else find(self.end, source, option="--end")
        if last < first:
            raise UserError(
                f"--end {self.end} lies before --start {self.start} in {source.path}; exchange them"
                if self.start is not None
                else f"--end {self.end} lies before the first frame of {source.path}; give a later one"
            )
        chosen = range(first, last + 1, self.every)[: self.max_frames]
        return source if len(chosen) == len(source) else source.part(chosen)


def find(place: Place, source: FrameSource, *, option: str) -> int:
    """Return the index of the frame at `place`.

    Args:
        place: a frame's name; a whole number, which is the number in a frame's name (or its position where
            names have no numbers); or a time, as `parse_time` reads it, or a float of seconds: the frame that
            is shown then.
        source: the video.
        option: what messages call the place.

    Raises:
        UserError: there is no such frame, or the video has no times.
    """
    if isinstance(place, str) and place in source.names:
        return source.names.index(place)
    if isinstance(place, int) or re.fullmatch(r"\d{1,18}", place if isinstance(place, str) else ""):
        return _numbered(int(place), source, option=option)
    time = float(place) if isinstance(place, float) else parse_time(place)
    if time is None:
        raise UserError(f"{option} {place} is no frame and no time; {_FORMS}")
    return _shown_at(time, source, said=f"{option} {place}")


def parse_time(text: str) -> float | None:
    """Return the seconds in `1:02.5`, `1:00:02`, `12s`, `1m30s`, `500ms`; None for anything else."""
    text = text.strip().lower().replace(" ", "")
    if len(text) > _LONGEST:
        return None
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)
    if milli := _MILLI.fullmatch(text):
        return float(milli[1]) / 1000
    if text and (units := _UNITS.fullmatch(text)):
        hours, minutes, seconds = (float(value or 0) for value in units.groups())
        return 3600 * hours + 60 * minutes + seconds
    return None


def _numbered(number: int, source: FrameSource, *, option: str) -> int:
    numbers = _numbers(source.names)
    if number not in numbers:
        raise UserError(
            f"{option} {number} is no frame of {source.path}, whose frames are {source.names[0]} to"
            f" {source.names[-1]}; {_FORMS}"
        )
    return numbers[number]


def _numbers(names: Sequence[str]) -> dict[int, int]:
    """Number -> index: the last number in each name, or the position where these are not all different."""
    found = [re.findall(r"\d+", name) for name in names]
    numbers = {int(digits[-1]): index for index, digits in enumerate(found) if digits}
    return numbers if len(numbers) == len(names) else {index: index for index in range(len(names))}


def _shown_at(time: float, source: FrameSource, *, said: str) -> int:
    times = source.seconds
    if times is None:
        raise UserError(f"{said} is a time, but {source.path} has no times; give a frame number or name")
    length = times[-1] + 1 / (source.fps or 1)
    if time > length + _NEARLY:
        raise UserError(f"{said} lies after the end of {source.path}, which is {length:.2f} s long")
    return max(0, bisect_right(times, time + _NEARLY) - 1)
