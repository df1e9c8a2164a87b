"""What ends a command early: the user's mistake, and a scheduler that wants its machine back for a while; how
errors and counts are told.
"""

from __future__ import annotations


class UserError(Exception):
    """Bad input: one sentence that names the file or key, what was found, and the remedy.

    The command line prints it without a traceback and ends with status 2.
    """


class TryAgain(KeyboardInterrupt):
    """Stopped by SIGUSR1 or SIGUSR2, all saved: the same command goes on from there. Exit status 75
    (EX_TEMPFAIL).
    """


def first_line(error: BaseException) -> str:
    """What a library says went wrong, without its error numbers and tracebacks; 200 letters at most."""
    said = error.strerror if isinstance(error, OSError) else None
    text = str(said or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 video`, `1,234 videos`; many: where it is not the one with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
