"""Data sets as their authors pack them -> sequences: where the frames are, which masks are given, what the truth is."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from mamp import config
from mamp.data.frames import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    FrameSource,
    image_files,
    natural_key,
    open_frames,
)
from mamp.data.masks import object_ids, read_mask
from mamp.errors import UserError

DAVIS_FPS = 24.0
YOUTUBE_FPS = 30.0
YOUTUBE_LISTED_FPS = 6.0  # every fifth frame


@dataclass(frozen=True)
class Sequence:
    """One video of a data set.

    source: a folder of images or a video file. frame_names: stems of the frames to read, in order; () is everything.
    fps: frames a second, None when not known (a video file knows its own once open).
    given: frame index -> file with the masks a segmenter is given there. truth: frame index -> file, empty where
    there is none. labels: which frames have truth (first: only what is given). first_frame: object id -> index of its first frame, for YouTube-VOS and folders;
    there the masks given at an index are those of the objects that begin at it.
    one_object: every id is one object (DAVIS-2016). void: 255 is background (DAVIS-2017, Long Videos).
    """

    name: str
    source: Path
    frame_names: tuple[str, ...] = ()
    fps: float | None = None
    given: Mapping[int, Path] = field(default_factory=dict)
    truth: Mapping[int, Path] = field(default_factory=dict)
    labels: Literal["none", "first", "sparse", "all"] = "none"
    first_frame: Mapping[int, int] = field(default_factory=dict)
    one_object: bool = False
    void: bool = False

    def open(self, *, bad_frame: str = "error") -> FrameSource:
        """The frames; see `open_frames`."""
        return open_frames(self.source, bad_frame=bad_frame, names=self.frame_names or None)

    def read_given(self, index: int) -> np.ndarray:
        """Label map (H, W) of what is given at frame `index`; UserError when the first one shows no object."""
        labels = self._read(self.given[index])
        if self.first_frame:
            begins = [number for number, first in self.first_frame.items() if first == index]
            labels = np.where(np.isin(labels, begins), labels, 0).astype(labels.dtype)
        if index == min(self.given) and not labels.any():
            raise UserError(f"mask {self.given[index]} shows no object; mark at least one")
        return labels

    def read_truth(self, index: int) -> np.ndarray:
        """True label map (H, W) of frame `index`."""
        return self._read(self.truth[index])

    def _read(self, path: Path) -> np.ndarray:
        labels = read_mask(path, void=self.void)
        return (labels > 0).astype(np.uint8) if self.one_object else labels


def open_dataset(name: str, root: Path | str, split: str = "val") -> list[Sequence]:
    """The sequences of a split: `davis2016`, `davis2017`, `youtubevos`, `longvideos` or `folder`.

    root: the data set's root as its authors pack it. split: a list in ImageSets, or a folder of YouTube-VOS; for
    `folder`, a list SPLIT.txt where there is one, else everything.

    Raises UserError naming the path, or the splits that are there.
    """
    if name not in _READERS:
        raise UserError(f"data set {name!r} is not known; use one of {', '.join(_READERS)}")
    sequences = _READERS[name](_existing(Path(root)), split)
    if not sequences:
        raise UserError(f"{root} holds no sequences in split {split}; give the root of a {name} data set")
    return sequences


def training_sequences(roots: collections.abc.Sequence[config.Root]) -> list[Sequence]:
    """Unlabelled sequences of all roots, with names that are unique among them.

    A root is a DAVIS root (its train list), a YouTube-VOS root (train_all_frames, else train), a folder with
    JPEGImages/ (the names in train.txt, else all), a folder of frame folders or video files, or one of these.
    `split` of a root chooses another list, `fps` another rate.

    Raises UserError for a root that is missing or holds no video.
    """
    found: list[Sequence] = []
    taken: set[str] = set()
    for root in roots:
        sequences = _unlabelled(_existing(root.path), root.split)
        if not sequences:
            raise UserError(
                f"{root.path} holds no frames or video files; give a data set's root or a folder of videos"
            )
        for sequence in sequences:
            name = _unused(sequence.name, root.path, taken)
            taken.add(name)
            found.append(dataclasses.replace(sequence, name=name, fps=root.fps or sequence.fps))
    return found


# ---------------------------------------------------------------- DAVIS and Long Videos


def _davis2016(root: Path, split: str) -> list[Sequence]:
    lists = _lists(root, ("ImageSets/480p", "ImageSets/1080p", "ImageSets/2016"), year=2016)
    return _davis(root, _pick(lists, split, root), one_object=True)


def _davis2017(root: Path, split: str) -> list[Sequence]:
    lists = _lists(root, ("ImageSets/2017",), year=2017)
    return _davis(root, _pick(lists, split, root), void=True)


def _davis(root: Path, chosen: Mapping[str, tuple[str, ...]], **reading: bool) -> list[Sequence]:
    images, masks = _resolution(root / "JPEGImages"), _resolution(root / "Annotations")
    return [
        _annotated(images / name, masks / name, frames=frames, fps=DAVIS_FPS, **reading)
        for name, frames in chosen.items()
    ]


def _longvideos(root: Path, split: str) -> list[Sequence]:
    lists = _lists(root, ("ImageSets/480p", "ImageSets/2017", "ImageSets", "."), year=None)
    images, masks = _resolution(root / "JPEGImages"), _resolution(root / "Annotations")
    if not lists and split == "val":
        lists = {"val": {folder.name: () for folder in _folders(images)}}
    chosen = _pick(lists, split, root)
    return [
        _annotated(images / name, masks / name, frames=frames, fps=None, void=True)
        for name, frames in chosen.items()
    ]


def _annotated(
    images: Path,
    masks: Path,
    *,
    frames: tuple[str, ...],
    fps: float | None,
    one_object: bool = False,
    void: bool = False,
) -> Sequence:
    """Frames and masks of one name, with the first mask given."""
    names = _frame_names(images, frames)
    files = _mask_files(masks, names)
    if not files:
        raise UserError(
            f"{masks} holds no mask for the frames of {images.name}; bring at least the first frame's"
        )
    labels = _extent(files, len(names))
    first = min(files)
    return Sequence(
        name=images.name, source=images, frame_names=names, fps=fps, labels=labels, one_object=one_object, void=void,
        given={first: files[first]}, truth={} if labels == "first" else files,
    )  # fmt: skip


def _extent(files: Mapping[int, Path], count: int) -> Literal["first", "sparse", "all"]:
    if len(files) == 1:
        return "first"
    return "all" if len(files) == count - min(files) else "sparse"


def _lists(root: Path, places: Iterable[str], *, year: int | None) -> dict[str, dict[str, tuple[str, ...]]]:
    """split -> sequence -> frames that the list names; from the first of `places` that has a split, else db_info.yaml."""
    lists: dict[str, dict[str, tuple[str, ...]]] = {}
    for place in places:
        for file in sorted((root / place).glob("*.txt")):
            lists.setdefault(file.stem, _read_list(file))
    if not lists and year is not None:
        for info in (root / "db_info.yaml", root / "data" / "db_info.yaml"):
            if info.is_file():
                return _read_info(info, year)
    return lists


def _pick(
    lists: Mapping[str, dict[str, tuple[str, ...]]], split: str, root: Path
) -> dict[str, tuple[str, ...]]:
    if split not in lists:
        there = (
            f"it has {', '.join(sorted(lists))}"
            if lists
            else "it has no lists in ImageSets and no db_info.yaml"
        )
        raise UserError(f"{root} has no split {split}; {there}")
    return lists[split]


def _read_list(file: Path) -> dict[str, tuple[str, ...]]:
    """A line is a sequence's name, or the paths of a frame and its mask (DAVIS-2016)."""
    frames: dict[str, tuple[str, ...]] = {}
    for line in _text(file).split("\n"):
        words = line.split()
        if not words:
            continue
        path = Path(words[0])
        if path.suffix.lower() in IMAGE_SUFFIXES:
            name, frame = path.parent.name, (path.stem,)
        else:
            name, frame = words[0].strip("/"), ()
        if ".." in Path(name).parts or not name:
            raise UserError(f"{file} names {words[0]!r}, which is no sequence; write one name a line")
        frames[name] = frames.get(name, ()) + frame
    return frames


def _read_info(file: Path, year: int) -> dict[str, dict[str, tuple[str, ...]]]:
    """db_info.yaml: entries with name, set and year; a set of one year holds those of the years before."""
    try:
        values = yaml.safe_load(_text(file))
        entries = values["sequences"] if isinstance(values, dict) else values
        lists: dict[str, dict[str, tuple[str, ...]]] = {}
        for entry in entries:
            years = entry.get("years", entry.get("year", year))
            if any(int(y) <= year for y in (years if isinstance(years, list) else [years])):
                lists.setdefault(str(entry["set"]), {})[str(entry["name"])] = ()
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} is not DAVIS's list of sequences ({error}); fetch it again") from None
    return lists


def _resolution(folder: Path) -> Path:
    """Where the sequences are: 480p if it is there, else the one resolution that is, else the folder itself."""
    for name in ("480p", "Full-Resolution", "1080p"):
        if (folder / name).is_dir():
            return folder / name
    return folder


# ---------------------------------------------------------------- YouTube-VOS


def _youtubevos(root: Path, split: str) -> list[Sequence]:
    base = _youtube_split(root, split)
    labelled = (
        base if (base / "Annotations").is_dir() else base.with_name(base.name.removesuffix("_all_frames"))
    )
    meta_file = next(
        (f for f in (base / "meta.json", labelled / "meta.json") if f.is_file()), base / "meta.json"
    )
    return [
        _youtube_sequence(base, labelled / "Annotations" / name, objects, meta_file)
        for name, objects in _youtube_meta(meta_file).items()
    ]


def _youtube_split(root: Path, split: str) -> Path:
    """ROOT/SPLIT, or ROOT itself when it is the split's folder; `val` is called valid."""
    names = [split, *(["valid"] if split == "val" else [])]
    for name in names:
        if (root / name / "JPEGImages").is_dir():
            return root / name
    if (root / "JPEGImages").is_dir() and (root.name in names or split == "val"):
        return root
    there = [folder.name for folder in _folders(root) if (folder / "JPEGImages").is_dir()]
    raise UserError(
        f"{root} has no split {split} (a folder {names[-1]}/JPEGImages); it has {', '.join(there) or 'none'}"
    )


def _youtube_meta(file: Path) -> dict[str, dict[int, list[str]]]:
    """video -> object id -> frames that list it."""
    try:
        videos = json.loads(_text(file))["videos"]
        return {
            str(video): {
                int(number): sorted(map(str, entry["frames"])) for number, entry in value["objects"].items()
            }
            for video, value in videos.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a meta.json of YouTube-VOS ({type(error).__name__}: {error}); fetch it again"
        ) from None


def _youtube_sequence(base: Path, masks: Path, objects: Mapping[int, list[str]], meta_file: Path) -> Sequence:
    images = base / "JPEGImages" / masks.name
    everything = base.name.endswith("_all_frames")
    listed = sorted({frame for frames in objects.values() for frame in frames})
    if not listed:
        raise UserError(f"{meta_file} lists no frames for {masks.name}; fetch it again")
    names = _frame_names(images, () if everything else tuple(listed))
    index = {name: i for i, name in enumerate(names)}
    first_frame = {
        number: index[frames[0]]
        for number, frames in sorted(objects.items())
        if frames and frames[0] in index
    }
    files = _mask_files(masks, names)
    absent = [i for i in first_frame.values() if i not in files]
    if absent or not first_frame:
        raise UserError(
            f"{masks / names[absent[0] if absent else 0]}.png is missing, where an object begins; fetch it again"
        )
    given = {i: files[i] for i in sorted(set(first_frame.values()))}
    labels: Literal["first", "sparse", "all"] = (
        "first" if set(files) <= set(given) else _extent(files, len(names))
    )
    return Sequence(
        name=masks.name, source=images, frame_names=names, fps=YOUTUBE_FPS if everything else YOUTUBE_LISTED_FPS,
        given=given, truth={} if labels == "first" else files, labels=labels, first_frame=first_frame,
    )  # fmt: skip


# ---------------------------------------------------------------- plain folders


def _folder(root: Path, split: str) -> list[Sequence]:
    if (root / "valid_demo" / "JPEGImages").is_dir():
        root = root / "valid_demo"
    sources = _listed(root, split) or _sources(root)
    return [_begun(source, _masks_beside(source)) for source in sources]


def _begun(source: Path, masks: Path) -> Sequence:
    """From the first mask on; a mask gives the objects that no mask before it showed, and is truth if it shows others."""
    names = tuple(image_files(source)) if source.is_dir() else tuple(open_frames(source).names)
    files = {0: masks} if masks.is_file() else _mask_files(masks, names)
    if not files:
        raise UserError(f"{masks} holds no mask for {source}; put a PNG there, named like its frame")
    start = min(files)
    first_frame: dict[int, int] = {}
    truth: dict[int, Path] = {}
    for index, file in sorted(files.items()):
        ids = object_ids(read_mask(file))
        if index == start or not ids or any(number in first_frame for number in ids):
            truth[index - start] = file
        for number in ids:
            first_frame.setdefault(number, index - start)
    given = {index: files[index + start] for index in sorted({0, *first_frame.values()})}
    labels = _extent(truth, len(names) - start)
    return Sequence(
        name=source.stem if source.is_file() else source.name, source=source, frame_names=names[start:],
        fps=None, given=given, truth={} if labels == "first" else truth, labels=labels, first_frame=first_frame,
    )  # fmt: skip


def _masks_beside(source: Path) -> Path:
    """Where the masks of a frame folder or video file are looked for; the first place is named when there is none."""
    name = source.name if source.is_dir() else source.stem
    places = [source.parent / "Annotations" / name]
    if source.parent.name == "JPEGImages":
        places.insert(0, source.parent.parent / "Annotations" / name)
    if source.is_dir():
        places.append(source / "Annotations")
    places.append(source.parent / f"{name}.png")
    return next((place for place in places if place.exists()), places[0])


def _sources(root: Path) -> list[Path]:
    """The videos of a folder: itself, JPEGImages/NAME, frame folders, video files."""
    if root.is_file() or _is_frame_folder(root):
        return [root]
    if (root / "JPEGImages").is_dir():
        root = _resolution(root / "JPEGImages")
    folders = [
        folder for folder in _folders(root) if folder.name != "Annotations" and _is_frame_folder(folder)
    ]
    videos = [
        file
        for file in root.iterdir()
        if file.suffix.lower() in VIDEO_SUFFIXES and not file.name.startswith(".")
    ]
    return sorted(folders + videos, key=lambda path: natural_key(path.name))


def _listed(root: Path, split: str | None) -> list[Path]:
    """The videos that ROOT/SPLIT.txt names; nothing when there is no such list and the split is a default."""
    if root.is_file() or split is None:
        return []
    file = root / f"{split}.txt"
    if not file.is_file():
        if split in ("train", "val", "all"):
            return []
        there = ", ".join(sorted(f.stem for f in root.glob("*.txt"))) or "none"
        raise UserError(f"{root} has no list {split}.txt; its lists: {there}")
    by_name = {path.stem if path.is_file() else path.name: path for path in _sources(root)}
    names = list(_read_list(file))
    absent = [name for name in names if name not in by_name]
    if absent:
        raise UserError(
            f"{file} names {absent[0]}, which is not in {root} ({len(absent)} of {len(names)} are missing)"
        )
    return [by_name[name] for name in names]


# ---------------------------------------------------------------- training


def _unlabelled(root: Path, split: str | None) -> list[Sequence]:
    if (root / "ImageSets").is_dir() or (root / "db_info.yaml").is_file():
        lists = _lists(
            root,
            ("ImageSets/2017", "ImageSets/2016", "ImageSets/480p", "ImageSets/1080p", "ImageSets"),
            year=2017,
        )
        images = _resolution(root / "JPEGImages")
        return [
            _plain(images / name, DAVIS_FPS, frames)
            for name, frames in _pick(lists, split or "train", root).items()
        ]
    youtube = [split] if split else ["train_all_frames", "train"]
    for name in youtube:
        if (root / name / "JPEGImages").is_dir():
            root, split = root / name, None
            break
    if root.name.endswith("_all_frames") or (root / "meta.json").is_file():
        fps: float | None = YOUTUBE_FPS if root.name.endswith("_all_frames") else YOUTUBE_LISTED_FPS
    else:
        fps = None
    return [_plain(source, fps) for source in _listed(root, split or "train") or _sources(root)]


def _plain(source: Path, fps: float | None, frames: tuple[str, ...] = ()) -> Sequence:
    if source.is_file():
        return Sequence(name=source.stem, source=source)
    return Sequence(name=source.name, source=source, frame_names=_frame_names(source, frames), fps=fps)


def _unused(name: str, root: Path, taken: set[str]) -> str:
    """`name`, or with the root's name before it, or with a number behind it."""
    candidate, number = name, 1
    while candidate in taken:
        candidate = f"{root.name}/{name}" if number == 1 else f"{root.name}/{name}-{number}"
        number += 1
    return candidate


# ---------------------------------------------------------------- files


def _existing(root: Path) -> Path:
    if not root.exists():
        raise UserError(f"{root} does not exist; give the root of a data set or a folder of videos")
    return root


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; bring the data set's own") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as text ({error}); fetch it again") from None


def _folders(root: Path) -> list[Path]:
    found = (
        [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        if root.is_dir()
        else []
    )
    return sorted(found, key=lambda path: natural_key(path.name))


def _is_frame_folder(folder: Path) -> bool:
    return any(e.suffix.lower() in IMAGE_SUFFIXES and not e.name.startswith(".") for e in folder.iterdir())


def _frame_names(images: Path, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """`wanted`, all of which are there, or every frame of the folder."""
    if not images.is_dir():
        raise UserError(f"{images} does not exist; bring the frames of this sequence")
    there = image_files(images)
    if not there:
        raise UserError(f"{images} holds no images; bring the frames of this sequence")
    absent = [name for name in wanted if name not in there]
    if absent:
        raise UserError(
            f"{images} lacks the frame {absent[0]} ({len(absent)} of {len(wanted)} are missing); bring them"
        )
    return wanted or tuple(there)


def _mask_files(masks: Path, names: tuple[str, ...]) -> dict[int, Path]:
    """Frame index -> PNG of that frame's stem."""
    if not masks.is_dir():
        raise UserError(f"{masks} does not exist; bring the masks of this sequence")
    there = image_files(masks)
    return {index: masks / there[name] for index, name in enumerate(names) if name in there}


_READERS: dict[str, Callable[[Path, str], list[Sequence]]] = {
    "davis2016": _davis2016,
    "davis2017": _davis2017,
    "youtubevos": _youtubevos,
    "longvideos": _longvideos,
    "folder": _folder,
}
