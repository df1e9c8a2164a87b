"""What ends a command early: the user's mistake, and a scheduler that wants its machine back for a while; how
errors and counts are told.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence

from mamp.core.terminal import clipped, printable, short


class UserError(Exception):
    """Bad input: one sentence that names the file or key, what was found, and the remedy.

    The command line prints it without a traceback and ends with status 2. Names in it cannot steer
    a terminal, nor make a line: the lines of a list begin with two spaces.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(re.sub(r"\n(?!  )", r"\\n", printable(sentence)))


class Malformed(ValueError):
    """The content is not what it should be; the words say what is wrong with it."""


OUT_OF_MEMORY = (
    "the memory of this machine is full; use smaller frames, fewer processes, or a machine with more memory"
)


class TryAgain(KeyboardInterrupt):
    """Stopped by SIGUSR1 or SIGUSR2, all saved: the same command goes on from there. Exit status 75
    (EX_TEMPFAIL).
    """


def refused_by_system(error: OSError | RuntimeError) -> str | None:
    """The sentence for a name, folder or disk that the system does not allow; None for another error."""
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
    """What a library says went wrong, without its error numbers and tracebacks; 200 letters at most."""
    said = error.strerror if isinstance(error, OSError) else None
    text = str(said or error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def reason(error: BaseException) -> str:
    """What an error says of content, as part of a sentence: a missing entry, or the words of `Malformed`.

    Python's own words (`'int' object is not iterable`) say nothing to who wrote the content.
    """
    if isinstance(error, KeyError) and error.args:
        return f"it has no {short(error.args[0])}"
    told = first_line(error)
    if isinstance(error, Malformed):
        return clipped(told)
    return "a value in it is not of the kind that belongs there"


def first_ten(names: Sequence[str]) -> str:
    """The names between commas, or the first ten and how many more."""
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return f"{', '.join(clipped(name) for name in names[:10])}{more}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 video`, `1,234 videos`; many: where it is not the one with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
