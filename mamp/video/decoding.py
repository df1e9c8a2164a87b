"""Video files: an index of their frames, and decoders that give one frame at a time (decord, or PyAV)."""

from __future__ import annotations

import os
import sys
import weakref
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import UserError, first_line
from mamp.core.texts import refuse_special

OTHER_FILE = "give a video file or a folder of images"


class Undecodable(Exception):
    """The decoder did not give this frame."""


@dataclass(frozen=True)
class VideoIndex:
    """What a video file holds.

    times: time stamps of its frames, ascending; None where packets do not have them. tick: seconds of a time
    stamp's 1. cut_short: how much of the file is missing, in words; empty when it is whole. plain: whether it
    is of a kind that decord reads rightly. aspect: width of a pixel over its height, upright. stream: the
    number of the stream in the file.
    """

    count: int
    fps: float | None
    times: tuple[int, ...] | None
    cut_short: str
    plain: bool
    tick: Fraction = Fraction(0)
    aspect: Fraction = Fraction(1)
    stream: int = 0

    @property
    def origin(self) -> float:
        """The time stamp of the first frame, in seconds."""
        return float(self.times[0] * self.tick) if self.times else 0.0

    def seconds(self) -> list[float] | None:
        """When each frame is shown, from the first one on; None where neither times nor rate are known."""
        if self.times is not None and self.tick:
            return [float((time - self.times[0]) * self.tick) for time in self.times]
        return [number / self.fps for number in range(self.count)] if self.fps else None


def index_video(path: Path, *, stream: int | None = None) -> VideoIndex:
    """Count the frames by reading the file's packets, none of which is decoded or kept.

    stream: which of its video streams, from 0; None is the one with the most pixels. Packets before the first
    keyframe, where a recording began in the middle, cannot be shown and do not count.

    Raises UserError if it is no video or has no such stream.
    """
    import av

    try:
        refuse_special(path)
        with av.open(file_url(path)) as container:
            video = _chosen(path, container, stream)
            number = video.index
        turned, aspect = _first_look(path, number)
        with av.open(file_url(path)) as container:
            video = container.streams[number]
            counted = _Counted()
            end = 0.0
            for packet in _packets(container):
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream is video and packet.size and not packet.is_discard:
                    counted.take(packet)
            promised = (container.duration or 0) / av.time_base
            held = end - (container.start_time or 0) / av.time_base
            named = container.format.name in _PLAIN_FORMATS
            plain = named and not turned and not counted.dropped and _is_plain(container, video)
            fps = float(video.average_rate or video.guessed_rate or 0) or None
            tick = Fraction(video.time_base or 0)
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        reason = "no video stream" if isinstance(error, IndexError) else first_line(error)
        raise UserError(f"{path} cannot be read as a video ({reason}); {OTHER_FILE}") from None
    times = counted.shown(whole=named)
    if not times:
        raise UserError(f"{path} holds no video frames; {OTHER_FILE}")
    known = sorted({t for t in times if t is not None})
    stamps = tuple(known) if len(known) == len(times) else None
    if stamps and fps and fps > _MOST_RATE:  # the container's clock, where it has no rate of frames
        fps = (len(stamps) - 1) / float((stamps[-1] - stamps[0]) * tick) if len(stamps) > 1 else None
    cut = named and held < promised - max(_SLACK * promised, 1.5 / (fps or 1))
    cut_short = f"it promises {promised:.2f} s of video and holds {held:.2f} s" if cut else ""
    return VideoIndex(len(times), fps, stamps, cut_short, plain, tick, aspect, number)


class _Counted:
    """The time stamps of a stream's packets. State: those since the first keyframe, and of that one."""

    def __init__(self) -> None:
        self.times: list[int | None] = []
        self.dropped: list[int | None] = []  # before the first keyframe
        self._first: int | None = None
        self._began = False

    def take(self, packet: Any) -> None:
        if not self._began and packet.is_keyframe:
            self._began, self._first = True, packet.pts
            self.dropped, self.times = self.times, []
        self.times.append(packet.pts)

    def shown(self, *, whole: bool) -> list[int | None]:
        """Those that can be shown; all where no packet is a keyframe.

        whole: the container is one that begins with its video. In others pictures that are shown before the
        first keyframe need one that is not there, also where that keyframe is the first packet.
        """
        known = [time for time in self.times if time is not None]
        if self._first is None or len(known) < len(self.times) or (whole and not self.dropped):
            return self.times
        return [time for time in known if time >= self._first]


def _videos(container: Any) -> list[Any]:
    """The video streams, without pictures that are attached, such as a cover."""
    import av

    cover = av.stream.Disposition.attached_pic
    # a stream of no codec that is known here has no context
    known = [stream for stream in container.streams.video if stream.codec_context is not None]
    return [stream for stream in known if not stream.disposition & cover] or known


def _chosen(path: Path, container: Any, stream: int | None) -> Any:
    videos = _videos(container)
    if stream is None:
        if not videos:
            raise IndexError
        return max(videos, key=lambda v: v.codec_context.width * v.codec_context.height)
    if not 0 <= stream < len(videos):
        raise UserError(f"{path} has no video stream {stream}; it has {len(videos)}, counted from 0")
    return videos[stream]


def _is_plain(container: Any, video: Any) -> bool:
    """Whether decord gives the pixels that PyAV gives, and of this stream.

    It chooses the stream itself, pads the rows of narrow frames, is wrong in 10 bits, and takes untagged HD
    for BT.601.
    """
    context = video.codec_context
    return (
        len(container.streams.video) == 1
        and context.width >= _NARROW
        and context.pix_fmt in _EIGHT_BITS
        and not (is_hd(context.width, context.height) and context.colorspace == _UNSPECIFIED)
    )


def is_hd(width: int, height: int) -> bool:
    """Whether players take an untagged video of this size for BT.709; smaller ones are BT.601."""
    return width >= 1280 or height > 576


def file_url(path: Path) -> str:
    """Return a file as an address for video libraries, which take a colon in a name for a protocol."""
    return f"file:{path}" if ":" in str(path) else str(path)


def _first_look(path: Path, stream: int) -> tuple[bool, Fraction]:
    """Whether the first frame carries a rotation flag, and the aspect of its pixels when it is upright.

    decord turns frames wrongly where the rows of the turned frame are padded.
    """
    import av

    with av.open(file_url(path)) as container:
        video = container.streams[stream]
        given = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio or 1
        aspect = Fraction(given) if 0.1 < given < 10 else Fraction(1)
        try:
            rotation = next(container.decode(video)).rotation
        except (av.FFmpegError, StopIteration):
            rotation = 0
    return bool(rotation), 1 / aspect if rotation % 180 else aspect


def _packets(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of these streams, or of all, up to where the file breaks off."""
    import av

    try:
        yield from container.demux(*streams)
    except av.FFmpegError:
        return


# these have their length; of others, such as a transport stream, decord gives frames from somewhere in the
# middle
_PLAIN_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"})
_EIGHT_BITS = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12"})
_NARROW = 64  # pixels of width below which decord may give padded rows
_MOST_RATE = 1000  # frames a second
_SLACK = 0.03  # part of a video's length by which headers are wrong in whole files
_INHERITED: list[Any] = []  # decoders open at a fork; closing one would wait for threads that are not here
_OPEN: weakref.WeakSet[Any] = weakref.WeakSet()
_NOTICED: list[str] = []
_UNSPECIFIED = 2  # libav's AVCOL_SPC_UNSPECIFIED

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
    """Convert PyAV's pictures to uint8 (H, W, 3) RGB, on one thread. State: the scaler, once for a size.

    PyAV's own `to_ndarray` makes a scaler and its threads anew for each frame: several times the work of a
    small one.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._scaler: Any = VideoReformatter()
        self._options: dict[str, int] = {"threads": 1}

    def __call__(self, frame: Any) -> np.ndarray:
        """The picture `frame` as it lies in the file, not yet turned upright."""
        space = self._space(frame)
        try:
            picture = self._scaler.reformat(frame, format="rgb24", **space, **self._options)
        except TypeError:  # an older PyAV, which has no such option and needs none
            self._options = {}
            picture = self._scaler.reformat(frame, format="rgb24", **space)
        return np.asarray(picture.to_ndarray())

    @staticmethod
    def _space(frame: Any) -> dict[str, Any]:
        """What is said of the colours where the file does not: HD is BT.709."""
        untagged = frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb
        return {"src_colorspace": "ITU709"} if untagged and is_hd(frame.width, frame.height) else {}


class DecordReader:
    """An open video in decord, read in order; the pixels are those that PyAV gives.

    decord also takes an index out of order, but where groups of pictures are open or refreshed bit by bit it
    then returns another frame or a smeared one and says nothing.
    """

    def __init__(self, path: Path, index: VideoIndex) -> None:
        import decord

        decord.logging.set_level(decord.logging.FATAL)
        self._errors = (RuntimeError, OSError, IndexError, UnicodeError, decord.DECORDError)
        self._next = 0
        try:
            self._video: Any = decord.VideoReader(file_url(path), num_threads=1)
        except self._errors as error:
            raise Undecodable(first_line(error)) from None
        if len(self._video) != index.count:
            raise Undecodable("decord counts its frames otherwise")
        _OPEN.add(self)

    def frame(self, number: int) -> np.ndarray:
        """Return frame `number`, uint8 (H, W, 3) RGB.

        Raises Undecodable when it is not the next one, or the file does not give it.
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
        """Close the file and drop references back to this reader: a cycle would keep the decoder for long."""
        self._ahead = iter(())
        self._last = (-1, None)
        self._container.close()
        _OPEN.discard(self)

    def _seek(self, number: int) -> None:
        """Go to a keyframe at or before `number`; frames shown before one may need the keyframe before it."""
        times = self._index.times or ()
        steps = (0, _SOON, 12 * _SOON) if self._index.plain else (_SOON, 12 * _SOON)
        for earlier in steps if times else ():
            try:
                self._container.seek(times[max(0, number - earlier)], stream=self._stream)
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
        streams = self._container.streams
        self._stream: Any = streams[self._index.stream] if self._index.stream < len(streams) else None
        if self._stream is None or self._stream.codec_context is None:  # the file is another one by now
            self._container.close()
            raise Undecodable("it has no such video stream any more")
        self._stream.codec_context.thread_count = 1
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
        for packet in _packets(self._container, self._stream):
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                continue
            for frame in frames:
                if times is not None and (frame.pts or 0) < times[0]:
                    continue  # from before the first keyframe
                yield (counted if times is None else bisect_left(times, frame.pts or 0)), frame
                counted += 1


_SOON = 24  # frames that are decoded and dropped rather than sought for
