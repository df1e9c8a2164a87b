"""Packed clips: an index of where each frame's bytes lie in a small video, and its reader."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import Malformed, UserError, reason
from mamp.core.terminal import short
from mamp.core.texts import read_json
from mamp.video.decoding import ToRgb, Undecodable

INDEX = "pack.json"
UNFINISHED = ".unfinished"  # the folder of what is known of finished clips while others are not
FORMAT = "mamp pack 1"
AGAIN = "run mamp data pack again to repair it"


@dataclass(frozen=True)
class Packed:
    """One clip of a packed folder.

    path: its mp4, H.264 without frames that depend on later ones. fps: frames a second, None when the source
    did not
    say. size: (height, width). length: bytes of the file. keyframes: every so many frames, from the first on,
    one stands for
    itself. head: what the decoder needs first. start: where the first frame's bytes begin; the others
    follow.
    sizes, checks: bytes and CRC-32 of each frame, uint32 (N,).
    """

    path: Path
    fps: float | None
    size: tuple[int, int]
    length: int
    keyframes: int
    head: bytes
    start: int
    sizes: np.ndarray
    checks: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)


def find_packed(path: Path) -> Packed | None:
    """Return the index entry of a video file; None without an index, or if it is of another file.

    Raises UserError naming an index that cannot be read, or a file that is not as long as it was.
    """
    index = path.parent / INDEX
    try:
        stamp = index.stat()
    except OSError:
        return None
    found = _packed(index, stamp.st_mtime_ns, stamp.st_size).get(path.name)
    if found is None:
        return None
    there = path.stat().st_size
    if there != found.length:
        raise UserError(f"{path} has {there:,} bytes and was packed with {found.length:,}; {AGAIN}")
    return found


def read_index(index: Path) -> dict[str, Any]:
    """Return the index of a packed folder: `settings`, and `clips` by name.

    Raises UserError when it is none.
    """
    try:
        value = read_json(index)
        if value["format"] != FORMAT:
            raise Malformed(f"its format is {short(value['format'])}, not {FORMAT!r}")
        for name, record in value["clips"].items():
            parse_clip(index.parent, name, record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UserError(
            f"{index} is no index of packed video ({reason(error)}); remove it and run mamp data pack again"
        ) from None
    return dict(value)


def check_packed(root: Path) -> None:
    """Raise UserError where `root` is a packed folder that is not finished, or lacks a clip."""
    index = root / INDEX
    if (root / UNFINISHED).is_dir():
        raise UserError(f"{root} is not packed to the end; run mamp data pack again, which goes on")
    if not index.is_file():
        return
    stamp = index.stat()
    names = _packed(index, stamp.st_mtime_ns, stamp.st_size)
    absent = sorted(set(names) - set(os.listdir(root)))
    if absent:
        raise UserError(
            f"{root / absent[0]} is not there, which {INDEX} lists ({len(absent)} of {len(names)} are"
            f" missing); {AGAIN}"
        )


@lru_cache(maxsize=8)
def _packed(index: Path, mtime: int, size: int) -> Mapping[str, Packed]:
    """File name -> clip. mtime, size: of the index, so that one written anew is read anew."""
    clips = read_index(index)["clips"]
    found = (parse_clip(index.parent, name, record) for name, record in clips.items())
    return {clip.path.name: clip for clip in found}


def parse_clip(folder: Path, name: str, record: Mapping[str, Any]) -> Packed:
    """Return what a record of the index holds.

    Raises KeyError, TypeError, ValueError or OverflowError when it makes no sense.
    """
    file = record["file"]
    if Path(file).name != file or file in ("", ".."):
        raise Malformed(f"clip {name} lies in {file!r}, which is no name of a file")
    width, height = record["size"]
    clip = Packed(
        path=folder / file,
        fps=None if record["fps"] is None else float(record["fps"]),
        size=(int(height), int(width)),
        length=int(record["bytes"]),
        keyframes=int(record["keyframes"]),
        head=bytes.fromhex(record["head"]),
        start=int(record["start"]),
        sizes=np.array(record["packets"], dtype=np.uint32),
        checks=np.array(record["crc32"], dtype=np.uint32),
    )
    if not isinstance(record["sha256"], str):
        raise TypeError(f"clip {name} has no checksum")
    if not len(clip) or len(clip.checks) != len(clip) or clip.keyframes < 1:
        raise Malformed(f"clip {name} has {len(clip)} frames and {len(clip.checks)} checksums")
    if clip.start < 0 or clip.start + int(clip.sizes.sum(dtype=np.int64)) > clip.length:
        raise Malformed(f"clip {name} has frames behind the end of its file")
    return clip


class PackedReader:
    """An open packed clip. State: the file and one decoder.

    A frame is read from its own bytes and those back to its keyframe. No container is opened and nothing is
    searched, which would take several times as long as a frame. One thread.
    """

    def __init__(self, clip: Packed) -> None:
        import av

        self._av = av
        self._clip = clip
        self._starts = clip.start + np.concatenate(([0], np.cumsum(clip.sizes, dtype=np.int64)))
        try:
            self._file = clip.path.open("rb", buffering=0)
        except OSError as error:
            raise Undecodable(str(error.strerror)) from None
        self._to_rgb = ToRgb()
        self._codec: Any = av.CodecContext.create("h264", "r")
        self._codec.extradata = clip.head
        self._codec.thread_count = 1
        self._at: int | None = None  # the frame decoded last

    def frame(self, number: int) -> np.ndarray:
        """Return frame `number`, uint8 (H, W, 3) RGB.

        Raises Undecodable when its bytes, or those it depends on, are not what was packed.
        """
        first = number - number % self._clip.keyframes
        if self._at is None or not first <= self._at < number:
            self._codec.flush_buffers()
        else:
            first = self._at + 1
        self._at = None
        for needed in range(first, number + 1):
            picture = self._decode(needed)
        self._at = number
        return self._to_rgb(picture)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _decode(self, number: int) -> Any:
        content = _read(self._file.fileno(), int(self._clip.sizes[number]), int(self._starts[number]))
        if zlib.crc32(content) != self._clip.checks[number]:
            raise Undecodable("its bytes are not those that were packed")
        packet = self._av.Packet(content)
        packet.pts = number
        try:
            pictures = self._codec.decode(packet)
        except self._av.FFmpegError as error:
            raise Undecodable(f"the decoder says: {error}") from None
        if len(pictures) != 1:
            raise Undecodable("the decoder gives no picture")
        return pictures[0]


def _read(file: int, size: int, start: int) -> bytes:
    """Read `size` bytes from `start` on. Forked processes share a file's position: avoid it if possible."""
    if hasattr(os, "pread"):
        return os.pread(file, size, start)
    os.lseek(file, start, os.SEEK_SET)
    return os.read(file, size)
