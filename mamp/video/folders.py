"""What lies in a folder: images by name, folders, in natural order; and the text of a file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mamp.core import texts
from mamp.core.errors import Malformed, UserError, first_line

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
)


def read_text(file: Path) -> str:
    """The text of a file, UTF-8, or UTF-16 with its mark; UserError when there is none."""
    try:
        return texts.read_text(file)
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; fetch the data set again, or name another file") from None
    except (OSError, Malformed) as error:
        raise UserError(f"{file} cannot be read as text ({first_line(error)}); fetch it again") from None


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order, without hidden files."""
    try:
        found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be listed ({first_line(error)}); give a folder that can be read"
        ) from None
    return sorted(found, key=lambda path: natural_key(path.name))


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, in natural order; none where it does not exist."""
    return [entry for entry in entries(folder) if entry.is_dir()] if folder.is_dir() else []


def natural_key(name: str) -> tuple[list[int | str], str]:
    """Sorts frame9 before frame10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def image_files(folder: Path) -> dict[str, str]:
    """stem -> file name of the images in `folder`, in natural order; UserError when a stem has two files."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of the frames")
    try:
        entries = [
            e
            for e in os.listdir(folder)
            if not e.startswith(".") and Path(e).suffix.lower() in IMAGE_SUFFIXES
        ]
    except OSError as error:
        raise UserError(f"{folder} cannot be listed ({first_line(error)}); correct its permissions") from None
    files: dict[str, str] = {}
    for entry in sorted(entries, key=natural_key):
        stem = Path(entry).stem
        if stem in files:
            raise UserError(f"{folder} holds both {files[stem]} and {entry}; keep one image a frame")
        files[stem] = entry
    return files
