"""What the folders and lists of a data set say: splits, sequence names, frames, masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from mamp.data.frames import IMAGE_SUFFIXES, image_files, natural_key
from mamp.errors import UserError

# split -> sequence -> stems of the frames that the list names, () where it names sequences only
Splits = dict[str, dict[str, tuple[str, ...]]]


def read_splits(root: Path, places: Iterable[str], *, year: int | None = None) -> Splits:
    """The lists *.txt in `places` below `root`, earlier ones winning; where none is, db_info.yaml up to `year`."""
    splits: Splits = {}
    for place in places:
        for file in sorted((root / place).glob("*.txt")):
            if file.stem not in splits:
                splits[file.stem] = read_list(file)
    if not splits and year is not None:
        for info in (root / "db_info.yaml", root / "data" / "db_info.yaml"):
            if info.is_file():
                return _read_info(info, year)
    return splits


def pick(splits: Splits, split: str, root: Path) -> dict[str, tuple[str, ...]]:
    """The list called `split`; UserError naming those that are there."""
    if split not in splits:
        there = (
            f"it has {', '.join(sorted(splits))}"
            if splits
            else "it has neither lists in ImageSets nor db_info.yaml"
        )
        raise UserError(f"{root} has no split {split}; {there}")
    return splits[split]


def read_list(file: Path) -> dict[str, tuple[str, ...]]:
    """Sequence -> frames of a list: a line is a name, or the paths of a frame and its mask (DAVIS-2016)."""
    frames: dict[str, tuple[str, ...]] = {}
    for line in read_text(file).splitlines():
        first = Path(line.split()[0]) if line.split() else None
        if first is None:
            continue
        if first.suffix.lower() in IMAGE_SUFFIXES:
            name = checked_name(first.parent.name, file)
            frames[name] = (*frames.get(name, ()), first.stem)
        else:
            frames[checked_name(line.strip(), file)] = ()
    return frames


def checked_name(name: str, file: Path) -> str:
    """`name` if it stays below the folder it is looked for in; masks are written under it, too."""
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{file} names a sequence {name!r}, which is no name of a folder; mend that entry")
    return name


def read_text(file: Path) -> str:
    """The text of a file, UTF-8; UserError when there is none."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; fetch the data set again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as text ({error}); fetch it again") from None


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order, without hidden files."""
    try:
        found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"{folder} cannot be listed ({error.strerror}); give a folder that can be read"
        ) from None
    return sorted(found, key=lambda path: natural_key(path.name))


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, in natural order; none where it does not exist."""
    return [entry for entry in entries(folder) if entry.is_dir()] if folder.is_dir() else []


def is_frame_folder(folder: Path) -> bool:
    """Whether images lie in it."""
    return any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries(folder))


def resolution(folder: Path) -> Path:
    """Where the sequences of a DAVIS folder are: 480p if it is there, else another resolution, else the folder."""
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
        values = yaml.safe_load(read_text(file))
        splits: Splits = {}
        for entry in values["sequences"] if isinstance(values, Mapping) else values:
            years = entry.get("years", entry.get("year", year))
            if any(int(y) <= year for y in (years if isinstance(years, list) else [years])):
                splits.setdefault(str(entry["set"]), {})[checked_name(str(entry["name"]), file)] = ()
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file} is not DAVIS's list of sequences ({reason}); fetch it again") from None
    return splits
