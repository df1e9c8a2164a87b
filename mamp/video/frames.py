"""Frames of a folder of images or of a video file, uint8 RGB, decoded one at a time.

Video files are read by decord, and by PyAV where decord cannot. Both obey rotation flags; images obey EXIF.
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
_VIDEO_SUFFIXES = (
    "mp4 m4v mov qt 3gp 3g2 f4v insv lrv mj2 mkv webm avi divx flv ogv ogm mpg mpeg vob mod m1v m2v "
    "mpv ts mts m2ts m2t tod wmv asf wtv mxf dv y4m ivf obu nut rm rmvb swf amv h264 264 avc h265 265 "
    "hevc mjpeg mjpg"
)
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _VIDEO_SUFFIXES.split())
POLICIES = ("error", "skip", "repeat")
_HELD_BYTES, _HELD_FRAMES = 256 * 10**6, 128  # decoded at once when frames are read backward


class FrameSource:
    """The frames of one video, RGB uint8 (H, W, 3), all of one size. `open_frames` returns one.

    At a frame that cannot be read, the policy given to `open_frames` decides. `error` raises BadFrame. `skip`
    leaves the frame out of `stream`, and `source[index]` raises BadFrame. `repeat` gives the nearest good
    frame before it. A source holds at most one frame and one open decoder. It pickles without the decoder.

    Args:
        path: the file or folder.
        bad_frame: `error`, `skip` or `repeat`.

    Attributes:
        names: for each frame, its file's name without suffix; for a video file "00000", "00001", ...
        fps: frames a second; None if the files do not say.
        bad: index -> why that frame could not be read, for each bad frame met so far.

    Raises:
        UserError: the policy is unknown.
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
        """Return one frame.

        Args:
            index: its number; negative ones count from the end.

        Returns:
            uint8 (H, W, 3) RGB.

        Raises:
            BadFrame: a UserError: it cannot be read and the policy gives nothing in its place.
            IndexError: the video has no such frame.
        """
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
        """Yield frames in order. Each is decoded once, when it is asked for.

        Args:
            start: the first frame.
            stop: the frame before which to stop; None is the end of the video.

        Returns:
            An iterator over (index, uint8 (H, W, 3)).

        Raises:
            UserError: a frame cannot be read and the policy is `error`, or its size differs from the others.
        """
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
        """Yield frames from `start` down to 0. Frames are decoded ahead and held, 256 MB at most.

        Args:
            start: the first frame to yield.

        Returns:
            An iterator over (index, uint8 (H, W, 3)).

        Raises:
            UserError: as `stream` raises it.
        """
        stop, count = start + 1, 1
        while stop > 0:
            begin = max(0, stop - count)
            held = list(self.stream(begin, stop))
            if held:
                count = min(max(1, _HELD_BYTES // held[0][1].nbytes), _HELD_FRAMES)
            yield from reversed(held)
            stop = begin

    def clone(self) -> Self:
        """Return the same frames with a separate decoder, for another thread."""
        other = copy.copy(self)
        other.bad = {}
        return other

    def part(self, indices: Sequence[int]) -> Self:
        """Return some of the frames, with a separate decoder.

        Args:
            indices: which frames, in the order they are to have.

        Returns:
            A source of those frames.
        """
        other = self.clone()
        other.names = [self.names[i] for i in indices]
        other.seconds = None if self.seconds is None else [self.seconds[i] for i in indices]
        return other

    def close(self) -> None:
        """Close the file. The next read opens it again."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """The frame, and (height, width) of the picture in the file, from which a scaled frame differs."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """Return how messages name frame `index`."""
        raise NotImplementedError

    def refuse_mixed_sizes(self) -> None:
        """Raise UserError if the files' headers show several sizes. Damaged files are left for later."""

    def _read(self, index: int) -> np.ndarray:
        """Frame `index`, of the size of the frames before it."""
        try:
            frame, size = self._decode(index)
        except BadFrame as error:
            self.bad[index] = words = str(error).replace(OR_ELSE, self.or_else)
            raise BadFrame(words) from None
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
    """Images in a folder, in natural order of their names. Numbers may have gaps and begin anywhere."""

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
        """Return some of the frames, in the order of `indices`."""
        other = super().part(indices)
        other._files = [self._files[i] for i in indices]
        return other

    def where(self, index: int) -> str:
        """Return the path of the frame's file."""
        return str(self.path / self._files[index])

    def refuse_mixed_sizes(self) -> None:
        """Raise UserError if the images' headers show several sizes. Damaged files are left for later."""
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
    """A video file. The decoder opens at the first read, in the process that reads."""

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
        """Return the same frames with a separate decoder."""
        other = super().clone()
        other._reader = None
        return other

    def part(self, indices: Sequence[int]) -> Self:
        """Return some of the frames, in the order of `indices`, with a separate decoder."""
        other = super().part(indices)
        other._numbers = [self._numbers[i] for i in indices]
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def where(self, index: int) -> str:
        """Return the video file and the frame's number."""
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
        """The fastest reader of this file that begins at frame `number`: PyAV away from the first frame."""
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
    """Open a folder of images, a video file, or an image file with several pictures.

    Args:
        path: the folder or file. A TIFF, WebP, GIF or PNG with several pictures is a video too.
        bad_frame: what happens at a frame that cannot be read: `error`, `skip` or `repeat`; see
            `FrameSource`.
        names: use only the frames with these names, in this order. None uses all.
        at_least: JPEG images may be decoded at 1/2, 1/4 or 1/8 of their size, as long as both sides keep this
            number of pixels. None decodes at full size.
        stream: which video stream of a file, from 0. None is the stream with the most pixels.
        or_else: how messages name the setting that skips or repeats bad frames.

    Returns:
        A `FrameSource`: `len(source)`, `source[index]` and `source.stream()` give uint8 (H, W, 3) RGB frames.

    Raises:
        UserError: the path does not exist, it holds no frames, or one of `names` is missing.
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
