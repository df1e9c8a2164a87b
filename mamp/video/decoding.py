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

from mamp.core.errors import UserError, first_line

OTHER_FILE = "give a video file or a folder of images"


class Undecodable(Exception):
    """The decoder did not give this frame."""


@dataclass(frozen=True)
class VideoIndex:
    """What a video file holds.

    times: time stamps of its frames, ascending; None where packets do not tell them. cut_short: how much of
    the file is missing, in words; empty when it is whole. plain: whether it is of a kind that decord reads
    rightly.
    """

    count: int
    fps: float | None
    times: tuple[int, ...] | None
    cut_short: str
    plain: bool


def index_video(path: Path) -> VideoIndex:
    """Count the frames by reading the file's packets, none of which is decoded or kept; UserError if it is no
    video.
    """
    import av

    try:
        turned = _is_turned(path)  # decord turns frames wrongly where the rows of the turned frame are padded
        with av.open(file_url(path)) as container:
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
            plain = container.format.name in _PLAIN_FORMATS
            fps = float(video.average_rate or video.guessed_rate or 0) or None
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        reason = "no video stream" if isinstance(error, IndexError) else first_line(error)
        raise UserError(f"{path} cannot be read as a video ({reason}); {OTHER_FILE}") from None
    if not times:
        raise UserError(f"{path} holds no video frames; {OTHER_FILE}")
    cut = plain and held < promised - max(_SLACK * promised, 1.5 / (fps or 1))
    cut_short = f"it promises {promised:.2f} s of video and holds {held:.2f} s" if cut else ""
    known = sorted({t for t in times if t is not None})
    return VideoIndex(
        len(times), fps, tuple(known) if len(known) == len(times) else None, cut_short, plain and not turned
    )


def file_url(path: Path) -> str:
    """How the libraries of video are told of a file, whose name may have a colon in it, which they take for a
    protocol.
    """
    return f"file:{path}" if ":" in str(path) else str(path)


def _is_turned(path: Path) -> bool:
    """Whether the first frame carries a rotation flag."""
    import av

    with av.open(file_url(path)) as container:
        try:
            return bool(next(container.decode(container.streams.video[0])).rotation)
        except (av.FFmpegError, StopIteration):
            return False


def _packets(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of these streams, or of all, up to where the file breaks off."""
    import av

    try:
        yield from container.demux(*streams)
    except av.FFmpegError:
        return


# these tell their length; of others, such as a transport stream, decord gives frames from somewhere in the
# middle
_PLAIN_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"})
_SLACK = 0.03  # part of a video's length by which headers are wrong in whole files
_INHERITED: list[Any] = []  # decoders open at a fork; closing one would wait for threads that are not here
_OPEN: weakref.WeakSet[Any] = weakref.WeakSet()
_NOTICED: list[str] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _INHERITED.extend(_OPEN))


def inherited(reader: object) -> bool:
    """Whether this process got the open decoder by a fork, so that it can neither be used nor closed here."""
    return any(reader is other for other in _INHERITED)


def open_video(path: Path, index: VideoIndex) -> DecordReader | PyavReader:
    """decord, or PyAV where decord is not installed or does not understand the file."""
    try:
        if index.plain:
            return DecordReader(path, index)
    except ImportError:
        if not _NOTICED:
            _NOTICED.append("decord")
            print("decord is not installed; PyAV reads video files", file=sys.stderr)
    except Undecodable:
        pass
    return PyavReader(path, index)


class ToRgb:
    """Decoded pictures of PyAV -> uint8 (H, W, 3) RGB, on one thread. State: the scaler, made once for a
    size.

    PyAV's own `to_ndarray` makes a scaler and its threads anew for each frame: several times the work of a
    small one.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._scaler: Any = VideoReformatter()
        self._options: dict[str, int] = {"threads": 1}

    def __call__(self, frame: Any) -> np.ndarray:
        """The picture `frame` as it lies in the file, not yet turned upright."""
        try:
            picture = self._scaler.reformat(frame, format="rgb24", **self._options)
        except TypeError:  # an older PyAV, which has no such option and needs none
            self._options = {}
            picture = self._scaler.reformat(frame, format="rgb24")
        return np.asarray(picture.to_ndarray())


class DecordReader:
    """An open video in decord, read in order; the pixels are those that PyAV gives.

    decord also takes an index out of order, but where groups of pictures are open or refreshed bit by bit it
    then returns another frame or a smeared one and says nothing.
    """

    def __init__(self, path: Path, index: VideoIndex) -> None:
        import decord

        decord.logging.set_level(decord.logging.FATAL)
        self._errors = (RuntimeError, OSError, IndexError, decord.DECORDError)
        self._next = 0
        try:
            self._video: Any = decord.VideoReader(file_url(path), num_threads=1)
        except self._errors as error:
            raise Undecodable(first_line(error)) from None
        if len(self._video) != index.count:
            raise Undecodable("decord counts its frames otherwise")
        _OPEN.add(self)

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, uint8 (H, W, 3) RGB; Undecodable when it is not the next one, or the file does not
        give it.
        """
        if number != self._next:
            raise Undecodable("it is not the next one")
        self._next += 1
        try:
            return np.array(self._video[number].asnumpy())
        except self._errors as error:
            raise Undecodable(first_line(error)) from None

    def close(self) -> None:
        """Let go of the file."""
        self._video = None
        _OPEN.discard(self)


class PyavReader:
    """An open video in PyAV: seeks to the keyframe before a frame unless that frame comes soon."""

    def __init__(self, path: Path, index: VideoIndex) -> None:
        import av

        self._av = av
        self._path = path
        self._index = index
        self._to_rgb = ToRgb()
        self._ahead: Iterator[tuple[int, Any]]
        self._last: tuple[int, Any]  # the frame decoded last
        self._reopen()
        self._asked = 0  # all frames from this one to the last one have gone by
        _OPEN.add(self)

    def frame(self, number: int) -> np.ndarray:
        """Frame `number`, uint8 (H, W, 3) RGB, upright; Undecodable when the file does not give it."""
        if number < self._asked or number > self._last[0] + _SOON:
            self._seek(number)
        self._asked = number
        while self._last[0] < number:
            self._advance()
        found, frame = self._last
        if found != number or frame.is_corrupt:
            raise Undecodable("its data are damaged or missing")
        picture = self._to_rgb(frame)
        return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90 % 4))

    def close(self) -> None:
        """Let go of the file, and of what refers back to this reader: a cycle would keep the decoder for
        long.
        """
        self._ahead = iter(())
        self._last = (-1, None)
        self._container.close()
        _OPEN.discard(self)

    def _seek(self, number: int) -> None:
        """To a keyframe at or before `number`; frames shown before a keyframe may need the one before
        that.
        """
        times = self._index.times or ()
        steps = (0, _SOON, 12 * _SOON) if self._index.plain else (_SOON, 12 * _SOON)
        for earlier in steps if times else ():
            try:
                self._container.seek(times[max(0, number - earlier)], stream=self._container.streams.video[0])
            except self._av.FFmpegError:
                break
            self._restart()
            self._advance()
            if self._last[0] <= number:
                return
        self._container.close()
        self._reopen()

    def _reopen(self) -> None:
        try:
            self._container: Any = self._av.open(file_url(self._path))
        except (self._av.FFmpegError, OSError) as error:
            raise Undecodable(first_line(error)) from None
        self._container.streams.video[0].codec_context.thread_count = 1
        self._restart()

    def _restart(self) -> None:
        self._ahead = self._decoded()
        self._last = (-1, None)

    def _advance(self) -> None:
        self._last = next(self._ahead, (self._index.count, None))

    def _decoded(self) -> Iterator[tuple[int, Any]]:
        """(number, frame) from here on; what cannot be decoded is left out."""
        times = self._index.times
        counted = 0
        for packet in _packets(self._container, self._container.streams.video[0]):
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                continue
            for frame in frames:
                yield (counted if times is None else bisect_left(times, frame.pts or 0)), frame
                counted += 1


_SOON = 24  # frames that are decoded and dropped rather than sought for
