"""What a person sees of long work: a bar on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

LINE_EVERY = 10.0  # seconds between plain lines


class Progress:
    """Counts frames; shows what is done, the speed and the time left. State: the count and when it began.

    total: frames in all, or None where it is not known. quiet: show nothing.
    """

    def __init__(self, total: int | None, *, quiet: bool = False):
        self._total, self._quiet = total, quiet
        self._done = self._measured = 0
        self._began = self._told = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=" frames", file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, what: str) -> None:
        """Name what is worked on now."""
        if self._bar is not None:
            self._bar.set_description(what)
        self._what = what

    def frame(self) -> None:
        """One more frame is finished."""
        self._done += 1
        self._measured += 1
        if self._bar is not None:
            self._bar.update()
        elif time.monotonic() - self._told >= LINE_EVERY or self._done == self._total:
            self.say(f"{self._what}: {self._speed()}")

    def skip(self, frames: int) -> None:
        """`frames` were finished before; they count, but not for the speed."""
        self._done += frames
        if self._bar is not None:
            self._bar.initial += frames
            self._bar.update(frames)

    def say(self, line: str) -> None:
        """One line for the person, whatever is shown besides."""
        self._told = time.monotonic()
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        elif not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def _speed(self) -> str:
        rate = self._measured / max(time.monotonic() - self._began, 1e-9)
        if self._total is None:
            return f"{self._done} frames, {rate:.2f} frames/s"
        left = (self._total - self._done) / rate
        return f"{self._done} of {self._total} frames, {rate:.2f} frames/s, {left:.0f} s left"
