"""`mamp data fetch`: download, unpack and check the archives of the DAVIS site; the way to YouTube-VOS."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mamp.core.download import Wanted, download
from mamp.core.errors import UserError, first_line, plural
from mamp.core.files import Locks, make_folder, sha256_of
from mamp.core.progress import say, stay_silent
from mamp.datasets.sequences import open_dataset
from mamp.tools.unpack import BadArchive, unpack

# DAVIS-data.zip, the largest, has 1.9 GB
_ARCHIVE = Wanted("a zip archive", (b"PK",), limit=8 * 2**30)


@dataclass(frozen=True)
class Archive:
    """What there is to fetch. folder: what its root is called here. splits: sequences of each list in it."""

    url: str
    folder: str
    dataset: str
    splits: Mapping[str, int]


_SITE = "https://data.vision.ee.ethz.ch/csergi/share/davis"
ARCHIVES = {
    "davis2016": Archive(
        "https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip",
        "DAVIS2016",
        "davis2016",
        {"train": 30, "val": 20},
    ),
    "davis2017": Archive(
        f"{_SITE}/DAVIS-2017-trainval-480p.zip", "DAVIS2017", "davis2017", {"train": 60, "val": 30}
    ),
    "davis2017-test-dev": Archive(
        f"{_SITE}/DAVIS-2017-test-dev-480p.zip", "DAVIS2017-test-dev", "davis2017", {"test-dev": 30}
    ),
}
NAMES = (*ARCHIVES, "youtubevos")

_YOUTUBE = """\
YouTube-VOS is given to those who log in, so it cannot be fetched from here; this is the way:
  1. Go to https://youtube-vos.org/dataset/vos/ , register, and follow the link to the 2018 (or 2019) files.
  2. Download train.zip and valid.zip; to train, also train_all_frames.zip (about 100 GB unpacked).
  3. Unpack them so that these are there:
       {root}/train/JPEGImages/VIDEO/00000.jpg, 00005.jpg, ...
       {root}/train/Annotations/VIDEO/00000.png, 00005.png, ...
       {root}/train/meta.json
       {root}/train_all_frames/JPEGImages/VIDEO/00000.jpg, 00001.jpg, ...
       {root}/valid/JPEGImages/VIDEO/00000.jpg, 00005.jpg, ...
       {root}/valid/Annotations/VIDEO/00000.png  (the first mask of each object)
       {root}/valid/meta.json
  4. Run `mamp data check {root}`, and train with data.root={root}"""


def fetch(
    name: str,
    out: Path | None = None,
    *,
    url: str | None = None,
    sha256: str | None = None,
    keep: bool = False,
    quiet: bool = False,
) -> Path:
    """Bring a data set of ARCHIVES; returns its root, `out` (by default data/DAVIS2016 and so on).

    url: another place of the archive: http, https, or a local file. sha256: what the archive must have. keep:
    leave the archive beside the root. The root appears whole or not at all: until then everything lies in
    OUT's neighbour .NAME.fetch, where the same command goes on after an interruption.

    Raises UserError when it cannot be had, is damaged or is another data set, and for youtubevos, saying
    where to go.
    """
    if name == "youtubevos":
        raise UserError(_YOUTUBE.format(root=out or "data/YouTubeVOS"))
    archive = ARCHIVES[name]
    root = Path("data") / archive.folder if out is None else out
    show = stay_silent if quiet else say
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        _look_through(root, archive, strict=url is None, hint=f"choose another --out, or remove {root}")
        show(f"{root} is there already and complete; nothing was fetched")
        return root
    with _working_folder(root) as work:
        packed, ours = _bring(url or archive.url, work, quiet=quiet)
        digest = sha256_of(packed)
        show(f"{packed.name}: {packed.stat().st_size:,} bytes, sha256 {digest}")
        try:
            if sha256 is not None and digest != sha256.lower():
                raise BadArchive(
                    f"{packed} has the sha256 {digest}, not {sha256}; fetch it from another --url"
                )
            _unpack(packed, work / "files", root, archive, strict=url is None, quiet=quiet)
        except BadArchive:
            if ours:
                packed.unlink()  # so that the same command fetches it again
            raise
        if keep and ours:
            os.replace(packed, root.absolute().parent / packed.name)
    return root


@contextlib.contextmanager
def _working_folder(root: Path) -> Iterator[Path]:
    """A folder beside `root` for this process alone; removed at the end, unless the next fetch needs it."""
    work = root.absolute().parent / f".{root.name}.fetch"
    beside = work.parent.exists()
    make_folder(work)
    try:
        with Locks(work / "lock") as locks:
            if not locks.take(0):
                raise UserError(f"another process is fetching {root}; wait for it, or choose another --out")
            finished = False
            try:
                yield work
                finished = True
            finally:
                if finished or not _has_content(work):
                    shutil.rmtree(work, ignore_errors=True)  # before the lock is free for another
    finally:
        if not beside:
            with contextlib.suppress(OSError):  # there is something in it
                work.parent.rmdir()


def _has_content(work: Path) -> bool:
    """Whether anything of an archive has come; the lock is empty, and a note about nothing does not count."""
    files = [file for file in work.iterdir() if not file.name.endswith(".part.json")]
    return any(file.stat().st_size for file in files if file.is_file())


def _bring(place: str, work: Path, *, quiet: bool) -> tuple[Path, bool]:
    """The archive as a local file, and whether it was downloaded here."""
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", place):
        local = Path(place).expanduser()
        if not local.is_file():
            raise UserError(f"--url {place} is no file and no address that begins with https://; correct it")
        return local, False
    if not place.lower().startswith(("http://", "https://")):
        raise UserError(f"--url {place} cannot be fetched; give http://, https:// or a local file")
    last = place.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    packed = work / (last if re.fullmatch(r"[\w-][\w.-]*", last) else "archive.zip")
    for other in work.iterdir():  # of another address
        if other.is_file() and not other.name.startswith((packed.name, "lock")):
            other.unlink()
    download(place, packed, _ARCHIVE, quiet=quiet)
    return packed, True


def _unpack(packed: Path, files: Path, root: Path, archive: Archive, *, strict: bool, quiet: bool) -> None:
    """Unpack into `files`, look through what came, and give it the name `root`."""
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    try:
        unpack(packed, files, quiet=quiet)
        found = _root_in(files)
        if found is None:
            raise UserError(
                f"{packed} holds no folder with JPEGImages, so it is no DAVIS; give another --url"
            )
        try:
            _look_through(found, archive, strict=strict, hint="give another --url")
        except UserError as error:
            raise UserError(str(error).replace(str(found), str(packed))) from None
        if root.exists():
            root.rmdir()
        os.replace(found, root)
    except OSError as error:
        raise UserError(f"{root} cannot be written ({first_line(error)}); choose another --out") from None
    finally:
        shutil.rmtree(files, ignore_errors=True)


def _root_in(files: Path) -> Path | None:
    """The data set's root in what was unpacked: at the top, or in a folder of it."""
    places = [files, *sorted(folder for folder in files.iterdir() if folder.is_dir())]
    return next((place for place in places if (place / "JPEGImages").is_dir()), None)


def _look_through(root: Path, archive: Archive, *, strict: bool, hint: str) -> None:
    """Raise UserError unless every list has its frames and masks; `strict`: and its published length."""
    for split, count in archive.splits.items():
        try:
            found = len(open_dataset(archive.dataset, root, split))
        except UserError as error:
            raise UserError(f"{root} is no whole {archive.dataset}: {error}; {hint}") from None
        if found != count and strict:
            raise UserError(
                f"{root} has {plural(found, 'sequence')} in {split}, where there should be {count}; {hint}"
            )
        if found != count:
            say(f"note: {split} has {plural(found, 'sequence')} here, {count} in the official archive")
