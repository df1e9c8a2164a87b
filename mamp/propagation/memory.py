"""Which memory frames are read for a query, and which may be dropped.

A rule answers for the query that follows frame `last` (0-based index of the last finished frame), given the
indices of the frames whose masks were given. `read` may repeat an index; `keeps` says what later queries can
still read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mamp.core.errors import UserError
from mamp.core.files import MB


class MemoryRule:
    """What a propagator asks of a rule. Asking changes nothing; `admit` alone may.

    length: how many frames the rule is about; each rule says which.
    """

    def __init__(self, length: int) -> None:
        self.length = length

    def admit(self, last: int, given: Sequence[int], *, frame_bytes: int) -> None:
        """Note that frame `last` is finished. `frame_bytes` is what each memory frame takes from now on."""

    def read(self, last: int, given: Sequence[int]) -> list[int]:
        """Return the indices of the memory frames for query `last` + 1."""
        raise NotImplementedError

    def keeps(self, index: int, last: int, given: Sequence[int]) -> bool:
        """Return whether frame `index` may be read for query `last` + 2 or later.

        By default, if the next reading names it.
        """
        return index in self.read(last, given)

    def most(self, *, frame_bytes: int) -> int:
        """How many frames are held at most, as long as only the first one has a given mask."""
        last = 2 * max(self.length, 0) + 7
        read = self.read(last, [0])
        return sum(i in read or self.keeps(i, last, [0]) for i in range(last + 1))


class RecentRule(MemoryRule):
    """The first frame, the latest frames with given masks, and the last frames: 1 + 2 * length at most."""

    def read(self, last: int, given: Sequence[int]) -> list[int]:
        """The first frame, the last `length` given ones and the last `length` frames; sorted, no repeats."""
        length = max(self.length, 0)
        recent = range(max(0, last - length + 1), last + 1)
        return sorted({given[0], *(given[1:][-length:] if length else ()), *recent})


class TwiceRule(MemoryRule):
    """The first frame, and the last frames, among which it may be once more (VFS); given frames besides."""

    def read(self, last: int, given: Sequence[int]) -> list[int]:
        """The first frame and the last `length`, sorted; the first is there twice while it is among these."""
        recent = range(max(given[0], last - self.length + 1), last + 1)
        return sorted([given[0], *_older(given, recent), *recent])


class PaddedRule(MemoryRule):
    """The last frames, the first one in place of every missing one (CRW); given frames besides."""

    def read(self, last: int, given: Sequence[int]) -> list[int]:
        """Always the last `length` frames, sorted, as if the first frame had been there before the video."""
        recent = [max(given[0], index) for index in range(last - self.length + 1, last + 1)]
        return sorted([*_older(given, recent), *recent])


class DavisRule(MemoryRule):
    """The published rule on DAVIS-2017: frames 0 and 5, and the last three at a gap of two (MAMP, A8)."""

    def read(self, last: int, given: Sequence[int]) -> list[int]:
        """Length 5: {0, 5} and {i, i-2, i-4}; shorter lengths as published, sorted, no repeats."""
        if self.length < 2:
            return [last if self.length else 0]
        if self.length == 2:
            return sorted({0, max(last - 1, 0)})
        long_term = {0, 5} if self.length >= 5 and last >= 5 else {0}
        return sorted(long_term | {i for i in _every_second(last, self._recent) if i > 0})

    def keeps(self, index: int, last: int, given: Sequence[int]) -> bool:
        """The long-term frames, and those that a later i, i-2, i-4 can name."""
        return index in (0, 5) or index > last - 2 * self._recent

    @property
    def _recent(self) -> int:
        return self.length - (2 if self.length >= 5 else 1)


class YoutubeRule(MemoryRule):
    """The published rule on YouTube-VOS: every given frame, and the last ones at a gap of two (MAMP, A8)."""

    def read(self, last: int, given: Sequence[int]) -> list[int]:
        """Given frames and the first 4 - len(given) of i, i-2, ...; sorted, repeats kept as published."""
        annotated = [i for i in given if i <= last]
        if self.length == 2:
            return sorted({*annotated, max(last - 1, 0)})
        rest = self.length - len(annotated)
        return sorted(annotated + [i for i in _every_second(last, rest) if i > 0])

    def keeps(self, index: int, last: int, given: Sequence[int]) -> bool:
        """Given frames, and those that a later i, i-2, ... can name."""
        return index in given or index > last - 2 * self.length + 2


class BudgetRule(MemoryRule):
    """For long video, within a budget in bytes: the first frame, the last ones, and ever fewer older ones.

    State: the frames held. One that was dropped does not come back, also when more fit. length: how many last
    frames are kept in full. Frames with given masks are the last of the older ones to go.
    """

    def __init__(self, length: int, *, budget: int) -> None:
        super().__init__(length)
        self.budget = budget
        self.held: list[int] = []

    def admit(self, last: int, given: Sequence[int], *, frame_bytes: int) -> None:
        """Hold frame `last`, and drop older ones until the rest fits.

        Raises UserError where not one frame fits.
        """
        capacity = self.budget // frame_bytes
        if capacity < 1:
            raise UserError(
                f"method.propagation.budget_mb={self.budget / MB:g} holds no memory frame of"
                f" {frame_bytes / MB:.3g} MB; set it to {math.ceil(2 * frame_bytes / MB)} or more"
            )
        if not self.held or last > self.held[-1]:
            self.held.append(last)
        while len(self.held) > capacity:
            self.held.remove(self._least(last, given))

    def most(self, *, frame_bytes: int) -> int:
        """What the budget holds, and the last one before older ones go."""
        return self.budget // frame_bytes + 1

    def read(self, last: int, given: Sequence[int]) -> list[int]:
        """All that is held."""
        return list(self.held)

    def _least(self, last: int, given: Sequence[int]) -> int:
        """The older frame whose neighbours are nearest to one another, or else the oldest of the last."""
        gaps = {
            frame: after - before
            for before, frame, after in zip(self.held, self.held[1:], self.held[2:], strict=False)
            if frame <= last - self.length
        }
        if not gaps:
            return self.held[1 if len(self.held) > 1 else 0]
        return min(gaps, key=lambda frame: (frame in given, gaps[frame], frame))


def _older(given: Sequence[int], recent: Sequence[int]) -> list[int]:
    """Frames given after the first that are not among the recent ones; at most as many as these."""
    return [index for index in given[1:][-len(recent) :] if index not in recent]


def _every_second(last: int, count: int) -> range:
    return range(last, last - 2 * max(count, 0), -2)


RULES: dict[str, Callable[[int], MemoryRule]] = {
    "recent": RecentRule,
    "davis": DavisRule,
    "youtube": YoutubeRule,
}


def memory_rule(name: str, length: int, *, budget: int) -> MemoryRule:
    """Return the rule `name`, one of `RULES` or `budget`. budget: bytes that memory frames may take."""
    return BudgetRule(length, budget=budget) if name == "budget" else RULES[name](length)
