"""Write the zip that a benchmark's server takes, of masks that were checked before."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError, first_ten, plural
from mamp.core.files import make_folder, whole
from mamp.core.texts import read_json
from mamp.scoring.folders import mask_folders
from mamp.scoring.metrics import labels_in
from mamp.scoring.protocols import VOID, get_protocol, size, unknown_label
from mamp.scoring.truth import Video, in_place_of, open_truth, png_files
from mamp.video.folders import subfolders
from mamp.video.masks import read_mask, read_palette_mask

SERVERS = {"davis": "", "youtubevos": "Annotations/"}  # server -> what its zip has before SEQUENCE/FRAME.png
_PARTS = ("masks", "Annotations")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold: the same masks give the same bytes


@dataclass(frozen=True)
class Export:
    """A zip that was written: how many sequences and masks it holds, and what was left out."""

    path: Path
    sequences: int
    masks: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Wanted:
    """What the server expects of one sequence; size and ids are None where they are not known."""

    name: str
    frames: tuple[str, ...]
    size: tuple[int, int] | None
    ids: frozenset[int] | None


def export(
    server: str,
    folder: Path | str,
    out: Path | str,
    *,
    root: Path | str | None = None,
    split: str | None = None,
) -> Export:
    """Write a zip for a benchmark's server: SEQ/FRAME.png (davis) or Annotations/SEQ/FRAME.png (youtubevos).

    folder: an evaluation's folder, or one with a folder of PNGs for each sequence. root, split: the data set,
    which has sequences, frames, sizes and objects. Without it every sequence is compared with its first mask,
    and an evaluation's folder with its run.json. Masks that the server does not ask for are left out and
    listed. The same masks give the same bytes.

    Raises UserError that lists everything that is wrong: missing sequences and frames, names, sizes, ids,
    files that are no PNGs with the DAVIS palette. Nothing is written then.
    """
    folder, out = Path(folder), Path(out)
    _refuse_at_once(server, folder, out)
    wanted = [] if root is None else list(_of_the_set(server, Path(root), split))
    place = mask_folders(folder, [w.name for w in wanted] or _folders_in(folder))
    problems = list(_unfinished(folder))
    if root is None:
        wanted = list(_of_themselves(server, place))
        problems += _misnamed(server, wanted, place)
    problems += [f"{w.name}: {problem}" for w in wanted for problem in _check(place / w.name, w)]
    if not wanted:
        problems.append("there is no folder with PNG masks")
    if problems:
        raise UserError(
            f"{folder} cannot go to the server as it is, in {plural(len(problems), 'place')}; "
            "correct what is listed and export again:\n" + "\n".join(f"  {problem}" for problem in problems)
        )
    there = {w.name: png_files(place / w.name) for w in wanted}
    files = [(f"{w.name}/{frame}.png", there[w.name][frame]) for w in wanted for frame in w.frames]
    _write(out, [(f"{SERVERS[server]}{name}", file) for name, file in files])
    return Export(out, len(wanted), sum(len(w.frames) for w in wanted), tuple(_left_out(place, wanted)))


def _refuse_at_once(server: str, folder: Path, out: Path) -> None:
    """UserError for what can be seen without looking at masks."""
    if server not in SERVERS:
        raise UserError(f"server {server} is not known; use one of {', '.join(SERVERS)}")
    if out.suffix.lower() != ".zip":
        raise UserError(f"{out} is not a .zip; name it so")
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder; give an evaluation's folder or one with a folder of PNGs a sequence"
        )


def _folders_in(folder: Path) -> list[str]:
    """Names of the folders that hold masks, wherever an evaluation or a zip keeps them."""
    places = (folder, *(folder / part for part in _PARTS))
    return [sub.name for place in places if place.is_dir() for sub in subfolders(place) if png_files(sub)]


# ---------------------------------------------------------------- what is wanted


def _of_the_set(server: str, root: Path, split: str | None) -> Iterator[_Wanted]:
    truth = open_truth(root, protocol="youtubevos" if server == "youtubevos" else None, split=split)
    if not truth.protocol.startswith(server):
        raise UserError(
            f"{root} is a root of {truth.protocol}, not of {server}; give the data set's root (--root)"
        )
    rules = get_protocol(truth.protocol)
    for video in truth.videos:
        first = read_mask(_first(video), void=rules.void)
        if rules.objects == "late":
            ids = frozenset(video.first) or frozenset(
                k for p in video.masks.values() for k in labels_in(read_mask(p))
            )
        else:
            ids = frozenset(range(1, 1 + max(labels_in(rules.truth(first)), default=0)))
        yield _Wanted(video.name, video.frames or tuple(video.masks), first.shape, ids)


def _first(video: Video) -> Path:
    for path in video.masks.values():
        return path
    raise UserError(f"the data set has no mask of {video.name}; fetch it again")


def _of_themselves(server: str, place: Path) -> Iterator[_Wanted]:
    """Each folder's own frames; its first mask gives size and, where objects do not come late, ids."""
    for folder in subfolders(place):
        files = png_files(folder)
        if not files:
            continue
        try:
            first = read_palette_mask(next(iter(files.values())))
        except UserError:  # listed when all files are checked
            yield _Wanted(folder.name, tuple(files), None, None)
            continue
        ids = None if server == "youtubevos" else frozenset({*labels_in(first)} - {VOID})
        yield _Wanted(folder.name, tuple(files), first.shape, ids)


# ---------------------------------------------------------------- what is wrong


def _unfinished(folder: Path) -> Iterator[str]:
    """What an evaluation's own record says is missing."""
    record = folder / "run.json"
    if not (folder / "masks").is_dir() or not record.is_file():
        return
    try:
        sequences: dict[str, Any] = read_json(record).get("sequences", {})
        counts = {name: entry["frames"] for name, entry in sequences.items()}
    except (ValueError, AttributeError, KeyError, TypeError):
        yield "run.json cannot be read; evaluate again into another folder"
        return
    if not counts:
        yield "run.json is of an evaluation that is not finished; start it again, it goes on where it was"
    for name, count in counts.items():
        there = len(png_files(folder / "masks" / name))
        if there != count:
            yield f"{name}: {there} masks are there, but run.json lists {count}"


def _misnamed(server: str, wanted: Iterable[_Wanted], place: Path) -> Iterator[str]:
    for w in wanted:
        if not all(len(frame) == 5 and frame.isdecimal() for frame in w.frames):
            strange = [frame for frame in w.frames if not (len(frame) == 5 and frame.isdecimal())]
            yield f"{w.name}: masks are called by five digits, as 00000.png, not {first_ten(strange)}"
        elif server == "davis":
            missing = [f"{i:05d}" for i in range(int(w.frames[-1])) if f"{i:05d}" not in w.frames]
            if missing:
                yield f"{w.name}: {_missing(missing)}{in_place_of(missing, place / w.name)}"


def _check(folder: Path, wanted: _Wanted) -> list[str]:
    """What is wrong with the masks of one sequence, one clause each."""
    if not folder.is_dir():
        return ["the sequence is missing"]
    missing, problems = [], []
    strange: dict[int, list[str]] = {}
    files = png_files(folder)
    for frame in wanted.frames:
        path = files.get(frame)
        if path is None:
            missing.append(frame)
            continue
        try:
            labels = read_palette_mask(path)
        except UserError as error:
            problems.append(str(error))
            continue
        if wanted.size is not None and labels.shape != wanted.size:
            problems.append(f"{frame} is {size(labels.shape)} but its sequence {size(wanted.size)}")
        for label in labels_in(labels):
            if label == VOID or (wanted.ids is not None and label not in wanted.ids):
                strange.setdefault(label, []).append(frame)
    if missing:
        problems.insert(0, _missing(missing) + in_place_of(missing, folder))
    return problems + [unknown_label(label, frames) for label, frames in sorted(strange.items())]


def _missing(frames: Sequence[str]) -> str:
    return f"{plural(len(frames), 'frame is', 'frames are')} missing: {first_ten(frames)}"


def _left_out(place: Path, wanted: Sequence[_Wanted]) -> Iterator[str]:
    surplus = sorted({f.name for f in subfolders(place) if png_files(f)} - {w.name for w in wanted})
    if surplus:
        yield f"left out, not in the set: {first_ten(surplus)}"
    for w in wanted:
        count = len(png_files(place / w.name).keys() - set(w.frames))
        if count:
            yield f"left out, not asked for: {plural(count, 'mask')} of {w.name}"


# ---------------------------------------------------------------- the zip


def _write(out: Path, files: Sequence[tuple[str, Path]]) -> None:
    make_folder(out.parent)
    with whole(out) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted(files):  # PNGs are compressed already
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, path.read_bytes())
