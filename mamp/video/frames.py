"""A folder of images or a video file -> uint8 RGB frames, decoded one at a time.

Video files are read by decord; PyAV reads what decord cannot. Both obey rotation flags, images obey EXIF.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mamp.core.errors import UserError
from mamp.video.decoding import (
    DecordReader,
    PyavReader,
    Undecodable,
    VideoIndex,
    index_video,
    inherited,
    open_video,
)
from mamp.video.folders import IMAGE_SUFFIXES, image_files
from mamp.video.images import OR_ELSE, BadFrame, read_image, read_scaled, upright_size
from mamp.video.packed import AGAIN, PackedReader, find_packed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BadFrame", "FrameFolder", "FrameSource", "VideoFile", "open_frames", "read_image", "read_scaled"]

# what files of videos are called; a file that someone names is opened whatever it is called
VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in [
        "mp4",
        "m4v",
        "mov",
        "qt",
        "3gp",
        "3g2",
        "f4v",
        "insv",
        "lrv",
        "mj2",
        "mkv",
        "webm",
        "avi",
        "divx",
        "flv",
        "ogv",
        "ogm",
        "mpg",
        "mpeg",
        "vob",
        "mod",
        "m1v",
        "m2v",
        "mpv",
        "ts",
        "mts",
        "m2ts",
        "m2t",
        "tod",
        "wmv",
        "asf",
        "wtv",
        "mxf",
        "dv",
        "y4m",
        "ivf",
        "obu",
        "nut",
        "rm",
        "rmvb",
        "swf",
        "amv",
        "h264",
        "264",
        "avc",
        "h265",
        "265",
        "hevc",
        "mjpeg",
        "mjpg",
    ]
)
POLICIES = ("error", "skip", "repeat")
_HELD_BYTES, _HELD_FRAMES = 256 * 10**6, 128  # decoded at once when frames are read backward


class FrameSource:
    """The frames of one video, RGB uint8 (H, W, 3), all of one size.

    names: per frame, the stem of its file; for a video file its number, "00000", "00001", ...
    fps: frames a second, or None when the files do not say.
    bad: index -> why that frame could not be read, for every bad frame met so far.

    What happens at a bad frame is the policy given to `open_frames`: `error` raises BadFrame; `skip` leaves
    the frame out of `stream` and raises BadFrame at random access; `repeat` gives the nearest earlier good
    frame. Holds at most one frame and one open decoder; pickles without the decoder.
    """

    names: list[str]
    fps: float | None = None
    seconds: Sequence[float] | None = None
    """When each frame is shown, from the video's first frame on; None where the files do not say."""
    jumps = False
    """Whether a frame costs the same and is the same wherever reading begins."""
    aspect = Fraction(1)
    """Width of a pixel over its height."""
    origin = 0.0
    """The file's time stamp of the video's first frame, in seconds; its sound has the same clock."""
    or_else = OR_ELSE
    """How messages name the setting that skips or repeats bad frames."""

    def __init__(self, path: Path, *, bad_frame: str) -> None:
        if bad_frame not in POLICIES:
            raise UserError(f"bad_frame={bad_frame!r} is not known; use one of {', '.join(POLICIES)}")
        self.path = path
        self.bad: dict[int, str] = {}
        self._policy = bad_frame
        self._size: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        """Frame `index`, uint8 (H, W, 3) RGB; raises BadFrame (a UserError) by policy, IndexError outside."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.path} has {len(self)} frames, not frame {index}")
        index %= len(self)
        last = 0 if self._policy == "repeat" else index
        for candidate in range(index, last - 1, -1):
            try:
                return self._read(candidate)
            except BadFrame as error:
                if candidate == last:
                    raise self._hopeless(error) from None
        raise AssertionError("the loop returns or raises")

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(index, frame) from `start` on, before `stop`, in order, each decoded once when it is asked for."""
        good: np.ndarray | None = None
        for index in range(start, len(self) if stop is None else stop):
            try:
                good = self._read(index)
            except BadFrame as error:
                if self._policy == "skip":
                    continue
                if self._policy == "error":
                    raise
                if good is None:
                    good = self[index - 1] if index else None
                if good is None:
                    raise self._hopeless(error) from None
            yield index, good

    def backward(self, start: int) -> Iterator[tuple[int, np.ndarray]]:
        """(index, frame) from `start` down to 0; some frames are decoded ahead and held, 256 MB at most."""
        stop, count = start + 1, 1
        while stop > 0:
            begin = max(0, stop - count)
            held = list(self.stream(begin, stop))
            if held:
                count = min(max(1, _HELD_BYTES // held[0][1].nbytes), _HELD_FRAMES)
            yield from reversed(held)
            stop = begin

    def clone(self) -> Self:
        """Return the same frames with a decoder of their own, as another thread needs them."""
        other = copy.copy(self)
        other.bad = {}
        return other

    def part(self, indices: Sequence[int]) -> Self:
        """Return some of the frames, in that order, with a decoder of their own."""
        other = self.clone()
        other.names = [self.names[i] for i in indices]
        other.seconds = None if self.seconds is None else [self.seconds[i] for i in indices]
        return other

    def close(self) -> None:
        """Let go of the open file; the next read opens it again."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """The frame, and (height, width) of the picture in the file, which a scaled frame has not."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """How a message names frame `index`."""
        raise NotImplementedError

    def refuse_mixed_sizes(self) -> None:
        """UserError where the files' headers say that frames have several sizes; bad files are left for
        later.
        """

    def _read(self, index: int) -> np.ndarray:
        """Frame `index`, of the size of the frames before it."""
        try:
            frame, size = self._decode(index)
        except BadFrame as error:
            self.bad[index] = told = str(error).replace(OR_ELSE, self.or_else)
            raise BadFrame(told) from None
        if self._size is None:
            self._size = size
        elif size != self._size:
            raise UserError(
                f"{self.where(index)} is {size[1]}x{size[0]} while the video's other frames are"
                f" {self._size[1]}x{self._size[0]}; bring all frames of a video to one size"
            )
        return frame

    def _hopeless(self, error: BadFrame) -> BadFrame:
        if self._policy != "repeat":
            return error
        return BadFrame(f"{error} (there is no good frame before it to repeat)")


class FrameFolder(FrameSource):
    """Images in a folder, in natural order of their names, whatever the first number and the gaps."""

    jumps = True

    def __init__(
        self,
        path: Path,
        *,
        bad_frame: str = "error",
        names: Sequence[str] | None = None,
        at_least: int | None = None,
    ) -> None:
        super().__init__(path, bad_frame=bad_frame)
        self._at_least = at_least
        files = image_files(path)
        if not files:
            raise UserError(
                f"{path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}); give the folder of the frames"
            )
        if names is None:
            self.names = list(files)
        else:
            absent = [name for name in names if name not in files]
            if absent:
                raise UserError(
                    f"{path} lacks the frame {absent[0]} ({len(absent)} of {len(names)} are missing);"
                    " re-extract the video"
                )
            self.names = list(names)
        self._files = [files[name] for name in self.names]

    def part(self, indices: Sequence[int]) -> Self:
        """Return some of the frames, in that order."""
        other = super().part(indices)
        other._files = [self._files[i] for i in indices]
        return other

    def where(self, index: int) -> str:
        """Its file."""
        return str(self.path / self._files[index])

    def refuse_mixed_sizes(self) -> None:
        """UserError where images have several sizes, by their headers; bad files are left for later."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, file in enumerate(self._files):
            if (size := upright_size(self.path / file)) is not None:
                sizes.setdefault(size, []).append(index)
        if len(sizes) < 2:
            return
        common = max(sizes, key=lambda size: len(sizes[size]))
        odd = {size: indices for size, indices in sizes.items() if size != common}
        other, indices = next(iter(odd.items()))
        count = sum(map(len, odd.values()))
        raise UserError(
            f"{self.where(indices[0])} is {other[1]}x{other[0]} while {len(sizes[common])} frames are"
            f" {common[1]}x{common[0]} ({count} of {len(self)} differ); bring all frames of a video to one"
            " size"
        )

    def _decode(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        file = self.path / self._files[index]
        if self._at_least is not None:
            return read_scaled(file, self._at_least)
        frame = read_image(file)
        return frame, frame.shape[:2]


class VideoFile(FrameSource):
    """A video file; the decoder opens at the first read, in the process that reads."""

    def __init__(
        self,
        path: Path,
        *,
        bad_frame: str = "error",
        names: Sequence[str] | None = None,
        stream: int | None = None,
        or_else: str = OR_ELSE,
    ) -> None:
        super().__init__(path, bad_frame=bad_frame)
        self.or_else = or_else
        self._reader: DecordReader | PyavReader | PackedReader | None = None
        self._packed = find_packed(path)
        if self._packed is not None:
            self._index = VideoIndex(len(self._packed), self._packed.fps, None, "", True)
        else:
            self._index = index_video(path, stream=stream)
        if bad_frame == "error" and self._index.cut_short:
            raise UserError(f"{path} is cut short: {self._index.cut_short}; fetch the file again, {or_else}")
        self.fps = self._index.fps
        self.names = [f"{number:05d}" for number in range(self._index.count)]
        self._numbers: Sequence[int] = range(self._index.count)
        self.seconds = self._index.seconds()
        self.aspect, self.origin = self._index.aspect, self._index.origin
        if names is not None:
            numbers = {name: number for number, name in enumerate(self.names)}
            absent = [name for name in names if name not in numbers]
            if absent:
                raise UserError(
                    f"{path} has no frame {absent[0]}; its frames are called {self.names[0]} to"
                    f" {self.names[-1]}"
                )
            self.names = list(names)
            self._numbers = [numbers[name] for name in names]
            self.seconds = None if self.seconds is None else [self.seconds[n] for n in self._numbers]

    @property
    def cut_short(self) -> str:
        """How much of the file is missing, in words; empty when it is whole."""
        return self._index.cut_short

    def close(self) -> None:
        """Close the decoder; the next read opens it again."""
        if self._reader is not None and not inherited(self._reader):
            self._reader.close()
        self._reader = None

    def clone(self) -> Self:
        """As `FrameSource.clone`."""
        other = super().clone()
        other._reader = None
        return other

    def part(self, indices: Sequence[int]) -> Self:
        """Return some of the frames, in that order, with a decoder of their own."""
        other = super().part(indices)
        other._numbers = [self._numbers[i] for i in indices]
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def where(self, index: int) -> str:
        """The video file and the frame's number."""
        return f"{self.path} frame {self.names[index]}"

    def _decode(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        frame = self._picture(index, self._numbers[index])
        return frame, frame.shape[:2]

    def _picture(self, index: int, number: int) -> np.ndarray:
        try:
            if self._reader is None or inherited(self._reader):
                self._reader = self._open(number)
            if isinstance(self._reader, DecordReader):
                try:
                    return self._reader.frame(number)
                except Undecodable:  # it is for whole files read in order; PyAV does the rest
                    self._reader.close()
                    self._reader = PyavReader(self.path, self._index)
            return self._reader.frame(number)
        except Undecodable as error:
            remedy = "fetch the file again" if self._packed is None else AGAIN
            raise BadFrame(f"{self.where(index)} cannot be decoded ({error}); {remedy}, {OR_ELSE}") from None

    def _open(self, number: int) -> DecordReader | PyavReader | PackedReader:
        """The fastest reader of this file, to begin at frame `number`; one that jumps at once gains nothing
        from decord.
        """
        if self._packed is not None:
            return PackedReader(self._packed)
        if number == self._numbers[0]:
            return open_video(self.path, self._index)
        return PyavReader(self.path, self._index)


def open_frames(
    path: Path | str,
    *,
    bad_frame: str = "error",
    names: Sequence[str] | None = None,
    at_least: int | None = None,
    stream: int | None = None,
    or_else: str = OR_ELSE,
) -> FrameSource:
    """Return the frames of a folder of images, of a video file, or of a file of several images.

    Args:
        path: the folder or file; a TIFF, WebP, GIF or PNG of several images is a video too.
        bad_frame: `error`, `skip` or `repeat` (see FrameSource).
        names: only these stems, in this order.
        at_least: JPEG images may be decoded at 1/2, 1/4 or 1/8 of their size, so long as both sides have so
            many pixels.
        stream: which of a file's video streams, from 0; None is the one with the most pixels.
        or_else: how messages name the setting that skips or repeats bad frames.

    Raises:
        UserError: there is nothing there, it holds no frames, or one of `names` is missing.
    """
    path = Path(path)
    if path.is_dir():
        folder = FrameFolder(path, bad_frame=bad_frame, names=names, at_least=at_least)
        folder.or_else = or_else
        return folder
    if not path.exists():
        raise UserError(f"{path} does not exist; give a folder of images or a video file")
    if path.suffix.lower() in IMAGE_SUFFIXES | {".gif"}:
        from mamp.video.pages import PagedFile

        return PagedFile(path, bad_frame=bad_frame, names=names, or_else=or_else)
    return VideoFile(path, bad_frame=bad_frame, names=names, stream=stream, or_else=or_else)
