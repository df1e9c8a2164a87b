"""Video files: an index of their frames, and decoders that give one frame at a time (decord, or PyAV)."""

from __future__ import annotations

import os
import sys
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamp.errors import UserError

OTHER_FILE = "give a video file or a folder of images"


class Undecodable(Exception):
    """The decoder did not give this frame."""


@dataclass(frozen=True)
class VideoIndex:
    """What a video file holds.

    times: time stamps of its frames, ascending; None where packets do not tell them. cut_short: how much of the
    file is missing, in words; empty when it is whole. turned: whether frames are stored lying on their side or head.
    """

    count: int
    fps: float | None
    times: tuple[int, ...] | None
    cut_short: str
    turned: bool


def index_video(path: Path) -> VideoIndex:
    """Count the frames by reading the file's packets, none of which is decoded or kept; UserError if it is no video."""
    import av

    try:
        turned = _is_turned(path)
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            times: list[int | None] = []
            end = 0.0
            for packet in _packets(container):
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream is video and packet.size and not packet.is_discard:
                    times.append(packet.pts)
            promised = (container.duration or 0) / av.time_base
            held = end - (container.start_time or 0) / av.time_base
            fps = float(video.average_rate or video.guessed_rate or 0) or None
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        reason = "no video stream" if isinstance(error, IndexError) else _first_line(error)
        raise UserError(f"{path} cannot be read as a video ({reason}); {OTHER_FILE}") from None
    if not times:
        raise UserError(f"{path} holds no video frames; {OTHER_FILE}")
    cut = held < promised - max(_SLACK * promised, 1.5 / (fps or 1))
    cut_short = f"it promises {promised:.2f} s of video and holds {held:.2f} s" if cut else ""
    known = sorted({t for t in times if t is not None})
    return VideoIndex(len(times), fps, tuple(known) if len(known) == len(times) else None, cut_short, turned)


def _is_turned(path: Path) -> bool:
    """Whether the first frame carries a rotation flag."""
    import av

    with av.open(str(path)) as container:
        try:
            return bool(next(container.decode(container.streams.video[0])).rotation)
        except (av.FFmpegError, StopIteration):
            return False


def _packets(container: Any) -> Iterator[Any]:
    """All packets of all streams, up to where the file breaks off."""
    import av

    try:
        yield from container.demux()
    except av.FFmpegError:
        return


_SLACK = 0.03  # part of a video's length by which headers are wrong in whole files
_INHERITED: list[
    Any
] = []  # decoders that were open at a fork; closing one would wait for threads that are not here
_OPEN: weakref.WeakSet[Any] = weakref.WeakSet()
_NOTICED: list[str] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _INHERITED.extend(_OPEN))


def inherited(reader: DecordReader | PyavReader) -> bool:
    """Whether this process got the open decoder by a fork, so that it can neither be used nor closed here."""
    return any(reader is other for other in _INHERITED)


def open_video(path: Path, index: VideoIndex) -> DecordReader | PyavReader:
    """decord, or PyAV where decord is not installed or does not understand the file."""
    try:
        if not index.turned:  # decord turns frames wrongly where the rows of the turned frame are padded
            return DecordReader(path, index)
    except ImportError:
        if not _NOTICED:
            _NOTICED.append("decord")
            print("decord is not installed; PyAV reads video files", file=sys.stderr)
    except Undecodable:
        pass
    return PyavReader(path, index)


class DecordReader:
    """An open video in decord; cheapest in ascending order. The pixels are those that PyAV gives."""

    def __init__(self, path: Path, index: VideoIndex) -> None:
        import decord

        decord.logging.set_level(decord.logging.FATAL)
        self._errors = (RuntimeError, OSError, IndexError, decord.DECORDError)
        try:
            self._video: Any = decord.VideoReader(str(path), num_threads=1)
        except self._errors as error:
            raise Undecodable(_first_line(error)) from None
        if len(self._video) != index.count:
            raise Undecodable("decord counts its frames otherwise")
        _OPEN.add(self)

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, uint8 (H, W, 3) RGB, upright; Undecodable when the file does not give it."""
        try:
            return np.array(self._video[number].asnumpy())
        except self._errors as error:
            raise Undecodable(_first_line(error)) from None

    def close(self) -> None:
        """Let go of the file."""
        self._video = None
        _OPEN.discard(self)


class PyavReader:
    """An open video in PyAV: seeks to the keyframe before a frame unless that frame comes soon."""

    def __init__(self, path: Path, index: VideoIndex) -> None:
        import av

        self._av = av
        self._index = index
        try:
            self._container: Any = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise Undecodable(_first_line(error)) from None
        self._ahead: Iterator[tuple[int, Any]] = self._decoded()
        self._last: tuple[int, Any] = (-1, None)
        _OPEN.add(self)

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, uint8 (H, W, 3) RGB, upright; Undecodable when the file does not give it."""
        if not 0 <= number - self._last[0] <= _SOON:
            self._seek(number)
        while self._last[0] < number:
            try:
                self._last = next(self._ahead)
            except StopIteration:
                self._last = (self._index.count, None)
        found, frame = self._last
        if found != number:
            raise Undecodable("its data are damaged or missing")
        if frame.is_corrupt:
            raise Undecodable("its data are damaged")
        picture = frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90 % 4))

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()
        _OPEN.discard(self)

    def _seek(self, number: int) -> None:
        times = self._index.times
        self._container.seek(times[number] if times else 0, stream=self._container.streams.video[0])
        self._ahead, self._last = self._decoded(), (-1, None)

    def _decoded(self) -> Iterator[tuple[int, Any]]:
        """(number, frame) from here on; what cannot be decoded is left out."""
        counted = 0
        try:
            for packet in self._container.demux(self._container.streams.video[0]):
                try:
                    frames = packet.decode()
                except self._av.FFmpegError:
                    continue
                for frame in frames:
                    number = (
                        counted
                        if self._index.times is None
                        else bisect_left(self._index.times, frame.pts or 0)
                    )
                    yield number, frame
                    counted += 1
        except self._av.FFmpegError:
            return


_SOON = 24  # frames that are decoded and dropped rather than sought for


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else ""
