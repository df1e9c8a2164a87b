"""What ends a command early: a user's mistake, or a stop by the scheduler. Words for errors and counts."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence

from mamp.core.terminal import clipped, printable, short


class UserError(Exception):
    """An input or a setting that cannot be used.

    Its text is one sentence: the file or key, what was found, and what to do. The command line prints it
    without a traceback and ends with status 2. Control characters in names are escaped; a name cannot make a
    line: the lines of a list begin with two spaces.

    Args:
        sentence: the text.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(re.sub(r"\n(?!  )", r"\\n", printable(sentence)))


class Malformed(ValueError):
    """Content that is not as it should be. The text says what is wrong with it."""


OUT_OF_MEMORY = (
    "the memory of this machine is full; use smaller frames, fewer processes, or a machine with more memory"
)


class TryAgain(KeyboardInterrupt):
    """Stopped by SIGUSR1 or SIGUSR2, all saved. The same command goes on. Exit status 75 (EX_TEMPFAIL)."""


def refused_by_system(error: OSError | RuntimeError) -> str | None:
    """Return the sentence for a name, folder or disk that the system refuses; None for another error."""
    if not isinstance(error, OSError):  # how Python 3.10 to 3.12 resolve such a path
        loop = str(error).startswith("Symlink loop from ")
        return f"{str(error).removeprefix('Symlink loop from ')}: {_REFUSALS[errno.ELOOP]}" if loop else None
    if error.errno not in _REFUSALS or not error.filename:
        return None
    name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else str(error.filename)
    return f"{clipped(name)}: {first_line(error)}; {_REFUSALS[error.errno]}"


_REFUSALS = {
    errno.ENAMETOOLONG: "give a name of at most 255 bytes",
    errno.ELOOP: "the link leads to itself; remove it, or give another path",
    errno.EACCES: "make it readable and its folder writable, or give another path",
    errno.EPERM: "make it readable and its folder writable, or give another path",
    errno.ENOENT: "it went away meanwhile; bring it back and run this again",
    errno.ENOTDIR: "a file stands where a folder should be; give another path",
    errno.EISDIR: "a folder stands where a file should be; give another path",
    errno.ENXIO: "it is no file; give another path",
    errno.EINVAL: "give another path",
    errno.EIO: "see that its disk answers",
    errno.ESTALE: "see that its disk answers",
    errno.EROFS: "choose a folder you may write to",
    errno.ENOSPC: "make room, or choose another folder",
    errno.EDQUOT: "make room, or choose another folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def first_line(error: BaseException) -> str:
    """Return the first line of an error, without numbers and tracebacks, at most 200 letters."""
    said = error.strerror if isinstance(error, OSError) else None
    text = str(said or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def reason(error: BaseException) -> str:
    """Return what is wrong with content, as part of a sentence: a missing entry, or the text of `Malformed`.

    Python's own text (`'int' object is not iterable`) would not help who wrote the content.
    """
    if isinstance(error, KeyError) and error.args:
        return f"it has no {short(error.args[0])}"
    words = first_line(error)
    if isinstance(error, Malformed):
        return clipped(words)
    return "a value in it is not of the kind that belongs there"


def first_ten(names: Sequence[str]) -> str:
    """Join names by commas: the first ten, and how many more."""
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return f"{', '.join(clipped(name) for name in names[:10])}{more}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return `1 video` or `1,234 videos`. many: the plural, where it does not end in s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
