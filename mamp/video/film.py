"""Films in the making: pictures with their times in, H.264, VP9 or ProRes out, with the source's sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mamp.core.errors import UserError
from mamp.core.files import make_folder, whole
from mamp.video.decoding import file_url

DEFAULT_FPS = 24.0  # of a folder of images, which does not say
TICKS = 90000  # a second, of the times of frames
_END = 0.5  # seconds of sound kept after the last frame began

# suffix -> libav's name of the container
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
# suffix -> what sound it can hold as it is; absent is anything
_SOUNDS = {
    ".mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"),
    ".m4v": ("aac", "mp3", "ac3", "eac3", "alac"),
    ".mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le"),
    ".webm": ("opus", "vorbis"),
}


@dataclass(frozen=True)
class Codec:
    """How pictures are encoded: libav's encoder, its pixels and options."""

    name: str
    pixels: str
    options: dict[str, str]


def codec_for(suffix: str, *, alpha: bool, crf: int) -> Codec:
    """Return the codec of a container; UserError where it cannot hold transparency.

    crf: x264's quality, less is better; VP9's is chosen to look alike.
    """
    if alpha and suffix == ".mov":
        return Codec("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16"})
    if suffix == ".webm":
        vp9 = {"crf": str(crf + 6), "b": "0", "deadline": "realtime", "cpu-used": "5", "auto-alt-ref": "0"}
        return Codec("libvpx-vp9", "yuva420p" if alpha else "yuv420p", vp9)
    if alpha:
        raise UserError(f"a {suffix} film has no transparency; name it .mov (ProRes 4444) or .webm (VP9)")
    return Codec("libx264", "yuv420p", {"crf": str(crf), "preset": "veryfast"})


class Film:
    """Write a film; a context manager. The file appears when the block ends well, and otherwise not at all.

    Frames of odd size get one row or column more, as the codecs need even sizes.

    Args:
        path: .mp4, .m4v, .mov or .mkv (H.264) or .webm (VP9).
        fps: frames a second, for frames that are written without a time.
        crf: x264's quality, less is better.
        alpha: frames have four channels; .mov is ProRes 4444 then.
        aspect: width of a pixel over its height.
        sound: a video whose first sound goes with the frames, copied as it is; `origin` is the time stamp, in
            seconds, at which its first frame is shown.

    Raises:
        UserError: the name's ending is none of these, or the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        fps: float | None = None,
        crf: int = 18,
        alpha: bool = False,
        aspect: Fraction = Fraction(1),
        sound: Path | None = None,
        origin: float = 0.0,
    ):
        self._suffix = path.suffix.lower()
        if self._suffix not in CONTAINERS:
            *others, last = list(CONTAINERS)[1:]
            raise UserError(f"film {path} is not an .mp4, {', '.join(others)} or {last}; name it so")
        self._codec = codec_for(self._suffix, alpha=alpha, crf=crf)
        make_folder(path.parent)
        self._whole = whole(path)
        self._rate = Fraction(fps or DEFAULT_FPS).limit_denominator(1001)
        self._format, self._aspect = "rgba" if alpha else "rgb24", aspect
        self._sound = Sound(sound, origin) if sound is not None else None
        self._container: Any = None
        self._stream: Any = None
        self._began: float | None = None
        self._last = -1
        self.notes: list[str] = []  # what was left out, one sentence each

    def __enter__(self) -> Film:
        import av

        target = file_url(self._whole.__enter__())
        self._container = av.open(target, "w", format=CONTAINERS[self._suffix])
        return self

    def write(self, frame: np.ndarray, seconds: float | None = None) -> None:
        """Add one frame, uint8 (H, W, 3) RGB or (H, W, 4) RGBA, of the first frame's size.

        seconds: when it is shown in the source; the film begins with the first frame's time. Either all
        frames have one or none.
        """
        import av

        height, width = frame.shape[:2]
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._begin(even.shape[0], even.shape[1], seconds)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format=self._format)
        if seconds is not None:
            assert self._began is not None
            tick = max(round((seconds - self._began) * TICKS), self._last + 1)
            picture.pts, picture.time_base, self._last = tick, Fraction(1, TICKS), tick
            self._add_sound(seconds)
        for packet in self._stream.encode(picture):
            self._container.mux(packet)

    def _begin(self, height: int, width: int, seconds: float | None) -> None:
        self._stream = self._container.add_stream(
            self._codec.name, rate=self._rate, options=dict(self._codec.options)
        )
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = self._codec.pixels
        if self._aspect != 1:
            self._stream.codec_context.sample_aspect_ratio = self._aspect
        if seconds is None:
            return
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._began = seconds
        if self._sound is not None and (note := self._sound.begin(self._container, self._suffix, seconds)):
            self.notes.append(note)

    def _add_sound(self, until: float) -> None:
        for packet in self._sound.packets(until) if self._sound is not None else ():
            self._container.mux(packet)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None and self._stream is not None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
                if self._began is not None:
                    self._add_sound(self._began + self._last / TICKS + min(_END, float(1 / self._rate)))
            if self._sound is not None:
                self._sound.close()
            self._container.close()
        except BaseException as failure:
            self._whole.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._whole.__exit__(kind, error, trace)


class Sound:
    """The first sound of a video, copied packet by packet. State: the open file, and the next packet."""

    def __init__(self, path: Path, origin: float) -> None:
        self._path, self._origin = path, origin
        self._source: Any = None
        self._target: Any = None
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._start = 0.0

    def begin(self, container: Any, suffix: str, start: float) -> str:
        """Make a stream for it, to begin with the picture at `start` seconds; why not, where it cannot be."""
        import av

        try:
            self._source = av.open(file_url(self._path))
        except (av.FFmpegError, OSError):
            return ""
        if not self._source.streams.audio:
            return ""
        stream = self._source.streams.audio[0]
        codec = stream.codec_context.name
        if suffix in _SOUNDS and not any(codec.startswith(known) for known in _SOUNDS[suffix]):
            return f"the sound ({codec}) is left out, as a {suffix} film cannot hold it; .mkv holds any"
        self._target = container.add_stream_from_template(stream)
        self._start = start + self._origin
        self._packets = self._demuxed(stream)
        return ""

    def _demuxed(self, stream: Any) -> Iterator[Any]:
        import av

        try:
            for packet in self._source.demux(stream):
                if packet.pts is not None and self._end(packet) > self._start:
                    yield packet
        except av.FFmpegError:  # the file breaks off
            return

    @staticmethod
    def _end(packet: Any) -> float:
        return float((packet.pts + (packet.duration or 0)) * packet.time_base)

    def packets(self, until: float) -> Iterator[Any]:
        """Yield what is heard before `until`, in seconds from the source's first frame."""
        while self._target is not None:
            packet = self._next or next(self._packets, None)
            self._next = packet
            if packet is None or float(packet.pts * packet.time_base) - self._origin > until:
                return
            self._next = None
            shift = round(self._start / packet.time_base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            packet.stream = self._target
            yield packet

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()
