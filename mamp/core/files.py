"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError, first_line

MB = 10**6  # bytes, wherever a knob, a figure or a message says MB


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` when the block ends well, removed when it does not.

    A link stays, and what it leads to is written. The folder must be there; `make_folder` makes it. Raises
    UserError where the file cannot be written, and where `refuse_target` does.
    """
    path = refuse_target(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({first_line(error)}); make room, or choose a folder you may write to"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def refuse_target(path: Path) -> Path:
    """Return the file that `path` stands for, which a link leads to; it may not exist yet.

    Raises UserError where something else is there: a folder, a pipe, a socket or a device, which a new file
    must not replace.
    """
    try:
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        kind = os.stat(path).st_mode
    except FileNotFoundError:
        return path
    except OSError as error:
        raise UserError(f"{path} cannot be written ({first_line(error)}); choose another file") from None
    if not stat.S_ISREG(kind):
        found = "folder" if stat.S_ISDIR(kind) else "pipe, socket or device"
        raise UserError(f"{path} is a {found}, where a file should be written; choose another file")
    return path


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8, lines ended as they are in it; what is no letter is written as an escape."""
    with whole(path) as partial:
        partial.write_bytes(text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON, floats with all their digits, NaN as null already."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


@contextlib.contextmanager
def folder_for(path: Path) -> Iterator[None]:
    """`make_folder` for what is written within; folders it made go again when nothing was."""
    made = [place for place in (path, *path.parents) if not place.exists()]
    make_folder(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # one with something in it stays
            for place in made:
                place.rmdir()


def make_folder(path: Path) -> None:
    """Make `path` and see that files can be written in it; UserError when not."""
    try:
        places = (place for place in (path, *path.parents) if place.exists())
        file = next((place for place in places if not place.is_dir()), None)
        if file is not None:
            raise UserError(
                f"{file} is a file where a folder should be; choose another folder, or move the file"
            )
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written to ({first_line(error)}); choose another folder") from None


def sha256_of(file: Path) -> str:
    """The file's SHA-256 as hexadecimal digits, read in pieces."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def is_dropping(name: str) -> bool:
    """Whether a file or folder of this name is what file managers leave behind."""
    return name.startswith("._") or name in ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


class Locks:
    """Numbered locks that processes share through one file; a context manager. State: the open file.

    A lock is its process's own until it is dropped or the process ends, however it ends. Record locks: forked
    processes do not inherit them, and network file systems know them. Where the system has none (Windows),
    every lock is free. Raises UserError where the file cannot be written.

    filelock does not serve: it has one lock a file, where an evaluation needs one a sequence, and it takes it
    by flock, which forked loader processes inherit and go on holding after their parent was killed.
    """

    def __init__(self, path: Path):
        try:
            self._file = path.open("a+")
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({first_line(error)}); choose another folder"
            ) from None

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all of them."""
        self._file.close()

    def is_of(self, path: Path) -> bool:
        """Whether the open file is still the one at `path`."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), path.stat())
        except OSError:
            return False

    def take(self, number: int) -> bool:
        """Hold lock `number`, or find that another process does."""
        return self._lock("LOCK_EX", "LOCK_NB", number=number)

    def wait(self, number: int) -> None:
        """Hold lock `number`, once no other process does."""
        self._lock("LOCK_EX", number=number)

    def drop(self, number: int) -> None:
        """Let go of lock `number`."""
        self._lock("LOCK_UN", number=number)

    def _lock(self, *flags: str, number: int) -> bool:
        try:
            import fcntl
        except ImportError:
            return True
        try:
            fcntl.lockf(self._file, sum(getattr(fcntl, flag) for flag in flags), 1, number)
        except (BlockingIOError, PermissionError):  # systems differ in how they say that it is held
            return False
        return True


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written in `folder`; nothing may be writing there."""
    for leftover in folder.glob(".*.[0-9]*.partial"):
        leftover.unlink()


def remove_abandoned(*paths: Path) -> None:
    """Remove what processes of this machine that are no more left half written of each of `paths`."""
    if os.name != "posix":
        return
    for path in (Path(os.path.realpath(path)) for path in paths):
        for left in path.parent.glob(f".{glob.escape(path.name)}.[0-9]*.partial"):
            if not _lives(left.suffixes[-2][1:]):
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _lives(process: str) -> bool:
    """Whether a process of that number may be at work here."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:
        return True
    return True
