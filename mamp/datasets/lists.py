"""What the folders and lists of a data set say: splits, sequence names, frames, masks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mamp.core.errors import UserError, reason
from mamp.core.terminal import clipped
from mamp.core.texts import parse_json, parse_yaml
from mamp.video.folders import IMAGE_SUFFIXES, entries, image_files, natural_key, read_text

# where each data set keeps its lists, the first place that has a list winning; "any" is for one that is not
# known
PLACES = {
    "davis2016": ("ImageSets/480p", "ImageSets/1080p", "ImageSets/2016"),
    "davis2017": ("ImageSets/2017",),
    "longvideos": ("ImageSets/480p", "ImageSets/2017", "ImageSets", "."),
    "any": ("ImageSets/2017", "ImageSets/2016", "ImageSets/480p", "ImageSets/1080p", "ImageSets"),
}
_YEARS = {
    "davis2016": 2016,
    "davis2017": 2017,
    "any": 2017,
}  # of those whose lists db_info.yaml stands in for
_NO_CATEGORY = ("", "unknown")

# split -> sequence -> stems of the frames that the list names, () where it names sequences only
Splits = Mapping[str, dict[str, tuple[str, ...]]]


class _Lists(Mapping[str, dict[str, tuple[str, ...]]]):
    """The lists of a data set by split. State: what was read.

    A list is read when it is asked for, so that a bad one leaves the others alone.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._read: dict[str, dict[str, tuple[str, ...]]] = {}

    def __getitem__(self, split: str) -> dict[str, tuple[str, ...]]:
        if split not in self._read:
            self._read[split] = read_list(self._files[split])
        return self._read[split]

    def __contains__(self, split: object) -> bool:
        return split in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def read_splits(root: Path, name: str) -> Splits:
    """Read the lists *.txt of data set `name` below `root` (see PLACES), or else its db_info.yaml."""
    files: dict[str, Path] = {}
    for place in PLACES[name]:
        for file in sorted((root / place).glob("*.txt")):
            files.setdefault(file.stem, file)
    if not files and name in _YEARS:
        for info in (root / "db_info.yaml", root / "data" / "db_info.yaml"):
            if info.is_file():
                return _read_info(info, _YEARS[name])
    return _Lists(files)


def has_lists(root: Path) -> bool:
    """Whether a root is that of DAVIS, or laid out like it."""
    return (root / "ImageSets").is_dir() or (root / "db_info.yaml").is_file()


def split_folder(root: Path, split: str | None) -> Path | None:
    """The folder of YouTube-VOS in a root that is trained on; None where it is another data set."""
    places = [root / name for name in ((split,) if split else ("train_all_frames", "train"))]
    return next((place for place in places if (place / "JPEGImages").is_dir()), None)


def refuse_empty(split: str | None) -> None:
    """UserError for the name of a split that has no letters."""
    if split is not None and not split.strip():
        raise UserError("the name of the split is empty; give the name of a list (--split val)")


def existing(root: Path, split: str | None) -> Path:
    """`root`; UserError where it is not there, or the name of its split is empty."""
    refuse_empty(split)
    if not root.exists():
        raise UserError(f"{root} does not exist; give the root of a data set or a folder of videos")
    return root


def pick(splits: Splits, split: str, root: Path) -> dict[str, tuple[str, ...]]:
    """The list called `split`; UserError naming those that are there."""
    if split not in splits:
        there = (
            f"it has {', '.join(sorted(splits))}"
            if splits
            else (
                "it has neither lists in ImageSets nor db_info.yaml; give the root of the data set (frames of"
                " your own: data set folder)"
            )
        )
        raise UserError(f"{root} has no split {clipped(split)}; {there}")
    if not splits[split]:
        raise UserError(f"{root} has a split {clipped(split)} whose list is empty; write one sequence a line")
    return splits[split]


def read_list(file: Path) -> dict[str, tuple[str, ...]]:
    """Sequence -> frames of a list: a line is a name, or the paths of a frame and its mask (DAVIS-2016).

    Paths may have backslashes. Of an absolute path, as other machines write it, the part below JPEGImages
    counts; UserError where it has none.
    """
    frames: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.replace("\\", "/").split()
        if not words:
            continue
        first = PurePosixPath(words[0])
        if first.suffix.lower() in IMAGE_SUFFIXES:
            name, known = checked_name(first.parent.name, file), frames.get(first.parent.name, ())
            frames[name] = known if first.stem in known else (*known, first.stem)
        else:
            frames.setdefault(checked_name(_below_images(line.strip(), file, number), file), ())
    return frames


def _below_images(name: str, file: Path, number: int) -> str:
    """The sequence that a line names: itself, or of a path its part below JPEGImages and the resolution."""
    path = name.replace("\\", "/").rstrip("/")
    if path == name:
        path = path.removeprefix("./")
    if not re.match(r"/|[A-Za-z]:/", path):
        return path
    *_, below = re.split(r"/JPEGImages/(?:480p/|1080p/|Full-Resolution/)?", path)
    if below == path or not below:
        raise UserError(
            f"{file} line {number} has {clipped(name)}, a path of some machine, which is no name of a"
            " folder; write the names of the sequences, one a line"
        )
    return below


def checked_name(name: str, file: Path) -> str:
    """`name` if it stays below the folder it is looked for in; masks are written under it, too."""
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{file} names a sequence {name!r}, which is no name of a folder; correct that entry")
    return name


UNSUPERVISED = "Annotations_unsupervised"  # of DAVIS's other task, in which no first mask is given


def refuse_unsupervised(root: Path) -> None:
    """UserError for a root of DAVIS that has masks of the unsupervised task alone."""
    inside = UNSUPERVISED in (root.name, root.parent.name)
    if inside or ((root / UNSUPERVISED).is_dir() and not (root / "Annotations").is_dir()):
        raise UserError(
            f"{root} has {UNSUPERVISED}, the truth of DAVIS's unsupervised task, where no first mask is"
            " given; that task is not served. Bring Annotations of the semi-supervised archive"
        )


def is_frame_folder(folder: Path) -> bool:
    """Whether images lie in it."""
    return any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries(folder))


def resolution(folder: Path) -> Path:
    """Return where a DAVIS folder's sequences are: 480p, else another resolution, else the folder itself."""
    for name in ("480p", "Full-Resolution", "1080p"):
        if (folder / name).is_dir():
            return folder / name
    return folder


def frame_names(images: Path, wanted: tuple[str, ...] = ()) -> tuple[str, ...]:
    """`wanted`, all of which are in the folder, or every frame of the folder."""
    if not images.is_dir():
        raise UserError(f"{images} does not exist; bring the frames of this sequence")
    there = image_files(images)
    if not there:
        raise UserError(f"{images} holds no images; bring the frames of this sequence")
    absent = [name for name in wanted if name not in there]
    if absent:
        raise UserError(
            f"{images} lacks frame {absent[0]} ({len(absent)} of {len(wanted)} are missing); bring them"
        )
    return wanted or tuple(there)


def mask_files(masks: Path, names: tuple[str, ...]) -> dict[int, Path]:
    """Frame index -> mask of that frame's stem; UserError when there is none at all."""
    if not masks.is_dir():
        for root in list(masks.parents)[:3]:
            refuse_unsupervised(root)
        raise UserError(f"{masks} does not exist; bring the masks of this sequence")
    there = image_files(masks)
    files = {index: masks / there[name] for index, name in enumerate(names) if name in there}
    if not files:
        raise UserError(
            f"{masks} holds no mask named like a frame ({names[0]}.png, ...); bring at least the first"
        )
    return files


def _read_info(file: Path, year: int) -> Splits:
    """db_info.yaml: entries with name, set and year; the sets of a year hold those of the years before."""
    try:
        values = parse_yaml(read_text(file))
        splits: dict[str, dict[str, tuple[str, ...]]] = {}
        for entry in values["sequences"] if isinstance(values, Mapping) else values:
            years = entry.get("years", entry.get("year", year))
            if any(int(y) <= year for y in (years if isinstance(years, list) else [years])):
                splits.setdefault(str(entry["set"]), {})[checked_name(str(entry["name"]), file)] = ()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{file} is not DAVIS's list of sequences ({reason(error)}); fetch it again"
        ) from None
    return splits


# ---------------------------------------------------------------- YouTube-VOS


@dataclass(frozen=True)
class Listed:
    """What meta.json has of an object: its frames, in natural order, and its category, "" if not known."""

    frames: tuple[str, ...]
    category: str


def read_meta(file: Path) -> dict[str, dict[int, Listed]]:
    """Video -> object id -> what a meta.json of YouTube-VOS says of it; UserError when the file is none."""
    try:
        return {
            plain_name(video, file): {int(number): _listed(o, file) for number, o in value["objects"].items()}
            for video, value in parse_json(read_text(file))["videos"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file} is not a meta.json of YouTube-VOS ({reason(error)}); fetch it again"
        ) from None


def listed_frames(objects: Mapping[int, Listed]) -> tuple[str, ...]:
    """The frames that list any of the objects, in natural order."""
    return tuple(sorted({name for listed in objects.values() for name in listed.frames}, key=natural_key))


def categories(objects: Mapping[int, Listed]) -> dict[int, str]:
    """Object id -> category, of those whose category is known."""
    return {number: listed.category for number, listed in objects.items() if listed.category}


@dataclass(frozen=True)
class Holdout:
    """Videos of YouTube-VOS train that no training sees. seen: the categories that training does see."""

    file: Path
    videos: tuple[str, ...]
    seen: frozenset[str]


def is_holdout(split: str) -> bool:
    """Whether the name of a split is that of a hold-out's file."""
    return split.endswith(".json")


def read_holdout(file: Path) -> Holdout:
    """The list that `mamp data holdout` wrote; UserError when the file is none."""
    try:
        values = parse_json(read_text(file))
        names = [plain_name(str(name), file) for group in values["videos"].values() for name in group]
        seen = frozenset(map(str, values["categories"]["seen"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{file} is not a list of `mamp data holdout`; name one") from None
    return Holdout(file, tuple(sorted(names)), seen)


def read_names(file: Path) -> frozenset[str]:
    """The videos that a hold-out names, or a text with one name a line."""
    return frozenset(read_holdout(file).videos if is_holdout(file.name) else read_list(file))


def _listed(entry: Mapping[str, Any], file: Path) -> Listed:
    frames = sorted((plain_name(str(name), file) for name in entry["frames"]), key=natural_key)
    category = str(entry.get("category", "")).strip()
    return Listed(tuple(frames), "" if category.lower() in _NO_CATEGORY else category)


def plain_name(name: str, file: Path) -> str:
    """`name` if it is that of a file or folder and no path; UserError naming the `file` that has it."""
    if name == ".." or not name or Path(name).name != name:
        raise UserError(f"{file} names {name!r}, which is no name of a folder or a frame; correct that entry")
    return name
