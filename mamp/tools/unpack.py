"""A zip archive of a data set -> files below one folder, and nothing anywhere else."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mamp.core.errors import UserError, first_line, plural
from mamp.core.files import is_dropping
from mamp.core.progress import Progress

MOST_FILES = 500_000
MOST_BYTES = 32 * 2**30  # of all files together
MOST_GAIN = 30  # times the archive's size; photographs and PNGs hardly shrink
_FREE_GAIN = 64 * 2**20  # what a small archive may unpack to, whatever its size
_CHUNK = 2**20


class BadArchive(UserError):
    """An archive that is damaged, or that holds what no data set holds."""


def unpack(archive: Path, folder: Path, *, quiet: bool = False) -> None:
    """The files of a zip archive below `folder`, which must be there, each checked against its sum.

    What file managers leave behind is passed over. No file is made executable.

    Raises BadArchive, having read the list of files only, for absolute names, `..`, links, devices,
    encryption, two files of one name and sizes that no data set has; and on the way for damaged files.
    UserError where `folder` cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = list(_members(opened, archive))
            _refuse_sizes(archive, [info for info, _ in members], folder)
            with Progress(len(members), unit="files", quiet=quiet) as progress:
                progress.begin(f"unpacking {archive.name}")
                for info, path in members:
                    _extract(opened, info, folder / path)
                    progress.advance()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({first_line(error)}); make room, or choose another --out"
        ) from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # zipfile and zlib raise whatever they trip over in a damaged archive
        raise BadArchive(f"{archive} is damaged ({first_line(error)}); fetch it again") from None


def _members(opened: zipfile.ZipFile, archive: Path) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files that are wanted, and where they go."""
    taken: set[str] = set()
    for info in opened.infolist():
        path = _safe(info, archive)
        if info.is_dir() or any(is_dropping(part) for part in path.parts):
            continue
        key = str(path).casefold()
        if key in taken:
            raise BadArchive(f"{archive} holds {info.filename!r} twice; it was not unpacked")
        taken.add(key)
        yield info, path


def _safe(info: zipfile.ZipInfo, archive: Path) -> PurePosixPath:
    """The path of a member, which is a plain file or folder below where it is put."""
    name, path = info.orig_filename, PurePosixPath(info.filename)
    odd = any(character in name for character in "\\:\0") or any(ord(character) < 32 for character in name)
    if odd or not path.parts or path.is_absolute() or ".." in path.parts:
        raise BadArchive(f"{archive} holds {name!r}, which leads elsewhere; it was not unpacked")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadArchive(f"{archive} holds {name!r}, a link or a device; it was not unpacked")
    if info.flag_bits & 1:
        raise BadArchive(f"{archive} holds {name!r} under a password; it was not unpacked")
    return path


def _refuse_sizes(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    total, packed = sum(info.file_size for info in members), archive.stat().st_size
    if len(members) > MOST_FILES or total > min(MOST_BYTES, MOST_GAIN * packed + _FREE_GAIN):
        raise BadArchive(
            f"{archive} ({packed:,} bytes) claims {plural(len(members), 'file')} of {total:,} bytes, more"
            " than a data set of that size holds; it was not unpacked"
        )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise UserError(
            f"{folder} has room for {free:,} bytes, and {total:,} are to be unpacked; make room, or choose"
            " another --out"
        )


def _extract(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """One file; zipfile stops at the size it claims and checks its sum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(info) as packed, path.open("xb") as file:
        shutil.copyfileobj(packed, file, _CHUNK)
    if path.stat().st_size != info.file_size:
        raise BadArchive(f"{info.filename!r} of {opened.filename} is cut short; fetch the archive again")
