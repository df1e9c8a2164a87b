"""A time limit for each sample of the loader: what takes longer is named, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from mamp.core.errors import UserError

GRACE = 5.0  # seconds after which a process that did not end its sample by itself is given up
LONGEST = 1000  # bytes of a name


class _Alarm(BaseException):
    """Time is up; no Exception, so that no reader takes it for a damaged file."""


@contextlib.contextmanager
def time_limit(seconds: float | None, reading: Callable[[], str]) -> Iterator[None]:
    """Run the block for at most so long; UserError that names `reading()` when it takes longer.

    Works in the main thread of a process, on systems with timers, and not while foreign code keeps the
    interpreter from
    running: for that the waiting process has `Board`. None is no limit.
    """
    able = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not able:
        yield
        return

    def ring(*_: Any) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm:
        raise UserError(too_long(reading(), seconds)) from None
    finally:
        signal.signal(signal.SIGALRM, before)


def too_long(name: str, seconds: float) -> str:
    """The sentence about a file that takes longer than the limit."""
    return (
        f"{name} takes more than {seconds:g} s to read; see that its disk answers and the file is sound, or"
        " raise data.sample_seconds"
    )


class _Slot(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_long), ("since", ctypes.c_double), ("name", ctypes.c_char * LONGEST)]


class Board:
    """What each loader process reads, and since when. State: memory that the processes share."""

    def __init__(self, workers: int, context: Any):
        self._slots: Any = context.RawArray(_Slot, max(workers, 1))

    def begin(self, worker: int) -> None:
        """This process is loader process number `worker`."""
        self._slots[worker].pid = os.getpid()

    def note(self, worker: int, name: str) -> None:
        """It begins to read `name`; "" is nothing."""
        slot = self._slots[worker]
        slot.since = 0.0
        slot.name = os.fsencode(name)[:LONGEST]
        slot.since = time.monotonic() if name else 0.0

    def late(self, seconds: float) -> str | None:
        """What some process has been reading for longer than `seconds`; None when there is none."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.since and now - slot.since > seconds:
                return os.fsdecode(slot.name)
        return None

    def read_by(self, message: str) -> str | None:
        """What the process was reading whose number torch's message names."""
        numbers = re.findall(r"\d+", message)
        for slot in self._slots:
            if slot.since and str(slot.pid) in numbers:
                return os.fsdecode(slot.name)
        return None

    def kill_readers(self) -> None:
        """Kill the processes in the middle of a sample: they ignore SIGTERM, and may never come back."""
        busy = {slot.pid for slot in self._slots if slot.since}
        with contextlib.suppress(RuntimeError):  # torch's handler reports a killed worker so
            for process in multiprocessing.active_children():
                if process.pid in busy:
                    process.kill()
                    process.join(1)


def watched(loader: Any, board: Board, seconds: float | None) -> Iterator[Any]:
    """The batches of a DataLoader with workers and a `timeout`; UserError when one of them is stuck, or dies.

    seconds: what a sample may take, None being any time.
    """
    batches: Iterator[Any] = iter(loader)
    try:
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                sentence = _why(str(error), board, seconds)
                if sentence is None:
                    continue
                if not sentence:
                    raise
                board.kill_readers()
                raise UserError(sentence) from None
            yield batch
    finally:
        batches = iter(())  # torch lets its workers go, which end when they have read their sample
        board.kill_readers()


def _why(message: str, board: Board, seconds: float | None) -> str | None:
    """What torch's message means: a sentence; None where one must only wait; "" for something else."""
    if "timed out" in message:
        name = None if seconds is None else board.late(seconds + GRACE)
        return None if name is None or seconds is None else too_long(name, seconds)
    name = board.read_by(message)
    if "Bus error" in message or "shared memory" in message:
        return (
            "a loader process ran out of shared memory; raise that of the container (--shm-size), lower"
            " data.workers, or pass data.workers=0"
        )
    if name is None and ("killed by signal" in message or "exited unexpectedly" in message):
        return (
            "a loader process was killed, as a system does whose memory is full; lower data.workers or"
            " data.load_size, or ask for more memory"
        )
    if name is None:
        return ""
    return (
        f"a loader process died while it read {name}; see that the file is sound, or lower data.workers where"
        " memory is short"
    )
