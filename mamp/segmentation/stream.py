"""Frames through a segmenter, one at a time, with decoding ahead in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from typing import Any, Protocol

import numpy as np

from mamp.core.errors import UserError
from mamp.core.files import MB
from mamp.segmentation.pixels import frame_size
from mamp.segmentation.segmenter import LabelMap, label_map

AHEAD = 4  # frames decoded before they are asked for: hides the decoder, holds little
AHEAD_BYTES = 64 * MB  # of frames that wait, and one frame at least


class Steps(Protocol):
    """What the loop needs of a segmenter."""

    def step(self, frame: Any, mask: Any = None) -> np.ndarray:
        """Return the next frame's label map."""

    def refuse_too_many(self, objects: int, size: tuple[int, int]) -> None:
        """Raise UserError where so many objects on frames of (H, W) do not fit into memory."""

    @property
    def report(self) -> Any:
        """What there is to say of the memory, or None."""


@dataclass
class Timing:
    """Frames finished, and seconds: by the wall, in the decoder (which runs beside), and writing."""

    frames: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0
    write_seconds: float = 0.0

    @property
    def frames_per_second(self) -> float | None:
        """Over wall time, everything included; None before anything was measured."""
        return self.frames / self.seconds if self.seconds else None

    def __add__(self, other: Timing) -> Timing:
        return Timing(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def summary(self) -> dict[str, Any]:
        """The figures by name, for a file."""
        return {**asdict(self), "frames_per_second": self.frames_per_second}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count the block as writing of one frame."""
        began = time.perf_counter()
        yield
        self.write_seconds += time.perf_counter() - began
        self.frames += 1


@dataclass(frozen=True)
class Given:
    """A mask the user gives for one frame: the file or words it is known by, and what reads its label map."""

    name: str
    read: Callable[[], Any]


def carry(
    frames: Iterable[tuple[int, Any]],
    masks: Mapping[int, Given],
    segmenter: Steps,
    *,
    names: Sequence[str] = (),
    begun: bool = False,
) -> Iterator[tuple[int, Any, np.ndarray]]:
    """(index, frame, label map) of every frame, as it comes.

    frames: (index, frame) in order, frames as `Segmenter.step` takes them. masks: frame index -> mask given
    there. names: what frames are called in messages, by index. begun: the segmenter was given masks
    before; there may be none here, and they are not checked.

    Raises UserError before the first step when a mask has not the first frame's size or no mask has an
    object; later when the size changes, and when a frame with a mask does not come (a bad frame that is
    skipped, a video too short).
    """
    waiting = sorted(masks)
    size = None
    for index, frame in frames:
        if size is None:
            size = frame_size(frame)
            if not begun:
                _check(masks, size, segmenter.refuse_too_many)
        if waiting and index > waiting[0]:
            break
        given = masks[waiting.pop(0)] if waiting and index == waiting[0] else None
        try:
            mask = given and label_map(given.read(), size, name=given.name).view(LabelMap)
            labels = segmenter.step(frame, mask)
        except UserError as error:
            raise UserError(f"frame {names[index] if index < len(names) else index}: {error}") from None
        yield index, frame, labels
    if waiting:
        called = names[waiting[0]] if waiting[0] < len(names) else waiting[0]
        raise UserError(
            f"{masks[waiting[0]].name} is given for frame {called}, which is not in the video or cannot"
            " be read; give it for another frame"
        )


def _check(
    masks: Mapping[int, Given], size: tuple[int, int], refuse: Callable[[int, tuple[int, int]], None]
) -> None:
    """Check that masks have the frame's size, that one has an object, and that `refuse` accepts so many.

    Masks are read here and again when used, so that none is held.
    """
    if not masks:
        raise UserError("no mask is given; give a mask of each object's first frame")
    ids: set[int] = set()
    for given in masks.values():
        ids.update(np.unique(label_map(given.read(), size, name=given.name)).tolist())
    ids.discard(0)
    if not ids:
        first = masks[min(masks)].name
        raise UserError(
            f"{first} has no object, all its pixels are 0; draw each object with a number of its own from"
            " 1 on"
        )
    refuse(len(ids), size)


def decode_ahead(frames: Iterable[Any], timing: Timing, *, depth: int = AHEAD) -> Generator[Any, None, None]:
    """The same items in the same order, made in a background thread, at most `depth` of them waiting.

    An exception of the source is raised after the items before it were handed out. `timing.decode_seconds`
    grows by what the source took. Close it before what the source reads from: then no thread reads any more.
    """
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=depth)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(iter(frames), waiting, stop, timing, depth), daemon=True)
    thread.start()
    try:
        while True:
            more, item = waiting.get()
            if more:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stop.set()
        while thread.is_alive():
            _drain(waiting)
            thread.join(0.01)


def _produce(
    source: Iterator[Any], waiting: queue.Queue, stop: threading.Event, timing: Timing, depth: int
) -> None:
    """Put (True, item) for each item, then (False, the exception or None)."""
    try:
        while not stop.is_set():
            began = time.perf_counter()
            item = next(source)
            timing.decode_seconds += time.perf_counter() - began
            held = (
                sum(part.nbytes for part in item if isinstance(part, np.ndarray))
                if isinstance(item, tuple)
                else 0
            )
            if held:  # large frames: fewer of them
                waiting.maxsize = max(1, min(depth, AHEAD_BYTES // held))
            waiting.put((True, item))
    except StopIteration:
        waiting.put((False, None))
    except BaseException as error:  # raised again where the frames are used
        waiting.put((False, error))


def _drain(waiting: queue.Queue) -> None:
    """Make room, so that a producer blocked in `put` sees the stop."""
    try:
        while True:
            waiting.get_nowait()
    except queue.Empty:
        pass
