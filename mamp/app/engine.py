"""Carry the drawn masks through the video, in a separate thread, with the `Segmenter` of `mamp segment`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mamp.app.doubt import doubts
from mamp.app.project import Project
from mamp.core.errors import UserError
from mamp.core.files import MB
from mamp.segmentation.segmenter import MaskMode, Segmenter
from mamp.segmentation.stream import Timing, decode_ahead
from mamp.video.frames import FrameSource

Direction = Literal["forward", "backward"]
KEPT_MB = 1000.0  # of segmenters to go on from
PATIENCE = 60.0  # seconds that a change of all frames waits for the end of a run


@dataclass
class Status:
    """What the page shows of a run.

    number: counts the runs since the project was opened. at: the frame at work. last: the frame finished
    last; None before. done: frames finished of the `total` that were asked for.
    replayed: frames finished of the `passing` ones that lie before these. seconds: since the run began.
    stopping: it ends after the frame at work. changed: the frame whose drawn mask was changed behind the run,
    which ended it; None otherwise.
    """

    number: int = 0
    running: bool = False
    direction: str = ""
    start: int = 0
    at: int = 0
    last: int | None = None
    done: int = 0
    total: int = 0
    replayed: int = 0
    passing: int = 0
    seconds: float = 0.0
    stopping: bool = False
    changed: int | None = None
    error: str = ""


class Engine:
    """Run one job at a time. State: the thread, its `status`, and segmenters kept of frames it has passed.

    A forward run is what `mamp segment` does with the drawn masks: it begins at the first of them, and what
    it computes before the frame asked for is not computed again while a segmenter of that frame is kept. A
    backward run begins at the nearest drawn frame at or after the one asked for. Both take drawn masks on
    their way, as whole truth of their frames, and leave locked frames as they are. Frames that a run passes
    before the one asked for get their masks too, where they have none or a stale one.

    source: the thread's own, as it is not shared. kept_mb: most that kept segmenters hold. changed: called
    after each change.
    """

    def __init__(
        self,
        project: Project,
        source: FrameSource,
        make_segmenter: Callable[[], Segmenter],
        *,
        kept_mb: float = KEPT_MB,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.project, self._source, self._make, self._changed = project, source, make_segmenter, changed
        self.status = Status()
        self._kept = Kept(round(kept_mb * MB))
        self._guard = threading.RLock()
        self._stop = threading.Event()
        self._void = False  # the frame at work began from a mask that was changed since
        self._barred = False  # no run may begin
        self._thread: threading.Thread | None = None

    def start(self, index: int, direction: Direction, *, until: int | None = None) -> None:
        """Compute frame `index` and all after it (backward: before it), but those that are drawn or locked.

        until: the last frame to compute, by default the last (backward: the first) of the video.

        Raises UserError while a run is on or `edit_all` waits for its end, and where no drawn frame is there
        to begin with.
        """
        with self._guard:
            if self._barred:
                raise UserError("an object is being removed; wait for that")
            if self.status.running:
                raise UserError("frames are being computed; stop that first")
            begin = self._begin(index, direction)
            forward, count = direction == "forward", len(self.project.names)
            until = (count - 1 if forward else 0) if until is None else until
            if until < index if forward else until > index:
                raise UserError(f"a run {direction} from frame {index + 1} cannot end at frame {until + 1}")
            total = abs(until - index) + 1
            self._stop.clear()
            self._void = False
            number = self.status.number + 1
            self.status = Status(number, True, direction, index, at=index, total=total)
            self._thread = threading.Thread(
                target=self._work, args=(index, begin, direction, until), daemon=True
            )
            self._thread.start()
        self._changed()

    def use(self, make_segmenter: Callable[[], Segmenter]) -> None:
        """Segment with other settings from the next run on; UserError while a run is on."""
        with self._guard:
            if self.status.running or self._barred:
                raise UserError("frames are being computed; stop that first")
            self._make = make_segmenter
            self._kept.drop_from(0)

    def stop(self) -> None:
        """End the run after the frame at work, which is kept; what it has written stays."""
        with self._guard:
            news = self.status.running and not self.status.stopping
            self._end()
        if news:
            self._changed()

    def _end(self) -> None:
        self._stop.set()
        self.status.stopping = self.status.running

    def wait(self, seconds: float | None = None) -> None:
        """Until the run has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def edit(self, index: int, change: Callable[[], None]) -> None:
        """Apply `change` to the drawn mask of frame `index`. A run that used the old mask ends."""
        with self._guard:
            change()
            self._kept.drop_from(index)
            status = self.status
            forward = status.direction == "forward"
            if status.running and (index <= status.at if forward else index >= status.at):
                self._void, status.changed = True, index
                self._kept.closed = self._kept.closed or forward
                self._end()
        self._changed()

    def edit_all(self, change: Callable[[], None], *, patience: float | None = None) -> None:
        """End a run, then make a `change` to the masks of all frames; no other run begins in between.

        patience: seconds to wait for the end, by default PATIENCE. Raises UserError, with nothing changed,
        when the run has not ended by then, or another such change is waiting.
        """
        patience = PATIENCE if patience is None else patience
        with self._guard:
            if self._barred:
                raise UserError("an object is being removed already; wait for that")
            self._barred = True
        try:
            self.stop()
            self.wait(patience)
            with self._guard:
                if self.status.running:
                    raise UserError(
                        f"the run has not ended within {patience:g} s, and nothing was removed; try again"
                        " once it has"
                    )
                self.edit(0, change)
        finally:
            self._barred = False

    # -- in the thread

    def _begin(self, index: int, direction: Direction) -> int:
        """The drawn frame with an object that a run begins at."""
        forward = direction == "forward"
        drawn = self.project.drawn()
        for frame in drawn if forward else (i for i in drawn if i >= index):
            if forward and frame > index:
                break
            given = self.project.given(frame)
            if given is not None and given.any():
                return frame
        where = "or an earlier one" if forward else "or a later one"
        raise UserError(f"no object is drawn on this frame {where}; draw one first")

    def _work(self, index: int, begin: int, direction: Direction, until: int) -> None:
        error = ""
        try:
            self._run(index, begin, direction, until=until)
        except UserError as mistake:
            error = str(mistake)
        except MemoryError:
            error = "the machine's memory is full; close other programs, or make the frames smaller"
        except Exception as defect:
            error = f"a defect ended the run ({type(defect).__name__}: {defect}); what was finished stays"
            raise
        finally:
            with suppress(UserError):  # a full disk was reported when a mask could not be written
                self.project.save()
            with self._guard:
                self.status.running = self.status.stopping = False
                self.status.error = error
                self._kept.closed = False
            self._changed()

    def _run(self, index: int, begin: int, direction: Direction, *, until: int) -> None:
        forward = direction == "forward"
        segmenter, first = self._make(), begin
        if forward and (kept := self._kept.before(index)) is not None:
            segmenter, first = kept[1], kept[0] + 1
        order = range(first, until + 1) if forward else range(first, until - 1, -1)
        self.status.passing = abs(index - first)
        began = time.perf_counter()
        with closing(decode_ahead(self._frames(order, forward=forward), Timing())) as frames:
            for i, frame in frames:
                with self._guard:
                    given, self.status.at = self.project.given(i), i
                labels = segmenter.step(frame, given, mode=MaskMode.WHOLE)
                unsure = self._doubts(segmenter)
                with self._guard:
                    if self._void:
                        return
                    self.status.seconds, self.status.last = time.perf_counter() - began, i
                    known = self.project.frame(i)
                    passed = (i < index) if forward else (i > index)
                    if not passed or not known.kind or known.stale:
                        self.project.write(i, labels, kind=direction, unsure=unsure)
                    self.status.replayed += passed
                    self.status.done += not passed
                    if forward:
                        self._kept.keep(i, segmenter)
                self._changed()
                if self._stop.is_set():
                    return

    @staticmethod
    def _doubts(segmenter: Segmenter) -> dict[int, float] | None:
        """The expected error of each object that is followed."""
        found = segmenter.probabilities
        return None if found is None else doubts(found, segmenter.ids[: len(found) - 1])

    def _frames(self, order: range, *, forward: bool) -> Iterator[tuple[int, np.ndarray]]:
        if forward:
            for i, frame in self._source.stream(order[0]):
                yield i, frame
                if i == order[-1]:
                    return
        else:
            yield from ((i, self._source[i]) for i in order)

    def as_json(self) -> dict[str, Any]:
        """The status as JSON."""
        with self._guard:
            return asdict(self.status)


class Kept:
    """Segmenters as they were after frames of a forward run, to go on from; `limit` bytes at most. State:
    these.

    When they grow beyond the limit every second one goes, the newest never. closed: nothing is kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.closed = limit, False
        self.bytes = 0  # what they hold, what they share counted once
        self._held: dict[int, Segmenter] = {}
        self._shares: dict[int, tuple[int, int]] = {}  # where a tensor lies -> (how many hold it, bytes)
        self._every = 1

    def keep(self, index: int, segmenter: Segmenter) -> None:
        """Keep a twin of the segmenter that has just stepped frame `index`, if it can have one."""
        twin = None if self.closed else segmenter.twin()
        if twin is None:
            return
        twin.probabilities = None  # nobody asks a kept one
        self._drop([i for i in self._held if i == index or (i < index and i % self._every)])
        self._hold(index, twin)
        while len(self._held) > 1 and self.bytes > self.limit:
            self._every *= 2
            few = self._every > index
            self._drop([i for i in self._held if i != index and (few or i % self._every)])

    def before(self, index: int) -> tuple[int, Segmenter] | None:
        """The latest one of a frame before `index`, as a twin of its own."""
        found = max((i for i in self._held if i < index), default=None)
        if found is None:
            return None
        twin = self._held[found].twin()
        return None if twin is None else (found, twin)

    def drop_from(self, index: int) -> None:
        """Frame `index` and all after it are not as they were."""
        self._drop([i for i in self._held if i >= index])

    def _hold(self, index: int, twin: Segmenter) -> None:
        self._held[index] = twin
        for tensor in twin.tensors():
            holders, size = self._shares.get(tensor.data_ptr(), (0, tensor.nbytes))
            self._shares[tensor.data_ptr()] = holders + 1, size
            self.bytes += 0 if holders else size

    def _drop(self, indices: list[int]) -> None:
        """A kept one is never stepped itself, so that it holds what it held."""
        for index in indices:
            for tensor in self._held.pop(index).tensors():
                holders, size = self._shares.pop(tensor.data_ptr())
                if holders > 1:
                    self._shares[tensor.data_ptr()] = holders - 1, size
                else:
                    self.bytes -= size
