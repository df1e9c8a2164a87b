"""Files and folders of a root that are not used: no video, no mask, no list; with the reason."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mamp.config import Root
from mamp.core.errors import UserError, first_line, plural
from mamp.core.files import is_dropping
from mamp.datasets.lists import has_lists, read_splits
from mamp.video.folders import IMAGE_SUFFIXES, natural_key
from mamp.video.frames import VIDEO_SUFFIXES

MOST_SAID = 10  # that are named
_MOST_LOOKED = 20_000  # entries below one folder that are counted
_PARTS = frozenset({"ImageSets", "Annotations", "Scribbles", "meta.json", "db_info.yaml", "pack.json"})
_SPLITS = [f"{split}{every}" for split in ("train", "valid", "test") for every in ("", "_all_frames")]
_OTHERS = frozenset({*_SPLITS, "valid_demo", "480p", "1080p", "Full-Resolution"})
_WORDS = (".txt", ".md", ".json", ".yaml", ".yml", ".csv", ".html", ".pdf")  # files about data, and lists


@dataclass(frozen=True)
class Untaken:
    """Something that is not taken. lost: it holds frames or video, which a reader may miss."""

    path: Path
    why: str
    lost: bool

    def line(self) -> str:
        """What a person reads."""
        return f"{self.path}: {self.why}"


def untaken(root: Path, sources: Collection[Path], *, known: Collection[str] = ()) -> list[Untaken]:
    """What lies in `root` beside the videos `sources`, in the order of names; what holds video comes first.

    known: names of videos that other lists of the data set have, which are left for those lists. Masks,
    lists, and files of words are parts of a data set. Links to folders are followed where they are taken.
    """
    if not root.is_dir():
        return []
    taken = set(map(str, sources))
    above = {parent for source in taken for parent in map(str, Path(source).parents)}
    beside = {str(source.parent / name) for source in sources for name in (source.name, source.stem)}
    beside |= {str(source.parent / name) for source in sources for name in known}
    found = list(_below(str(root), taken, above, beside))
    return sorted(found, key=lambda one: not one.lost)


def untaken_of(root: Root, sources: Collection[Path]) -> list[Untaken]:
    """What lies in a root of training video and is none of the videos `sources` that training takes."""
    known: set[str] = set()
    if has_lists(root.path):
        splits = read_splits(root.path, "any")
        for split in splits:
            with contextlib.suppress(UserError):  # one that cannot be read, and is not asked for
                known |= {Path(name).name for name in splits[split]}
    return untaken(root.path, sources, known=known)


def lines(root: Path, found: Sequence[Untaken], *, most: int = MOST_SAID) -> list[str]:
    """What a person reads of what is not taken: a count, the first ten, and how many more."""
    if not found:
        return []
    lines = [f"  {one.line()}" for one in found[:most]]
    more = [f"  and {len(found) - most:,} more"] if len(found) > most else []
    return [f"{root}: {plural(len(found), 'thing is', 'things are')} not taken:", *lines, *more]


def _below(
    folder: str, taken: Collection[str], above: Collection[str], beside: Collection[str]
) -> Iterator[Untaken]:
    is_video = folder in taken
    for name in _names(folder):
        path = os.path.join(folder, name)
        if path in taken or path in above:
            if os.path.isdir(path):
                yield from _below(path, taken, above, beside)
            continue
        suffix = os.path.splitext(name)[1].lower()
        if is_video and suffix in IMAGE_SUFFIXES and not name.startswith(".") and not os.path.isdir(path):
            continue  # a frame of it
        if name in _PARTS or (name.startswith("Annotations") and not suffix):
            continue  # masks and lists
        if path in beside or (suffix in IMAGE_SUFFIXES and os.path.splitext(path)[0] in beside):
            continue  # a video of another list; NAME.png, the mask of a video beside it
        if suffix in _WORDS and os.path.isfile(path):
            continue
        yield _untaken(path, name)


def _untaken(path: str, name: str) -> Untaken:
    try:
        kind = os.stat(path).st_mode
    except OSError as error:
        why = "a link to nothing" if os.path.islink(path) and error.errno == 2 else first_line(error)
        return Untaken(Path(path), why, False)
    if name.startswith("."):
        return Untaken(Path(path), "a file manager's" if is_dropping(name) else "hidden", False)
    if stat.S_ISDIR(kind):
        if os.path.islink(path) and Path(path).parent.resolve().is_relative_to(Path(path).resolve()):
            return Untaken(Path(path), "a link to a folder above it", False)
        return _folder(path)
    if not stat.S_ISREG(kind):
        return Untaken(Path(path), "a pipe, socket or device", False)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in VIDEO_SUFFIXES:
        why = "a video file beside what is taken; give its folder as a root of its own"
        return Untaken(Path(path), why, True)
    if suffix in IMAGE_SUFFIXES:
        return Untaken(Path(path), "an image beside the videos; frames lie in a folder for each video", True)
    return Untaken(Path(path), "neither image nor video file", False)


def _folder(path: str) -> Untaken:
    videos = looked = 0
    for _, _, files in os.walk(path):
        suffixes = {os.path.splitext(file)[1].lower() for file in files if not file.startswith(".")}
        videos += bool(suffixes & IMAGE_SUFFIXES)
        videos += sum(os.path.splitext(file)[1].lower() in VIDEO_SUFFIXES for file in files)
        looked += len(files) + 1
        if looked > _MOST_LOOKED:
            break
    if not videos:
        why = "an empty folder" if looked <= 1 and not _names(path) else "a folder without frames or video"
        return Untaken(Path(path), why, False)
    if os.path.basename(path) in _OTHERS:
        return Untaken(Path(path), f"{plural(videos, 'video')} of another part of a data set", False)
    reason = f"{plural(videos, 'video')} in it, deeper than the others; give it as a root of its own"
    return Untaken(Path(path), reason, True)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder), key=natural_key)
    except OSError:
        return []
