"""What a person sees of long work: a bar on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from collections import deque
from datetime import timedelta
from types import TracebackType
from typing import Any

from mamp.core.terminal import printable

LINE_EVERY = 10.0  # seconds between plain lines
RECENT = 30.0  # seconds whose speed gives the time left, or the last few steps where these took longer
_FEW = 5


_said: set[str] = set()


def say(line: str) -> None:
    """A line on standard error, at once."""
    print(printable(line), file=sys.stderr, flush=True)


def say_once(line: str) -> None:
    """A line on standard error the first time it is said."""
    if line not in _said:
        _said.add(line)
        say(line)


def stay_silent(line: str) -> None:
    """Take a line and print nothing: `say` of a quiet command."""


class Progress:
    """Show how much is done, the speed and the time left; a context manager.

    State: the count, and when the latest steps were finished.

    total: how much there is to do, in `unit` ("frames"). done: what was finished earlier; it counts, but not
    for the speed. quiet: show nothing.
    """

    def __init__(self, total: int, *, unit: str, done: int = 0, quiet: bool = False):
        self._total, self._unit, self._quiet = total, unit, quiet
        self._done, self.measured = done, 0
        self._shown_at = time.monotonic()
        self._ends = deque([self._shown_at])  # when the latest steps were finished
        self._what = self._note = ""
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, what: str) -> None:
        """Show what is worked on now."""
        self._what = what = printable(what)
        if self._bar is not None:
            self._bar.set_description(what)

    def note(self, words: str) -> None:
        """Show these words beside the count."""
        self._note = words
        if self._bar is not None:
            self._bar.set_postfix_str(words)

    def print(self, line: str) -> None:
        """Print a line that stays, above the count."""
        if self._bar is not None:
            self._bar.write(printable(line), file=sys.stderr)
        elif not self._quiet:
            say(line)

    def skip(self, count: int) -> None:
        """Add `count` that were finished earlier."""
        self._done += count
        if self._bar is not None:
            self._bar.initial += count
            self._bar.update(count)

    def advance(self) -> None:
        """Count one more as finished."""
        now = time.monotonic()
        self._done += 1
        self.measured += 1
        self._ends.append(now)
        while len(self._ends) > _FEW + 1 and now - self._ends[1] > RECENT:
            self._ends.popleft()
        if self._bar is not None:
            self._bar.update()
        elif not self._quiet and (now - self._shown_at >= LINE_EVERY or self._done == self._total):
            self._shown_at = now
            say(self._line())

    @property
    def seconds_each(self) -> float:
        """Seconds that each of the last steps took; 0 before the first."""
        return (self._ends[-1] - self._ends[0]) / max(1, len(self._ends) - 1)

    @property
    def seconds_last(self) -> float:
        """Seconds that the latest one took; 0 before the second."""
        return self._ends[-1] - self._ends[-2] if self.measured > 1 else 0.0

    @property
    def left(self) -> timedelta:
        """How long the rest takes at the present speed, in whole seconds."""
        return self.left_at(self.seconds_each)

    def left_at(self, seconds: float) -> timedelta:
        """How long the rest takes where one takes so many seconds, in whole seconds."""
        return timedelta(seconds=round((self._total - self._done) * seconds))

    def _line(self) -> str:
        rate = 1 / max(self.seconds_each, 1e-9)
        note = f", {self._note}" if self._note else ""
        return (
            f"{self._what}: {self._done} of {self._total} {self._unit}, {rate:.2f} {self._unit}/s,"
            f" {self.left} left{note}"
        )
