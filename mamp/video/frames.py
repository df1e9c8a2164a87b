"""A folder of images or a video file -> uint8 RGB frames, decoded one at a time.

Video files are read by decord; PyAV reads what decord cannot. Both obey rotation flags, images obey EXIF.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps

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
from mamp.video.masks import bands
from mamp.video.packed import AGAIN, PackedReader, find_packed

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
Source = TypeVar("Source", bound="FrameSource")
POLICIES = ("error", "skip", "repeat")


_Source = TypeVar("_Source", bound="FrameSource")


class BadFrame(UserError):
    """One frame cannot be read; the rest of the video may be fine."""


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

    def stream(self, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(index, frame) from `start` on, in order, each decoded once when it is asked for."""
        good: np.ndarray | None = None
        for index in range(start, len(self)):
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

    def clone(self: Source) -> Source:
        """Return the same frames with a decoder of their own, as another thread needs them."""
        other = copy.copy(self)
        other.bad = {}
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

    def _read(self, index: int) -> np.ndarray:
        """Frame `index`, of the size of the frames before it."""
        try:
            frame, size = self._decode(index)
        except BadFrame as error:
            self.bad[index] = str(error)
            raise
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

    def where(self, index: int) -> str:
        """Its file."""
        return str(self.path / self._files[index])

    def _decode(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        file = self.path / self._files[index]
        if self._at_least is not None:
            return read_scaled(file, self._at_least)
        frame = read_image(file)
        return frame, frame.shape[:2]


class VideoFile(FrameSource):
    """A video file; the decoder opens at the first read, in the process that reads."""

    def __init__(self, path: Path, *, bad_frame: str = "error", names: Sequence[str] | None = None) -> None:
        super().__init__(path, bad_frame=bad_frame)
        self._reader: DecordReader | PyavReader | PackedReader | None = None
        self._packed = find_packed(path)
        if self._packed is not None:
            self._index = VideoIndex(len(self._packed), self._packed.fps, None, "", True)
        else:
            self._index = index_video(path)
        if bad_frame == "error" and self._index.cut_short:
            raise UserError(f"{path} is cut short: {self._index.cut_short}; fetch the file again, {_OR_ELSE}")
        self.fps = self._index.fps
        self.names = [f"{number:05d}" for number in range(self._index.count)]
        self._numbers: Sequence[int] = range(self._index.count)
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

    @property
    def cut_short(self) -> str:
        """How much of the file is missing, in words; empty when it is whole."""
        return self._index.cut_short

    def close(self) -> None:
        """Close the decoder; the next read opens it again."""
        if self._reader is not None and not inherited(self._reader):
            self._reader.close()
        self._reader = None

    def clone(self) -> VideoFile:
        """As `FrameSource.clone`."""
        other = super().clone()
        other._reader = None
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
            raise BadFrame(f"{self.where(index)} cannot be decoded ({error}); {remedy}, {_OR_ELSE}") from None

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
) -> FrameSource:
    """The frames of a folder of images or of a video file.

    bad_frame: `error`, `skip` or `repeat` (see FrameSource). names: only these stems, in this order.
    at_least: JPEG images may be decoded at 1/2, 1/4 or 1/8 of their size, so long as both sides have so many
    pixels.

    Raises UserError when there is nothing there, when it holds no frames, or when one of `names` is missing.
    """
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path, bad_frame=bad_frame, names=names, at_least=at_least)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a folder of images or a video file")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise UserError(f"{path} is one image; give the folder that holds the frames, or a video file")
    return VideoFile(path, bad_frame=bad_frame, names=names)


# ---------------------------------------------------------------- images

_OR_ELSE = "or set data.bad_frame (training) or evaluate.bad_frame to skip or repeat"
_ORIENTATION = 0x0112  # EXIF: 5 and more lie on their side
_REMEDY = f"re-extract it, {_OR_ELSE}"


def read_image(path: Path) -> np.ndarray:
    """One image as uint8 (H, W, 3) RGB, upright; 16-bit grey is scaled to 8 bits, transparency is dropped.

    Raises BadFrame naming the file and the remedy.
    """
    return _read_image(path, None)[0]


def read_scaled(path: Path, at_least: int) -> tuple[np.ndarray, tuple[int, int]]:
    """As `read_image`, a JPEG as small as its decoder gives it with both sides >= at_least; and its own
    (height, width).
    """
    return _read_image(path, at_least)


def _read_image(path: Path, at_least: int | None) -> tuple[np.ndarray, tuple[int, int]]:
    try:
        with Image.open(path) as image:
            width, height = image.size
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image), (width, height) if turned else (height, width)
    except (FileNotFoundError, PermissionError) as error:
        raise BadFrame(f"{path} cannot be opened ({error.strerror}); {_REMEDY}") from None
    except Image.DecompressionBombError:
        raise BadFrame(f"{path} claims more pixels than any frame has; {_REMEDY}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they trip over in a damaged file
        raise BadFrame(_why(path, error)) from None


def _why(path: Path, error: Exception) -> str:
    size = path.stat().st_size
    if size == 0:
        return f"{path} is empty; {_REMEDY}"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return f"{path} is cut short after {size:,} bytes; {_REMEDY}"
    return f"{path} cannot be read as an image; {_REMEDY}"


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        grey = ((wide + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    pixels = np.empty((*image.size[::-1], 3), np.uint8)
    for rows, band in bands(image if image.mode == "RGB" else image.convert("RGB")):
        pixels[rows] = band  # a large picture is not held a third time
    return pixels
