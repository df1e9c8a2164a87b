"""The memory of one video: which frames stay, and which objects each of them knows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Remembered:
    """A memory frame: keys (K, C, n), values (K, V, n), and which objects it knows, bool (K,).

    The last is on the CPU: each reading asks for it, and asking the device would wait for it.
    An object that came later is unknown to it, and reads nothing from it.
    """

    index: int
    keys: Tensor
    values: Tensor
    known: Tensor
    given: bool = False


class Memory:
    """First frame, every `every`-th, given ones if `keep_given`, and the previous frame, which is kept apart.

    State: `kept`, at most `max_frames` of them (None: no bound), and `previous`.
    """

    def __init__(self, *, every: int, keep_given: bool, max_frames: int | None) -> None:
        self.every, self.keep_given, self.max_frames = every, keep_given, max_frames
        self.kept: list[Remembered] = []
        self.previous: Remembered | None = None

    @property
    def frames(self) -> list[Remembered]:
        """What a query reads, in time order."""
        extra = self.previous is not None and self.previous not in self.kept
        return [*self.kept, self.previous] if extra and self.previous is not None else list(self.kept)

    def push(self, entry: Remembered) -> None:
        """`entry` is the previous frame from now on; the rule says whether it stays."""
        self.previous = entry
        if not self.kept or entry.index % self.every == 0 or (entry.given and self.keep_given):
            self.kept.append(entry)
        while self.max_frames is not None and len(self.kept) > self.max_frames:
            del self.kept[self._least()]

    def widen(self, count: int) -> None:
        """`count` new objects, unknown to all frames."""
        for entry in self.frames:
            entry.keys, entry.values = (_more(x, count) for x in (entry.keys, entry.values))
            entry.known = _more(entry.known, count)

    def select(self, objects: list[int]) -> None:
        """Keep these objects only; frames that know none of them go."""
        for entry in self.frames:
            entry.keys, entry.values, entry.known = (
                x[objects] for x in (entry.keys, entry.values, entry.known)
            )
        self.kept = [entry for entry in self.kept if bool(entry.known.any())]

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values."""
        return sum(entry.keys.nbytes + entry.values.nbytes for entry in self.frames)

    def _least(self) -> int:
        """Which kept frame can go: the one with the nearest neighbours; given ones last, the first never."""
        if len(self.kept) == 2:
            return 1
        times = [entry.index for entry in self.kept]
        return min(
            range(1, len(times) - 1),
            key=lambda n: (self.kept[n].given, times[n + 1] - times[n - 1], n),
            default=0,
        )


def _more(x: Tensor, count: int) -> Tensor:
    return torch.cat((x, x.new_zeros(count, *x.shape[1:])))
