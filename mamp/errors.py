"""What ends a command early: the user's mistake, and a scheduler that wants its machine back for a while."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: one sentence that names the file or key, what was found, and the remedy.

    The command line prints it without a traceback and ends with status 2.
    """


class TryAgain(KeyboardInterrupt):
    """Stopped by SIGUSR1 or SIGUSR2, all saved: the same command goes on from there. Exit status 75 (EX_TEMPFAIL)."""
