"""`mamp data index`: the lists of objects and frames that SSM-VOS's program reads, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import UserError, plural
from mamp.core.files import make_folder, write_text
from mamp.core.texts import parse_json
from mamp.datasets.lists import read_meta
from mamp.datasets.sequences import Sequence as Video
from mamp.datasets.sequences import open_dataset
from mamp.video.folders import image_files, read_text
from mamp.video.masks import open_mask

DATASETS = ("davis2016", "davis2017", "youtubevos")


@dataclass(frozen=True)
class Record:
    """An object in a frame. All frames of an object follow one another; object follows object, video video.

    mask_path: the frame's mask, or where there is no truth the one that is given, the object's first.
    num_frames: of this object. frame_index: from 0 at its first frame. object_index: its value in the
    mask's file.
    """

    image_path: str
    mask_path: str
    video_name: str
    num_frames: int
    frame_index: int
    object_index: int


def make_index(name: str, root: Path, split: str) -> list[Record]:
    """The records of a split of `davis2016`, `davis2017` or `youtubevos`; paths are absolute.

    An object that comes late begins at its own first frame. split: as in `open_dataset`.
    Raises UserError for another data set, and where frames or masks are missing.
    """
    if name not in DATASETS:
        raise UserError(f"data set {name} has no index; use one of {', '.join(DATASETS)}")
    root = root.absolute()
    if name == "youtubevos":
        return list(_youtube(root, split))
    return [
        record
        for video in open_dataset(name, root, split)
        for record in _davis(video, raw=name == "davis2016")
    ]


def write_index(records: Sequence[Record], out: Path) -> None:
    """As JSON, a list of one mapping a record, whole or not at all."""
    make_folder(out.absolute().parent)
    write_text(out, json.dumps([asdict(record) for record in records], indent=1) + "\n")


def read_index(file: Path) -> list[Record]:
    """The records of a file; UserError naming the first that is none, or stands out of order."""
    try:
        values = parse_json(read_text(file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON ({error}); make it with `mamp data index`") from None
    if not isinstance(values, list) or not values:
        raise UserError(f"{file} is not a list of records; make it with `mamp data index`")
    records = [_record(value, number, file) for number, value in enumerate(values)]
    for number, record in enumerate(records):
        before = records[number - 1] if record.frame_index else None
        expected = record.frame_index - 1
        same = before is not None and (before.video_name, before.object_index, before.frame_index) == (
            record.video_name,
            record.object_index,
            expected,
        )
        if not (same or record.frame_index == 0) or record.frame_index >= record.num_frames:
            raise UserError(
                f"{file}: record {number} is frame {record.frame_index} of {record.num_frames} of object"
                f" {record.object_index} of {record.video_name}, out of order; make it again with `mamp data"
                " index`"
            )
        ended = number + 1 == len(records) or records[number + 1].frame_index == 0
        if ended and record.frame_index != record.num_frames - 1:
            raise UserError(
                f"{file}: object {record.object_index} of {record.video_name} ends at frame"
                f" {record.frame_index} of {record.num_frames}; make it again with `mamp data index`"
            )
    return records


def describe(records: Sequence[Record]) -> str:
    """How much an index lists, in a line."""
    objects = {(record.video_name, record.object_index) for record in records}
    videos = {record.video_name for record in records}
    counts = ((videos, "video"), (objects, "object"), (records, "record"))
    return ", ".join(plural(len(found), one) for found, one in counts)


def missing_files(records: Sequence[Record]) -> list[str]:
    """Frames and masks that are not there, in order, once each."""
    paths = dict.fromkeys(path for record in records for path in (record.image_path, record.mask_path))
    return [path for path in paths if not Path(path).is_file()]


def _davis(video: Video, *, raw: bool) -> Iterator[Record]:
    """raw: object numbers as the file has them, 255 or 1 in DAVIS-2016."""
    files = image_files(video.source)
    images = [video.source / files[name] for name in video.frame_names]
    first = video.given[min(video.given)]
    values = _values(first) if raw else [int(i) for i in np.unique(video.read_given(min(video.given))) if i]
    for value in values:
        for index, image in enumerate(images):
            mask = video.truth.get(index, first) if video.truth else first
            yield Record(str(image), str(mask), video.name, len(images), index, value)


def _youtube(root: Path, split: str) -> Iterator[Record]:
    """From meta.json, whose objects list their own frames; in train every frame has its mask."""
    videos = open_dataset("youtubevos", root, split)
    meta = read_meta(_meta(videos[0].source.parent.parent))
    for video in videos:
        name, files = video.name, image_files(video.source)
        masks = video.given[min(video.given)].parent
        for number, listed in sorted(meta[name].items()):
            frames = [frame for frame in listed.frames if frame in files]
            for index, frame in enumerate(frames):
                mask = masks / f"{frame if video.truth else frames[0]}.png"
                yield Record(str(video.source / files[frame]), str(mask), name, len(frames), index, number)


def _meta(base: Path) -> Path:
    beside = base.with_name(base.name.removesuffix("_all_frames"))
    return base / "meta.json" if (base / "meta.json").is_file() else beside / "meta.json"


def _values(file: Path) -> list[int]:
    """Values other than 0 in a mask's file as it is, of its first channel."""
    pixels = np.asarray(open_mask(file))
    return [int(i) for i in np.unique(pixels[..., 0] if pixels.ndim == 3 else pixels) if i]


def _record(value: Any, number: int, file: Path) -> Record:
    kinds = {name: str if kind == "str" else int for name, kind in Record.__annotations__.items()}
    if not isinstance(value, dict) or value.keys() != kinds.keys():
        raise UserError(
            f"{file}: record {number} has not exactly the keys {', '.join(kinds)}; make it with `mamp data"
            " index`"
        )
    for name, kind in kinds.items():
        if type(value[name]) is not kind or (kind is int and value[name] < 0):
            raise UserError(
                f"{file}: {name} of record {number} is {value[name]!r}; make it with `mamp data index`"
            )
    return Record(**value)
