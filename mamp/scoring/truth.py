"""Where the truth of a set lies: a folder of mask folders, or a data set's root as its authors pack it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mamp.core.errors import UserError, first_ten
from mamp.core.terminal import clipped
from mamp.datasets.lists import (
    PLACES,
    Listed,
    categories,
    is_holdout,
    listed_frames,
    pick,
    read_holdout,
    read_meta,
    read_splits,
    refuse_empty,
    refuse_unsupervised,
    resolution,
)
from mamp.scoring.metrics import labels_in
from mamp.scoring.protocols import get_protocol
from mamp.video.folders import entries, image_files, read_text, subfolders
from mamp.video.masks import read_mask


@dataclass(frozen=True)
class Video:
    """The truth of one video.

    masks: frame name -> PNG, in the frames' order. frames: the names of all frames that need masks, () where
    only those of `masks` do. first: object id -> name of the frame it is given in, empty where the masks show
    it. categories: object id -> category, as far as known.
    """

    name: str
    masks: Mapping[str, Path]
    frames: tuple[str, ...] = ()
    first: Mapping[int, str] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)

    def has_truth(self, protocol: str) -> bool:
        """Whether any frame can be scored: there is more truth than what is given."""
        given = set(self.first.values())
        if given:
            return not set(self.masks) <= given
        return len(self.masks) > (2 if get_protocol(protocol).drops_last else 1)


@dataclass(frozen=True)
class Truth:
    """The truth of a set. why: how the protocol was found, "" if given. home: the data set's root, if any."""

    protocol: str
    why: str
    split: str | None
    videos: tuple[Video, ...]
    home: Path | None


def guess_protocol(truth: Path | str, *, split: str | None = None) -> str:
    """The protocol that the files below `truth` call for; see `open_truth`."""
    return open_truth(truth, split=split).protocol


def open_truth(path: Path | str, *, protocol: str | None = None, split: str | None = None) -> Truth:
    """The truth below `path`: a folder of folders of PNGs, one such folder, or a data set's root.

    split: a list in ImageSets, a folder of YouTube-VOS or a hold-out's file; by default val, and everything
    where there are no lists.
    protocol: by default youtubevos where meta.json or a folder valid/Annotations is, davis2017 or davis2016
    by the lists in ImageSets, longvideos where frames outnumber truth; in a plain folder davis2017 (davis2016
    for masks of 0 and 255) where frames are numbered one by one and show objects 1 to K from the first on,
    else folder.

    Raises UserError naming the path or the splits that are there.
    """
    refuse_empty(split)
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"truth {root} is not a folder; give a folder of mask folders or a data set's root")
    if protocol is not None:
        get_protocol(protocol)
    held = split is not None and is_holdout(split)
    youtube = _youtube_folder(root, "train" if held else split) if protocol in (None, "youtubevos") else None
    if held and youtube is None:
        raise UserError(
            f"{split} is held out of YouTube-VOS train, and {root} has no train/Annotations; give the root of"
            " YouTube-VOS"
        )
    if youtube is not None:
        home = youtube if youtube == root else youtube.parent
        why = f"{youtube} is laid out as YouTube-VOS is" if protocol is None else ""
        return Truth(
            "youtubevos", why, split if held else youtube.name, _youtube_videos(youtube, split), home
        )
    return _open_folders(root, protocol, split)


# ---------------------------------------------------------------- DAVIS, Long Videos, plain folders


def _open_folders(root: Path, protocol: str | None, split: str | None) -> Truth:
    refuse_unsupervised(root)
    home, masks = _home(root)
    why = ""
    if protocol is None and home is not None:
        protocol, why = _by_lists(home)
    names = None
    if home is not None and (masks != root or split is not None):
        names, split = _names(home, protocol, split)
    elif split is not None:
        raise UserError(
            f"{root} has no lists, so --split {clipped(split)} means nothing; leave it out or give"
            " a data set's root"
        )
    images = None if home is None else resolution(home / "JPEGImages")
    if names is None:
        videos = _all_videos(masks, images)
    else:
        videos = tuple(_video(masks / name, images) for name in names)
    if not videos:
        raise UserError(
            f"truth {masks} holds no folder with PNG masks; give a folder of mask folders or a data set's"
            " root"
        )
    if protocol is None:
        protocol, why = _by_masks(videos)
    return Truth(protocol, why, split, videos, home)


def _home(root: Path) -> tuple[Path | None, Path]:
    """(the data set's root or None, the folder of mask folders)."""
    if (root / "Annotations").is_dir():
        return root, resolution(root / "Annotations")
    for above in (root.parent, root.parent.parent):
        if (above / "ImageSets").is_dir() and "Annotations" in (root.name, root.parent.name):
            return above, root
    return None, root


def _by_lists(home: Path) -> tuple[str | None, str]:
    for protocol in ("davis2017", "davis2016"):
        for place in PLACES[protocol]:
            if any((home / place).glob("*.txt")):
                return protocol, f"{home / place} is there"
    return None, ""


def _names(home: Path, protocol: str | None, split: str | None) -> tuple[list[str] | None, str | None]:
    """(the sequences of a split, the split); None where the set has no lists and all are meant."""
    splits = read_splits(home, protocol if protocol in PLACES else "any")
    everything = not splits or (protocol == "longvideos" and "val" not in splits)
    if split is None and everything:
        return None, None
    wanted = split or "val"
    return list(pick(splits, wanted, home)), wanted


def _all_videos(masks: Path, images: Path | None) -> tuple[Video, ...]:
    videos = tuple(_video(folder, images) for folder in subfolders(masks) if png_files(folder))
    return videos or ((_video(masks, None),) if png_files(masks) else ())


def _video(masks: Path, images: Path | None) -> Video:
    files = png_files(masks)
    if not files:
        raise UserError(
            f"truth {masks} holds no PNG masks; bring those of this sequence, or choose another --split"
        )
    frames = None if images is None else images / masks.name
    names = image_files(frames) if frames is not None and frames.is_dir() else {}
    return Video(masks.name, files, tuple(names or files))


def _by_masks(videos: Iterable[Video]) -> tuple[str, str]:
    """The protocol that masks without a data set around them call for, and why."""
    videos = tuple(videos)
    if any(1 < len(video.masks) < len(video.frames) for video in videos):
        return "longvideos", "there are more frames than masks of the truth"
    merged = True
    for video in videos:
        names = list(video.masks)
        numbers = [int(name) if name.isdecimal() else -1 for name in names]
        if numbers != list(range(numbers[0], numbers[0] + len(names))):
            return "folder", f"the truth of {video.name} is not of frames numbered one by one"
        first, last = (labels_in(read_mask(video.masks[name])) for name in (names[0], names[-1]))
        if first != list(range(1, len(first) + 1)) or not first or not set(last) <= {*first, 255}:
            return "folder", f"the objects of {video.name} are not numbered from 1 in the first frame's truth"
        merged &= first == [1] and not labels_in(read_mask(video.masks[names[0]], void=True))
    if merged:
        return "davis2016", "the masks of the truth hold 0 and 255"
    return "davis2017", "the truth shows objects from 1 on in every frame"


# ---------------------------------------------------------------- YouTube-VOS


def _youtube_folder(root: Path, split: str | None) -> Path | None:
    """The split's folder: ROOT/SPLIT with Annotations, or, with meta.json there, ROOT or the one above."""
    names = {None: ("valid",), "val": ("val", "valid")}.get(split, (split,))
    for name in names:
        if name is not None and (root / name / "Annotations").is_dir():
            return root / name
    folder = root.parent if root.name == "Annotations" else root
    found = (folder / "meta.json").is_file() and (folder / "Annotations").is_dir()
    return folder if found and split in (None, *names, folder.name) else None


def _youtube_videos(folder: Path, split: str | None) -> tuple[Video, ...]:
    """The videos of a split's folder, or those of a hold-out among them."""
    meta = folder / "meta.json"
    if not meta.is_file():
        videos = _all_videos(folder / "Annotations", folder / "JPEGImages")
    else:
        videos = tuple(_youtube_video(folder, name, objects) for name, objects in read_meta(meta).items())
    if split is None or not is_holdout(split):
        return videos
    held = read_holdout(Path(split))
    found = tuple(video for video in videos if video.name in held.videos)
    if len(found) < len(held.videos):
        raise UserError(
            f"{folder} has {len(found)} of the {len(held.videos)} videos that {split} holds out; bring all of"
            " train"
        )
    return found


def _youtube_video(folder: Path, name: str, objects: Mapping[int, Listed]) -> Video:
    return Video(
        name=name,
        masks=png_files(folder / "Annotations" / name),
        frames=listed_frames(objects),
        first={number: listed.frames[0] for number, listed in sorted(objects.items()) if listed.frames},
        categories=categories(objects),
    )


def seen_categories(home: Path | None, file: Path | None) -> tuple[set[str], Path] | None:
    """Categories of the training set, and the file that lists them; None where there is none.

    file: names, one a line, a meta.json or a hold-out; by default train/meta.json.
    """
    if file is None:
        places = [] if home is None else [home / "train" / "meta.json", home.parent / "train" / "meta.json"]
        file = next((place for place in places if place.is_file()), None)
        if file is None:
            return None
    text = read_text(file)
    if '"holdout"' in text[:100]:
        return set(read_holdout(file).seen), file
    if text.lstrip().startswith("{"):
        return {
            category for objects in read_meta(file).values() for category in categories(objects).values()
        }, file
    return {line.strip() for line in text.splitlines() if line.strip()}, file


def in_place_of(missing: Sequence[str], folder: Path) -> str:
    """What to say of files that lie where masks of these names should: nothing where there are none."""
    stems = set(missing)
    others = [e.name for e in entries(folder) if e.stem in stems and e.suffix.lower() != ".png"]
    if not others:
        return ""
    return f" (in their place: {first_ten(others)}; masks are PNGs, as JPEG blurs labels)"


def png_files(folder: Path) -> dict[str, Path]:
    """Stem -> PNG of a folder, in natural order; nothing where there is no such folder.

    Raises UserError for two files of one stem, as 00000.png and 00000.PNG.
    """
    files: dict[str, Path] = {}
    for file in entries(folder) if folder.is_dir() else []:
        if file.suffix.lower() == ".png":
            if file.stem in files:
                raise UserError(f"{folder} holds both {files[file.stem].name} and {file.name}; keep one")
            files[file.stem] = file
    return files
