"""What every motion source does: keep what it needs of a frame, and work out each pair of frames once."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from mamp.propagation.warping import look_up


class Source:
    """Flow (2, h, w) from a query to a memory, in feature cells, x right, y down (the Motion protocol).

    State: what is kept of each frame that was seen and not forgotten, and the flows of the latest query.
    """

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.flows: dict[tuple[int, int], Tensor] = {}

    def see(self, index: int, frame: Tensor) -> None:
        """Take note of frame `index`: float (3, H, W) RGB in [0, 1]."""
        self.flows.clear()
        self.kept[index] = self._keep(frame)

    def flow(self, query: int, memory: int) -> Tensor:
        """(2, h, w): where the query's cell lies in the memory frame, minus the cell; not rounded."""
        pair = query, memory
        if pair not in self.flows:
            self.flows[pair] = self._between(self.kept[query], self.kept[memory], apart=abs(query - memory))
        return self.flows[pair]

    def forget(self, index: int) -> None:
        """Drop what is kept for frame `index`."""
        self.kept.pop(index, None)

    def twin(self) -> Source:
        """Return a copy that goes on by itself; what is kept of frames is shared."""
        other = copy.copy(self)
        other.kept, other.flows = dict(self.kept), dict(self.flows)
        return other

    def _keep(self, frame: Tensor) -> Any:
        raise NotImplementedError

    def _between(self, query: Any, memory: Any, *, apart: int) -> Tensor:
        """The flow between what was kept of two frames that are `apart` frames from each other."""
        raise NotImplementedError


class Composed:
    """Flow to far frames as a chain of flows between neighbours: one new flow a frame, whatever the memory.

    State: the source with the latest frame, and the latest frame's flow to each frame that was not forgotten.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.flows: dict[int, Tensor] = {}
        self.latest: int | None = None
        self.wanted = True  # is the latest frame one that may be asked for as a memory?

    def see(self, index: int, frame: Tensor) -> None:
        """Take note of the frame after the one seen last: float (3, H, W) RGB in [0, 1]."""
        self.source.see(index, frame)
        if self.latest is not None:
            step = self.source.flow(index, self.latest)
            self.flows = {memory: chain(step, flow) for memory, flow in self.flows.items()}
            if self.wanted:
                self.flows[self.latest] = step
            self.source.forget(self.latest)
        self.latest, self.wanted = index, True

    def flow(self, query: int, memory: int) -> Tensor:
        """(2, h, w) from the latest frame to a frame that was not forgotten."""
        return self.flows[memory]

    def forget(self, index: int) -> None:
        """Drop the flow to frame `index`."""
        self.flows.pop(index, None)
        if index == self.latest:
            self.wanted = False

    def twin(self) -> Composed:
        """Return a copy that goes on by itself; what is kept of frames is shared."""
        other = copy.copy(self)
        other.source, other.flows = self.source.twin(), dict(self.flows)
        return other


def chain(first: Tensor, second: Tensor) -> Tensor:
    """Flow (2, h, w) along `first`, then along `second` from there; beyond the border as at the border."""
    return first + look_up(second, first)
