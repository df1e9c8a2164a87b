"""What a process that helps another does about signals, and when the other is gone."""

from __future__ import annotations

import os
import signal


def begin_helper(*, ignores: tuple[str, ...] = ("SIGINT", "SIGHUP")) -> None:
    """At the start of a process made by multiprocessing: end when the process that made it is gone.

    ignores: signals that a terminal sends to the whole group; what becomes of this process is the other's
    choice.
    """
    import multiprocessing
    import threading

    for name in ignores:
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
