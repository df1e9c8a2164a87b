"""What a folder is: which data set, which variant, and the videos that it should hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mamp.core.errors import UserError, plural
from mamp.datasets.lists import (
    UNSUPERVISED,
    Listed,
    listed_frames,
    read_list,
    read_meta,
    read_splits,
    resolution,
)
from mamp.datasets.sequences import masks_beside, video_sources
from mamp.tools.examine import Job, MaskRule
from mamp.video.folders import entries, subfolders
from mamp.video.frames import VIDEO_SUFFIXES, open_frames
from mamp.video.packed import INDEX, UNFINISHED, read_index

YOUTUBE_SPLITS = ("train", "valid", "test")
_EVERY = "_all_frames"
_LONG_VIDEOS = {"blueboy", "dressage", "rat"}
_PLACES = ("2017", "2016", "480p", "1080p")  # of lists, in ImageSets
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
# videos that the authors' own lists have
_PUBLISHED: dict[str, dict[str, tuple[int, ...]]] = {
    "DAVIS-2016": {"train": (30,), "val": (20,)},
    "DAVIS-2017": {"train": (60,), "val": (30,), "test-dev": (30,), "test-challenge": (30,)},
    "YouTube-VOS": {"train": (3471,), "valid": (474, 507)},
}


@dataclass
class Part:
    """One data set, or one split: where it lies, what it is, its videos, what is wrong with its lists."""

    where: Path
    what: str
    jobs: list[Job] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def _is_video(file: Path) -> bool:
    """Whether a file whose name does not say so can be read as a video."""
    try:
        with open_frames(file):
            return True
    except UserError:
        return False


def recognise(root: Path) -> list[Part]:
    """What lies in `root`, the root of a data set as its authors pack it or a folder of one's own video.

    Raises UserError when there is nothing there, or nothing known.
    """
    if not root.exists():
        raise UserError(f"{root} does not exist; give the root of a data set or a folder of videos")
    if root.is_dir():
        for find in (_packed, _youtube, _davis, _plain):
            parts = find(root)
            if parts:
                return parts
    elif root.suffix.lower() in VIDEO_SUFFIXES or _is_video(root):
        return [Part(root, "a video file", [Job(root.name, root)])]
    inside = ", ".join(folder.name for folder in subfolders(root)[:5]) if root.is_dir() else ""
    raise UserError(
        f"{root} is no data set, no folder of frames and no video"
        f" file{f' (it holds {inside})' if inside else ''}; give the root of a data set or a folder of videos"
    )


# ---------------------------------------------------------------- DAVIS and Long Videos


def _davis(root: Path) -> list[Part]:
    if not (root / "ImageSets").is_dir() and not (root / "db_info.yaml").is_file():
        return []
    problems: list[tuple[str, str]] = []
    lists = _lists(root, problems)
    names: dict[str, dict[str, None]] = {}
    for found in lists.values():
        for name, frames in found.items():
            names.setdefault(name, {}).update(dict.fromkeys(frames))
    if names and names.keys() <= _LONG_VIDEOS:
        return _long_videos(root, list(names))
    year = "DAVIS-2016" if not any(key.startswith("2017/") for key in lists) and lists else "DAVIS-2017"
    folders = [root / "JPEGImages" / name for name in _RESOLUTIONS if (root / "JPEGImages" / name).is_dir()]
    parts = []
    for images in folders or [root / "JPEGImages"]:
        masks = root / "Annotations" / images.relative_to(root / "JPEGImages")
        what = f"{year}{f' at {images.name}' if folders else ''}, {_lists_in_words(year, lists)}"
        unlisted = [f.name for f in subfolders(images) if f.name not in names]
        jobs = [
            Job(
                n,
                images / n,
                wanted=tuple(names.get(n, ())),
                masks=masks / n,
                rule="first or all" if n in names or (masks / n).is_dir() else "none",
            )
            for n in [*names, *unlisted]
        ]
        part = Part(root, what, jobs)
        if unlisted:
            part.notes.append(
                f"{plural(len(unlisted), 'video is', 'videos are')} in no list: {', '.join(unlisted[:3])}"
            )
        parts.append(part)
    parts[0].problems = problems
    if (root / UNSUPERVISED).is_dir():
        parts[0].notes.append(
            f"{UNSUPERVISED}: the truth of DAVIS's unsupervised task, which is not served; it is left alone"
        )
    return parts


def _lists(root: Path, problems: list[tuple[str, str]]) -> dict[str, Mapping[str, tuple[str, ...]]]:
    """ "2017/val" -> sequence -> frames, of every list that can be read."""
    lists: dict[str, Mapping[str, tuple[str, ...]]] = {}
    for place in _PLACES:
        for file in sorted((root / "ImageSets" / place).glob("*.txt")):
            if file.name.startswith("."):
                problems.append(("droppings", str(file)))
                continue
            try:
                lists[f"{place}/{file.stem}"] = read_list(file)
            except UserError as error:
                problems.append(("list", str(error)))
                continue
            if not lists[f"{place}/{file.stem}"]:
                problems.append(("list", f"{file} is empty"))
    try:
        return lists or {f"2017/{k}": v for k, v in read_splits(root, "any").items()}
    except UserError as error:
        problems.append(("list", str(error)))
        return lists


def _lists_in_words(year: str, lists: Mapping[str, Mapping[str, tuple[str, ...]]]) -> str:
    """The lists of this year, with how many videos they have and should have."""
    own = {
        key.partition("/")[2]: len(found)
        for key, found in lists.items()
        if key.startswith("2017/") == (year == "DAVIS-2017")
    }
    return ", ".join(_count_in_words(year, split, count) for split, count in own.items()) or "without lists"


def _count_in_words(name: str, split: str, count: int) -> str:
    published = _PUBLISHED[name].get(split, ())
    of = f" of {' or '.join(map(str, published))} published" if published and count not in published else ""
    return f"{split} ({count}{of})"


def _long_videos(root: Path, names: list[str]) -> list[Part]:
    images = resolution(root / "JPEGImages")
    masks = root / "Annotations" / images.relative_to(root / "JPEGImages")
    jobs = [Job(name, images / name, masks=masks / name, rule="some") for name in names]
    return [Part(root, "Long Videos", jobs)]


# ---------------------------------------------------------------- YouTube-VOS


def _youtube(root: Path) -> list[Part]:
    names = [f"{split}{variant}" for split in YOUTUBE_SPLITS for variant in ("", _EVERY)]
    bases = [root / name for name in names if (root / name / "JPEGImages").is_dir()]
    own = (root / "JPEGImages").is_dir() and ((root / "meta.json").is_file() or root.name in names)
    if not bases and own:
        bases = [root]
    return [_youtube_part(base) for base in bases]


def _youtube_part(base: Path) -> Part:
    split, every = base.name.removesuffix(_EVERY), base.name.endswith(_EVERY)
    part = Part(base, "")
    meta = base / "meta.json"
    if every and not meta.is_file():
        meta = base.with_name(split) / "meta.json"
    images = base / "JPEGImages"
    there = [folder.name for folder in subfolders(images)]
    videos: Mapping[str, Mapping[int, Listed]] = {}
    try:
        videos = read_meta(meta)
    except UserError as error:
        part.problems.append(("list", str(error)))
    part.jobs = [_youtube_job(base, name, objects, every=every) for name, objects in videos.items()]
    part.jobs += [Job(name, images / name, gaps=every) for name in there if name not in videos]
    strangers = [name for name in there if name not in videos] if videos else []
    if strangers:
        part.notes.append(
            f"{plural(len(strangers), 'video is', 'videos are')} not in {meta}: {', '.join(strangers[:3])}"
        )
    part.what = f"YouTube-VOS {_count_in_words('YouTube-VOS', split, len(part.jobs))}"
    return part


def _youtube_job(base: Path, name: str, objects: Mapping[int, Listed], *, every: bool) -> Job:
    """Train has a mask of every listed frame; elsewhere there must be the first of each object."""
    listed = listed_frames(objects)
    begins = tuple(sorted({o.frames[0] for o in objects.values() if o.frames}))
    rule: MaskRule = "listed" if (base / "Annotations").is_dir() or not every else "none"
    return Job(
        name,
        base / "JPEGImages" / name,
        wanted=listed,
        gaps=every,
        masks=base / "Annotations" / name,
        rule=rule,
        masks_wanted=listed if base.name.startswith("train") else begins,
        ids=frozenset(objects),
    )


# ---------------------------------------------------------------- one's own


def _packed(root: Path) -> list[Part]:
    """A folder that `mamp data pack` wrote."""
    index, unfinished = root / INDEX, (root / UNFINISHED).is_dir()
    if not index.is_file() and not unfinished:
        return []
    part = Part(root, "a packed folder")
    if unfinished:
        part.problems.append(("packed", f"{root} is not packed to the end"))
    try:
        clips = read_index(index)["clips"] if index.is_file() else {}
    except UserError as error:
        part.problems.append(("list", str(error)))
        clips = {}
    for name, clip in clips.items():
        part.jobs.append(Job(name, root / clip["file"], packed=(int(clip["bytes"]), clip["sha256"])))
    known = {job.frames.name for job in part.jobs}
    strangers = [e.name for e in entries(root) if e.suffix.lower() in VIDEO_SUFFIXES and e.name not in known]
    if strangers and known:
        part.notes.append(
            f"{plural(len(strangers), 'video file is', 'video files are')} not in {INDEX}:"
            f" {', '.join(strangers[:3])}"
        )
    return [part]


def _plain(root: Path) -> list[Part]:
    """Frame folders or video files, or one frame folder; with masks beside them or without."""
    images = resolution(root / "JPEGImages") if (root / "JPEGImages").is_dir() else root
    sources = video_sources(root)
    if not sources:
        return []
    names = [source.name for source in sources]
    if sources and (images != root) and set(names) <= _LONG_VIDEOS:
        return _long_videos(root, names)
    jobs = [_plain_job(source) for source in sources]
    part = Part(root, _plain_words(root, sources), jobs)
    if sources != [images]:
        part.jobs += [Job(f.name, f) for f in subfolders(images) if not entries(f)]
    stems: dict[str, list[str]] = {}
    for source in sources:
        stems.setdefault(source.name if source.is_dir() else source.stem, []).append(source.name)
    part.problems = [
        ("twice", f"{root}: {' and '.join(found)} are both called {stem}")
        for stem, found in stems.items()
        if len(found) > 1
    ]
    file = root / "train.txt"
    if file.is_file():
        try:
            absent = [name for name in read_list(file) if name not in stems]
            part.jobs += [Job(name, images / name) for name in absent]
        except UserError as error:
            part.problems.append(("list", str(error)))
    return [part]


def _plain_job(source: Path) -> Job:
    masks = masks_beside(source)
    return Job(source.name, source, masks=masks, rule="some" if masks.exists() else "none")


def _plain_words(root: Path, sources: list[Path]) -> str:
    if sources == [root]:
        return "a folder of frames"
    files = sum(source.is_file() for source in sources)
    kinds = ["video files"] * bool(files) + ["frame folders"] * (files < len(sources))
    return f"a folder of {' and '.join(kinds)}"
