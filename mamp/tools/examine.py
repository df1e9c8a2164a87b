"""One video of a data set, looked through: what it has, and everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from mamp.core.errors import UserError
from mamp.core.files import is_dropping, sha256_of
from mamp.core.texts import refuse_special
from mamp.video.folders import image_files
from mamp.video.frames import VideoFile, read_image
from mamp.video.masks import read_mask
from mamp.video.packed import find_packed

Level = Literal["fast", "normal", "deep"]
MaskRule = Literal["none", "listed", "first or all", "some"]

# kind of problem -> how a list of them is headed; they are listed in this order
KINDS = {
    "list": "lists that are wrong",
    "absent": "listed but not there",
    "empty": "empty folders",
    "untaken": "frames and video that are not taken",
    "twice": "one name for two things",
    "missing": "missing frames",
    "gap": "gaps in the numbering",
    "frame": "frames that cannot be read",
    "video": "video files that cannot be read",
    "packed": "packed clips that are not as they were",
    "size": "frames of another size than the video's others",
    "no mask": "missing masks",
    "mask": "masks that cannot be read",
    "mask size": "masks of another size than their frame",
    "ids": "masks with wrong objects",
    "orphan": "masks without a frame",
    "droppings": "what a file manager left behind (._NAME, .DS_Store), which other programs take for frames",
}
_NAMED = 3  # frames that one line names
_TAIL = 256  # bytes at a file's end among which its end mark is looked for
_ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND"}
_TURNED = (5, 6, 7, 8)  # EXIF orientations that lie on their side
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Job:
    """What is known of a video before it is looked at.

    frames: a folder of images or a video file. wanted: names of frames that a list calls for. gaps: whether
    numbers must
    follow one another. masks: a folder of PNGs, or one PNG for the first frame. rule: which masks there must
    be: those in `masks_wanted`, the first or all of them, some with the first among them. ids: objects that
    masks may show, None for
    any. packed: bytes and sha256 of a packed clip.
    """

    name: str
    frames: Path
    wanted: tuple[str, ...] = ()
    gaps: bool = True
    masks: Path | None = None
    rule: MaskRule = "none"
    masks_wanted: tuple[str, ...] = ()
    ids: frozenset[int] | None = None
    packed: tuple[int, str] | None = None


@dataclass
class Finding:
    """What a video has: counts, (width, height) of its frames, the step from one frame's number to the next;
    its problems.
    """

    name: str
    frames: int = 0
    masks: int = 0
    size: tuple[int, int] | None = None
    step: int | None = None
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, kind: str, text: str) -> None:
        """One more problem, of a kind in KINDS."""
        self.problems.append((kind, text))


def examine(job: Job, level: Level) -> Finding:
    """Look through one video.

    level: `fast` reads names and sizes of files; `normal` also the beginning and the end of each frame and
    all of each mask; `deep` decodes every frame.
    """
    found = Finding(job.name)
    if job.packed is not None:
        _packed(job, job.packed, level, found)
    elif job.frames.is_file():
        names = _video(job, level, found)
        _masks(job, names, {}, level, found)
    else:
        files = _frames(job, found)
        sizes = _sizes(job.frames, files, level, found)
        if files:
            _masks(job, list(files), sizes, level, found)
    return found


# ---------------------------------------------------------------- frames


def _frames(job: Job, found: Finding) -> Mapping[str, str]:
    """Stem -> file name of the frames; nothing where there are none to look at."""
    if not job.frames.is_dir():
        found.add("absent", f"{job.frames}")
        return {}
    try:
        _droppings(job.frames, found)
        files = image_files(job.frames)
    except (UserError, OSError) as error:
        found.add("twice", _short(error))
        return {}
    if not files:
        found.add("empty", f"{job.frames}")
        return {}
    found.frames = len(files)
    absent = [name for name in job.wanted if name not in files]
    if absent:
        found.add("missing", f"{job.frames}: {_some(absent)} ({len(absent)} of {len(job.wanted)} listed)")
    found.step, gaps = numbering(list(files))
    if gaps and job.gaps:
        places = [f"from {a} to {b}" for a, b in gaps]
        found.add("gap", f"{job.frames}: {_some(places)} (elsewhere in steps of {found.step})")
    return files


def numbering(names: Sequence[str]) -> tuple[int | None, list[tuple[str, str]]]:
    """Return the usual step between the numbers in names, and the neighbours with another step.

    None without numbers.
    """
    stems = [name.rstrip("0123456789") for name in names]
    if len(names) < 2 or len(set(stems)) > 1 or any(s == n for s, n in zip(stems, names, strict=True)):
        return None, []
    numbers = [int(name[len(stem) :]) for name, stem in zip(names, stems, strict=True)]
    steps = [b - a for a, b in zip(numbers, numbers[1:], strict=False)]
    counts = Counter(steps)
    usual = min(counts, key=lambda step: (-counts[step], step))
    return usual, [(names[i], names[i + 1]) for i, step in enumerate(steps) if step != usual]


def _sizes(
    folder: Path, files: Mapping[str, str], level: Level, found: Finding
) -> dict[str, tuple[int, int]]:
    """Stem -> (width, height) of the frames that can be read."""
    sizes: dict[str, tuple[int, int]] = {}
    for stem, file in files.items():
        path = folder / file
        try:
            if level != "fast":
                sizes[stem] = _whole_size(path, deep=level == "deep")
            elif path.stat().st_size == 0:
                found.add("frame", f"{path} is empty")
        except (UserError, OSError) as error:
            found.add("frame", _short(error))
    if sizes:
        counts = Counter(sizes.values())
        found.size = max(counts, key=lambda size: counts[size])
        others = [f"{files[stem]} is {_by(size)}" for stem, size in sizes.items() if size != found.size]
        if others:
            found.add("size", f"{folder}: {_some(others)}, and the others {_by(found.size)}")
    return sizes


def _whole_size(path: Path, *, deep: bool) -> tuple[int, int]:
    """(width, height) of an image, upright. Without `deep` only its end mark is checked.

    UserError when it is damaged.
    """
    end = _ENDS.get(path.suffix.lower())
    if not deep and end is not None:
        try:
            refuse_special(path)
            with path.open("rb") as file, Image.open(file) as image:
                turned = "exif" in image.info and image.getexif().get(_ORIENTATION) in _TURNED
                size = image.size
                file.seek(max(0, path.stat().st_size - _TAIL))
                if end in file.read():
                    return size[::-1] if turned else size
        except Exception:  # Pillow's readers raise whatever they trip over; read_image says what it is
            pass
    height, width = read_image(path).shape[:2]
    return width, height


def _droppings(folder: Path, found: Finding) -> None:
    names = sorted(e.name for e in folder.iterdir() if is_dropping(e.name))
    if names:
        found.add("droppings", f"{folder}: {_some(names)}")


# ---------------------------------------------------------------- video files


def _video(job: Job, level: Level, found: Finding) -> list[str]:
    """The names of a video file's frames."""
    if job.frames.stat().st_size == 0:
        found.add("video", f"{job.frames} is empty")
        return []
    if level == "fast":
        return []
    try:
        source = VideoFile(job.frames, bad_frame="skip")
        with source:
            found.frames = len(source)
            if source.cut_short:
                found.add("video", f"{job.frames} is cut short: {source.cut_short}")
            frames = source.stream() if level == "deep" else iter([(0, source[0])])
            for _, frame in frames:
                found.size = (frame.shape[1], frame.shape[0])
            if source.bad:
                places = [source.names[index] for index in source.bad]
                found.add("frame", f"{job.frames}: {_some(places)} cannot be decoded")
            return source.names
    except UserError as error:
        found.add("video", _short(error))
        return []


def _packed(job: Job, record: tuple[int, str], level: Level, found: Finding) -> None:
    if not job.frames.is_file():
        found.add("absent", f"{job.frames}")
    elif job.frames.stat().st_size != record[0]:
        found.add(
            "packed", f"{job.frames} has {job.frames.stat().st_size:,} bytes, packed with {record[0]:,}"
        )
    elif level == "deep" and sha256_of(job.frames) != record[1]:
        found.add("packed", f"{job.frames} has another checksum than it was packed with")
    else:
        clip = find_packed(job.frames)
        if clip is not None:
            found.frames, found.size = len(clip), (clip.size[1], clip.size[0])


# ---------------------------------------------------------------- masks


def _masks(
    job: Job, names: Sequence[str], sizes: Mapping[str, tuple[int, int]], level: Level, found: Finding
) -> None:
    """Look at the masks; without `names` the frames are not known."""
    if job.masks is None or job.rule == "none":
        return
    files = _mask_files(job.masks, names, found)
    found.masks = len(files)
    wanted = _wanted(job, names, files)
    absent = [name for name in wanted if name not in files]
    if absent:
        found.add("no mask", f"{job.masks}: {_some(absent)} ({len(absent)} of {len(wanted)})")
    orphans = sorted(files.keys() - set(names)) if names else []
    if orphans:
        found.add("orphan", f"{job.masks}: {_some(orphans)} ({len(orphans)} of {len(files)})")
    if level != "fast":
        first = next(iter(files), None)
        for name, path in files.items():
            _mask(path, sizes.get(name, found.size), job.ids, found, first=name == first)


def _mask_files(masks: Path, names: Sequence[str], found: Finding) -> dict[str, Path]:
    if masks.is_file():
        return {names[0] if names else masks.stem: masks}
    try:
        _droppings(masks, found)
        return {stem: masks / file for stem, file in image_files(masks).items()}
    except OSError:
        return {}
    except UserError as error:
        if masks.is_dir():
            found.add("twice", _short(error))
        return {}


def _wanted(job: Job, names: Sequence[str], files: Mapping[str, Path]) -> Sequence[str]:
    """The masks that there must be."""
    if job.rule == "listed":
        return job.masks_wanted
    if job.rule == "first or all" and len(files) > 1:
        return names
    return names[:1] if job.rule == "first or all" or not files else ()


def _mask(
    path: Path, size: tuple[int, int] | None, ids: frozenset[int] | None, found: Finding, *, first: bool
) -> None:
    try:
        labels = read_mask(path)
    except UserError as error:
        found.add("mask", _short(error))
        return
    shape = (labels.shape[1], labels.shape[0])
    if size is not None and shape != size:
        found.add("mask size", f"{path} is {_by(shape)}, its frame {_by(size)}")
    there = set(np.flatnonzero(np.bincount(labels.reshape(-1))).tolist()) - {0}
    if ids is not None and there - ids:
        found.add("ids", f"{path} shows {_some(map(str, sorted(there - ids)))}, not in meta.json")
    if first and not there:
        found.add("ids", f"{path}, the first mask, shows no object")


# ---------------------------------------------------------------- words


def _some(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _short(error: Exception) -> str:
    """What is wrong, without the remedy."""
    return str(error).split("; ")[0].removeprefix("mask ")
