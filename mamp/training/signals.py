"""Signals that stop a run, and what becomes of it then."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

from mamp.core.errors import TryAgain

# a person, a scheduler that needs the machine, or a terminal that is gone: exit status 130
STOP = ("SIGINT", "SIGTERM", "SIGHUP")
AGAIN = ("SIGUSR1", "SIGUSR2")  # a scheduler that will start the same command again: exit status 75
KNOWN = {getattr(signal, name): name for name in STOP + AGAIN if hasattr(signal, name)}

HANGUP: int = getattr(signal, "SIGHUP", -1)  # Windows has none


class Signals:
    """The signals that stop a run; a context manager. State: the number of the first one that came, 0 before.

    Until `hold` a signal ends the run at once. After it the first one is only noted, so that the step at hand
    is finished and saved; a second SIGINT, SIGTERM or SIGHUP then has its usual effect. A SIGHUP that was
    ignored before, as under nohup, stays ignored.
    """

    def __init__(self) -> None:
        self.came = 0
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python catches no signals
            self._before = {number: signal.getsignal(number) for number in KNOWN}
            if self._before.get(HANGUP) == signal.SIG_IGN:
                del self._before[HANGUP]
            for number in self._before:
                signal.signal(number, self._catch)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """From now on whoever asks `came` decides when to stop."""
        self._held = True

    def _catch(self, number: int, _: FrameType | None) -> None:
        if not self._held:
            end(number)
        self.came = self.came or number
        if KNOWN[number] in STOP:
            signal.signal(number, self._before[number])


def end(number: int) -> NoReturn:
    """Raise what belongs to signal `number`: TryAgain, or KeyboardInterrupt."""
    raise TryAgain if name(number) in AGAIN else KeyboardInterrupt


def name(number: int) -> str:
    """SIGTERM of 15, and so on."""
    return KNOWN.get(number, f"signal {number}")
