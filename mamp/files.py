"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mamp.errors import UserError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` when the block ends well, removed when it does not.

    The folder must be there; `make_folder` makes it. Raises UserError where the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); make room, or choose a folder you may write to"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8, lines ended as they are in it."""
    with whole(path) as partial:
        partial.write_bytes(text.encode())


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON, floats with all their digits, NaN as null already."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


def make_folder(path: Path) -> None:
    """Make `path` and see that files can be written in it; UserError when not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written to ({error.strerror}); choose another folder") from None


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written in `folder`; nothing may be writing there."""
    for leftover in folder.glob(".*.[0-9]*.partial"):
        leftover.unlink()
