"""Data sets as their authors pack them, as sequences: frames, given masks, truth."""

from __future__ import annotations

import collections.abc
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mamp import config
from mamp.core.errors import UserError
from mamp.core.terminal import clipped
from mamp.datasets.lists import (
    Listed,
    categories,
    existing,
    frame_names,
    has_lists,
    is_frame_folder,
    is_holdout,
    listed_frames,
    mask_files,
    pick,
    read_holdout,
    read_list,
    read_meta,
    read_splits,
    resolution,
    split_folder,
)
from mamp.video.folders import IMAGE_SUFFIXES, entries, subfolders
from mamp.video.frames import VIDEO_SUFFIXES, FrameSource, open_frames
from mamp.video.masks import object_ids, read_mask
from mamp.video.packed import check_packed

DAVIS_FPS = 24.0
YOUTUBE_FPS = 30.0
YOUTUBE_LISTED_FPS = 6.0  # every fifth frame is listed

Labels = Literal["none", "first", "sparse", "all"]


@dataclass(frozen=True)
class Sequence:
    """One video of a data set.

    name: how results are filed. source: a folder of images or a video file.
    frame_names: stems of the frames to read, in order; () is everything.
    fps: frames a second; None when not known here (an open video file may know its own).
    given: frame index -> file with the masks a segmenter is given at that frame.
    truth: frame index -> file with the truth, the first one included; empty where there is none.
    labels: no masks, those of first frames only, truth of some frames, or of all.
    first_frame: object id -> index of its first frame, for YouTube-VOS and plain folders; what is given at a
    frame there is the objects that begin at it.
    categories: object id -> category, as far as YouTube-VOS has it.
    one_object: every id is object 1 (DAVIS-2016). void: 255 is background (DAVIS-2017, Long Videos).
    root: which of data.root it lies in.
    """

    name: str
    source: Path
    frame_names: tuple[str, ...] = ()
    fps: float | None = None
    given: Mapping[int, Path] = field(default_factory=dict)
    truth: Mapping[int, Path] = field(default_factory=dict)
    labels: Labels = "none"
    first_frame: Mapping[int, int] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)
    one_object: bool = False
    void: bool = False
    root: int = 0

    def open(self, *, bad_frame: str = "error", at_least: int | None = None) -> FrameSource:
        """The frames; see `open_frames`."""
        return open_frames(
            self.source, bad_frame=bad_frame, names=self.frame_names or None, at_least=at_least
        )

    def read_given(self, index: int) -> np.ndarray:
        """Return the label map (H, W) given at frame `index`; the first may be empty."""
        labels = self._read(self.given[index])
        if self.first_frame:
            begins = [number for number, first in self.first_frame.items() if first == index]
            labels = np.where(np.isin(labels, begins), labels, 0).astype(labels.dtype)
        return labels

    def read_truth(self, index: int) -> np.ndarray:
        """True label map (H, W) of frame `index`."""
        return self._read(self.truth[index])

    def _read(self, path: Path) -> np.ndarray:
        labels = read_mask(path, void=self.void)
        return (labels > 0).astype(np.uint8) if self.one_object else labels


def open_dataset(
    name: str, root: Path | str, split: str = "val", *, bad_frame: str = "error"
) -> list[Sequence]:
    """The sequences of a split: `davis2016`, `davis2017`, `youtubevos`, `longvideos` or `folder`.

    root: the data set's root as its authors pack it. split: a list in ImageSets, or a folder of YouTube-VOS
    (`val` is its valid) or the file of a hold-out; for `folder` the names in SPLIT.txt, or everything where
    there is no such list.
    bad_frame: how video files of a `folder` are looked into; a file that is cut short is an `error`, or read
    as far as it goes.

    Raises UserError naming the path that is missing, or the splits that are there.
    """
    if name not in (*_READERS, "folder"):
        raise UserError(f"data set {name} is not known; use one of {', '.join(_READERS)}, folder")
    if name == "folder":
        sequences = _folder(existing(Path(root), split), split, bad_frame)
    else:
        sequences = _READERS[name](existing(Path(root), split), split)
    if not sequences:
        raise UserError(
            f"{root} holds no sequences of split {clipped(split)}; give the root of a {name} data set"
        )
    return sequences


def training_sequences(
    roots: collections.abc.Sequence[config.Root], *, masks: bool = False
) -> list[Sequence]:
    """Return the sequences of all roots, with names that are unique; with `masks`, their labelled frames.

    A root is a DAVIS root (its train list), a YouTube-VOS root (train_all_frames, else train), a folder with
    JPEGImages/ (the names in train.txt, else all), a folder of frame folders or video files, or one of these.
    `split` of a root chooses another list, `fps` another rate.

    Raises UserError for a root that is missing or holds no video, and for a video without the masks asked
    for.
    """
    found: list[Sequence] = []
    taken: set[str] = set()
    for number, root in enumerate(roots):
        sequences = _unlabelled(existing(root.path, root.split), root.split)
        if not sequences:
            raise UserError(
                f"{root.path} holds no frames or video files; give a data set's root or a folder of videos"
            )
        for sequence in sequences:
            name = _unused(sequence.name, root.path.resolve().name, taken)
            taken.add(name)
            changed = dataclasses.replace(sequence, name=name, fps=root.fps or sequence.fps, root=number)
            found.append(_with_truth(changed) if masks else changed)
    return found


# ---------------------------------------------------------------- DAVIS and Long Videos


def _davis2016(root: Path, split: str) -> list[Sequence]:
    splits = read_splits(root, "davis2016")
    return _listed_masks(root, pick(splits, split, root), fps=DAVIS_FPS, one_object=True, void=False)


def _davis2017(root: Path, split: str) -> list[Sequence]:
    splits = read_splits(root, "davis2017")
    return _listed_masks(root, pick(splits, split, root), fps=DAVIS_FPS, one_object=False, void=True)


def _longvideos(root: Path, split: str) -> list[Sequence]:
    splits = read_splits(root, "longvideos")
    if split == "val" and split not in splits:
        splits = {"val": {folder.name: () for folder in subfolders(resolution(root / "JPEGImages"))}}
    return _listed_masks(root, pick(splits, split, root), fps=None, one_object=False, void=True)


def _listed_masks(
    root: Path, chosen: Mapping[str, tuple[str, ...]], *, fps: float | None, one_object: bool, void: bool
) -> list[Sequence]:
    """Sequences whose first mask is given and whose other masks, if any, are truth."""
    frames = resolution(root / "JPEGImages")
    annotations = root / "Annotations" / frames.relative_to(root / "JPEGImages")
    found = []
    for name, listed in chosen.items():
        names = frame_names(frames / name, listed)
        files = mask_files(annotations / name, names)
        labels = _extent(files, len(names))
        found.append(
            Sequence(
                name=name,
                source=frames / name,
                frame_names=names,
                fps=fps,
                given={min(files): files[min(files)]},
                truth={} if labels == "first" else files,
                labels=labels,
                one_object=one_object,
                void=void,
            )
        )
    return found


def _extent(files: Mapping[int, Path], count: int) -> Labels:
    """What masks of these frames make of a sequence of `count` frames."""
    if len(files) == 1:
        return "first"
    return "all" if len(files) == count - min(files) else "sparse"


# ---------------------------------------------------------------- YouTube-VOS


def _youtubevos(root: Path, split: str) -> list[Sequence]:
    held = read_holdout(Path(split)) if is_holdout(split) else None
    base = _youtube_split(root, "train" if held else split)
    labelled = base
    if not (base / "Annotations").is_dir():
        labelled = base.with_name(base.name.removesuffix("_all_frames"))
    meta = base / "meta.json" if (base / "meta.json").is_file() else labelled / "meta.json"
    videos = read_meta(meta)
    absent = [name for name in held.videos if name not in videos] if held else []
    if held and absent:
        raise UserError(
            f"{meta} lacks {absent[0]}, which {held.file} holds out ({len(absent)} of {len(held.videos)});"
            " bring the train folder it was cut from"
        )
    return [
        _youtube_sequence(base, labelled / "Annotations" / name, videos[name], meta=meta)
        for name in (held.videos if held else videos)
    ]


def _youtube_split(root: Path, split: str) -> Path:
    """ROOT/SPLIT, or ROOT itself when it is the split's own folder; `val` is called valid."""
    name = "valid" if split == "val" and not (root / "val").is_dir() else split
    if (root / name / "JPEGImages").is_dir():
        return root / name
    if (root / "JPEGImages").is_dir() and (split == "val" or root.name == name):
        return root
    there = ", ".join(folder.name for folder in subfolders(root) if (folder / "JPEGImages").is_dir())
    raise UserError(
        f"{root} has no split {clipped(name)} (a folder {name}/JPEGImages); it has {there or 'none'}"
    )


def _youtube_sequence(base: Path, masks: Path, objects: Mapping[int, Listed], *, meta: Path) -> Sequence:
    """The frames that list an object; all of an all-frames variant. An object is given where it begins."""
    listed = listed_frames(objects)
    if not listed:
        raise UserError(f"{meta} lists no frames of {masks.name}; fetch it again")
    images = base / "JPEGImages" / masks.name
    all_frames = base.name.endswith("_all_frames")
    names = frame_names(images, () if all_frames else listed)
    index = {name: i for i, name in enumerate(names)}
    begins = {number: o.frames[0] for number, o in sorted(objects.items()) if o.frames}
    files = mask_files(masks, names)
    for number, frame in begins.items():
        if frame not in index:
            raise UserError(f"{images} lacks frame {frame}, where object {number} begins; bring it")
        if index[frame] not in files:
            raise UserError(f"{masks / frame}.png is missing, where object {number} begins; bring it")
    first_frame = {number: index[frame] for number, frame in begins.items()}
    given = {i: files[i] for i in sorted(set(first_frame.values()))}
    labels: Labels = "first" if set(files) == set(given) else _extent(files, len(names))
    return Sequence(
        name=masks.name,
        source=images,
        frame_names=names,
        fps=YOUTUBE_FPS if all_frames else YOUTUBE_LISTED_FPS,
        given=given,
        truth={} if labels == "first" else files,
        labels=labels,
        first_frame=first_frame,
        categories=categories(objects),
    )


# ---------------------------------------------------------------- plain folders


def _folder(root: Path, split: str, bad_frame: str) -> list[Sequence]:
    if (root / "valid_demo" / "JPEGImages").is_dir():
        root = root / "valid_demo"
    sources = _listed(root, split) or video_sources(root)
    by_name: dict[str, Path] = {}
    for source in sources:
        other = by_name.setdefault(_name(source), source)
        if other is not source:
            raise UserError(
                f"{root} holds {other.name} and {source.name}, whose masks would both be called"
                f" {_name(source)}; rename one"
            )
    return [_from_first_mask(source, bad_frame) for source in sources]


def _from_first_mask(source: Path, bad_frame: str) -> Sequence:
    """A video from its first mask on.

    A mask gives the objects that no mask before it shows; it is truth too, unless new objects are all it
    shows.
    """
    masks = masks_beside(source)
    names = frame_names(source) if source.is_dir() else tuple(open_frames(source, bad_frame=bad_frame).names)
    files = {0: masks} if masks.is_file() else mask_files(masks, names)
    start = min(files)
    first_frame: dict[int, int] = {}
    truth: dict[int, Path] = {}
    for index, file in files.items():
        ids = object_ids(read_mask(file))
        if index == start or not ids or any(number in first_frame for number in ids):
            truth[index - start] = file
        for number in ids:
            first_frame.setdefault(number, index - start)
    labels = _extent(truth, len(names) - start)
    return Sequence(
        name=_name(source),
        source=source,
        frame_names=names[start:],
        given={index: files[start + index] for index in sorted({0, *first_frame.values()})},
        truth={} if labels == "first" else truth,
        labels=labels,
        first_frame=first_frame,
    )


def masks_beside(source: Path) -> Path:
    """Return where a video's masks are: Annotations/NAME beside it or JPEGImages, in it, or NAME.png."""
    name = _name(source)
    images = next((parent for parent in source.parents if parent.name == "JPEGImages"), source.parent)
    beside = images.parent if images.name == "JPEGImages" else images
    places = [
        beside / "Annotations" / source.parent.relative_to(images) / name,
        source.parent / f"{name}.png",
    ]
    if source.is_dir():
        places.append(source / "Annotations")
    return next((place for place in places if place.exists()), places[0])


def video_sources(root: Path) -> list[Path]:
    """The videos of a folder: JPEGImages/NAME, or frame folders and files, or itself if images prevail."""
    if root.is_file():
        return [root]
    if (root / "JPEGImages").is_dir():
        root = resolution(root / "JPEGImages")
    there = entries(root)
    videos = [
        entry
        for entry in there
        if (entry.is_dir() and entry.name != "Annotations" and is_frame_folder(entry))
        or (entry.is_file() and entry.suffix.lower() in VIDEO_SUFFIXES)
    ]
    names = {_name(video) for video in videos}  # NAME.png beside a video is its mask
    images = [e for e in there if e.suffix.lower() in IMAGE_SUFFIXES and e.is_file() and e.stem not in names]
    return [root] if len(images) > len(videos) else videos


def _name(source: Path) -> str:
    return source.name if source.is_dir() else source.stem


def _listed(root: Path, split: str) -> list[Path]:
    """The videos that ROOT/SPLIT.txt names; nothing when a usual split has no such list."""
    file = root / f"{split}.txt"
    if not file.is_file():
        if root.is_file() or split in ("train", "val", "all"):
            return []
        there = ", ".join(list_file.stem for list_file in sorted(root.glob("*.txt"))) or "none"
        raise UserError(f"{root} has no split {clipped(split)} (a list {split}.txt); it has {there}")
    by_name = {_name(path): path for path in video_sources(root)}
    names = list(read_list(file))
    absent = [name for name in names if name not in by_name]
    if absent:
        raise UserError(
            f"{file} names {absent[0]}, which is not there ({len(absent)} of {len(names)}); bring it"
        )
    return [by_name[name] for name in names]


# ---------------------------------------------------------------- training


def _unlabelled(root: Path, split: str | None) -> list[Sequence]:
    check_packed(root)
    if has_lists(root):
        chosen = pick(read_splits(root, "any"), split or "train", root)
        images = resolution(root / "JPEGImages")
        return [_plain(images / name, DAVIS_FPS, frames) for name, frames in chosen.items()]
    if (place := split_folder(root, split)) is not None:
        root, split = place, None
    fps = None
    if root.name.endswith("_all_frames"):
        fps = YOUTUBE_FPS
    elif (root / "meta.json").is_file():
        fps = YOUTUBE_LISTED_FPS
    return [_plain(source, fps) for source in _listed(root, split or "train") or video_sources(root)]


def _with_truth(sequence: Sequence) -> Sequence:
    """The frames that have masks, with them; those of all-frames variants lie in the plain split."""
    if sequence.source.is_file():
        raise UserError(
            f"{sequence.source} is a video file, and this method learns from masks; give frame folders with"
            " Annotations"
        )
    place = masks_beside(sequence.source)
    if not place.is_dir() and "_all_frames" in str(place):
        place = Path(str(place).replace("_all_frames", ""))
    names = sequence.frame_names
    files = mask_files(place, names)
    return dataclasses.replace(
        sequence,
        frame_names=tuple(names[index] for index in files),
        truth=dict(enumerate(files.values())),
        labels="all",
    )


def _plain(source: Path, fps: float | None, frames: tuple[str, ...] = ()) -> Sequence:
    if source.is_file():
        return Sequence(name=source.stem, source=source)
    return Sequence(name=source.name, source=source, frame_names=frame_names(source, frames), fps=fps)


def _unused(name: str, root: str, taken: set[str]) -> str:
    """`name`, or with the root's name before it, or with a number besides."""
    candidate, number = name, 1
    while candidate in taken:
        candidate = f"{root}/{name}" if number == 1 else f"{root}-{number}/{name}"
        number += 1
    return candidate


_READERS: dict[str, Callable[[Path, str], list[Sequence]]] = {
    "davis2016": _davis2016,
    "davis2017": _davis2017,
    "youtubevos": _youtubevos,
    "longvideos": _longvideos,
}
