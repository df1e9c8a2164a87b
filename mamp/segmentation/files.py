"""Files that are whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mamp.errors import UserError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` when the block ends well, removed when it does not."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON, floats with all their digits, NaN as null already."""
    with whole(path) as partial:
        partial.write_text(json.dumps(value, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")


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
    """Remove the temporary names of masks that a killed run left in `folder`."""
    for leftover in folder.glob(".*.png.*"):
        leftover.unlink()
