"""A folder of images or a video file -> uint8 RGB frames, decoded one at a time.

Video files are read by decord; PyAV reads what decord cannot. Both obey rotation flags, images obey EXIF.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mamp.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
POLICIES = ("error", "skip", "repeat")


class BadFrame(UserError):
    """One frame cannot be read; the rest of the video may be fine."""


class FrameSource:
    """The frames of one video, RGB uint8 (H, W, 3), all of one size.

    names: per frame, the stem of its file; for a video file its number, "00000", "00001", ...
    fps: frames a second, or None when the files do not say.
    bad: index -> why that frame could not be read, for every bad frame met so far.

    What happens at a bad frame is the policy given to `open_frames`: `error` raises BadFrame; `skip` leaves the
    frame out of `stream` and raises BadFrame at random access; `repeat` gives the nearest earlier good frame.
    Holds at most one frame and one open decoder; pickles without the decoder.
    """

    names: list[str]
    fps: float | None = None

    def __init__(self, path: Path, *, bad_frame: str) -> None:
        if bad_frame not in POLICIES:
            raise UserError(f"bad_frame={bad_frame!r} is not known; use one of {', '.join(POLICIES)}")
        self.path = path
        self.bad: dict[int, str] = {}
        self._policy = bad_frame
        self._size: tuple[int, int] | None = None

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

    def close(self) -> None:
        """Let go of the open file; the next read opens it again."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, index: int) -> np.ndarray:
        raise NotImplementedError

    def _where(self, index: int) -> str:
        """How a message names frame `index`."""
        raise NotImplementedError

    def _read(self, index: int) -> np.ndarray:
        """Frame `index`, of the size of the frames before it."""
        try:
            frame = self._decode(index)
        except BadFrame as error:
            self.bad[index] = str(error)
            raise
        size = frame.shape[:2]
        if self._size is None:
            self._size = size
        elif size != self._size:
            raise UserError(
                f"{self._where(index)} is {size[1]}x{size[0]} while frames before it are {self._size[1]}x{self._size[0]}; "
                "bring all frames of a video to one size"
            )
        return frame

    def _hopeless(self, error: BadFrame) -> BadFrame:
        if self._policy != "repeat":
            return error
        return BadFrame(f"{error} (there is no good frame before it to repeat)")


class FrameFolder(FrameSource):
    """Images in a folder, in natural order of their names, whatever the first number and the gaps."""

    def __init__(self, path: Path, *, bad_frame: str = "error", names: Sequence[str] | None = None) -> None:
        super().__init__(path, bad_frame=bad_frame)
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
                    f"{path} lacks the frame {absent[0]} ({len(absent)} of {len(names)} are missing); re-extract the video"
                )
            self.names = list(names)
        self._files = [files[name] for name in self.names]

    def _where(self, index: int) -> str:
        return str(self.path / self._files[index])

    def _decode(self, index: int) -> np.ndarray:
        return read_image(self.path / self._files[index])


class VideoFile(FrameSource):
    """A video file; the decoder opens at the first read, in the process that reads."""

    def __init__(self, path: Path, *, bad_frame: str = "error", names: Sequence[str] | None = None) -> None:
        super().__init__(path, bad_frame=bad_frame)
        self._reader: _Reader | None = None
        self._owner = 0
        with _open_video(path) as reader:
            self.fps = reader.fps
            count = reader.count
        if count == 0:
            raise UserError(f"{path} holds no video frames; give another file")
        every = [f"{number:05d}" for number in range(count)]
        self.names = every if names is None else list(names)
        number = {name: i for i, name in enumerate(every)}
        absent = [name for name in self.names if name not in number]
        if absent:
            raise UserError(
                f"{path} has no frame {absent[0]}: its {count} frames are called {every[0]} to {every[-1]}"
            )
        self._numbers = [number[name] for name in self.names]

    def close(self) -> None:
        if self._reader is not None and self._owner == os.getpid():
            self._reader.close()
        self._reader = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def _where(self, index: int) -> str:
        return f"{self.path} frame {self.names[index]}"

    def _decode(self, index: int) -> np.ndarray:
        if self._reader is not None and self._owner != os.getpid():
            _INHERITED.append(
                self._reader
            )  # a decoder's threads do not live on after a fork, and closing it would wait for them
            self._reader = None
        if self._reader is None:
            self._reader, self._owner = _open_video(self.path), os.getpid()
        try:
            return self._reader.frame(self._numbers[index])
        except _Undecodable as error:
            raise BadFrame(f"{self._where(index)} cannot be decoded ({error}); {_REMEDY}") from None


def open_frames(
    path: Path | str, *, bad_frame: str = "error", names: Sequence[str] | None = None
) -> FrameSource:
    """The frames of a folder of images or of a video file.

    bad_frame: `error`, `skip` or `repeat` (see FrameSource). names: only these stems, in this order.

    Raises UserError when there is nothing there, when it holds no frames, or when one of `names` is missing.
    """
    path = Path(path)
    if path.is_dir():
        return FrameFolder(path, bad_frame=bad_frame, names=names)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a folder of images or a video file")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise UserError(f"{path} is one image; give the folder that holds the frames, or a video file")
    return VideoFile(path, bad_frame=bad_frame, names=names)


def natural_key(name: str) -> list[Any]:
    """Sorts frame9 before frame10."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)] + [name]


def image_files(folder: Path) -> dict[str, str]:
    """stem -> file name of the images in `folder`, in natural order; UserError when a stem has two files."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of the frames")
    try:
        entries = [
            e
            for e in os.listdir(folder)
            if not e.startswith(".") and Path(e).suffix.lower() in IMAGE_SUFFIXES
        ]
    except OSError as error:
        raise UserError(f"{folder} cannot be listed ({error.strerror}); mend its permissions") from None
    files: dict[str, str] = {}
    for entry in sorted(entries, key=natural_key):
        stem = Path(entry).stem
        if stem in files:
            raise UserError(f"{folder} holds both {files[stem]} and {entry}; keep one image a frame")
        files[stem] = entry
    return files


# ---------------------------------------------------------------- images

_REMEDY = "re-extract it, or set bad_frame to skip or repeat"


def read_image(path: Path) -> np.ndarray:
    """One image as uint8 (H, W, 3) RGB, upright; 16-bit grey is scaled to 8 bits, transparency is dropped.

    Raises BadFrame naming the file and the remedy.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
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
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


# ---------------------------------------------------------------- video decoders


class _Undecodable(Exception):
    """The decoder did not give this frame."""


_INHERITED: list[Any] = []
_NOTICED: list[str] = []


class _Reader:
    """An open video: count frames at fps a second; `frame` is cheapest in ascending order."""

    count: int
    fps: float | None

    def frame(self, number: int) -> np.ndarray:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_video(path: Path) -> _Reader:
    """decord, or PyAV where decord is not installed or does not understand the file."""
    try:
        return _DecordReader(path)
    except ImportError:
        if not _NOTICED:
            _NOTICED.append("decord")
            print("decord is not installed; PyAV reads video files", file=sys.stderr)
    except _Undecodable:
        pass
    try:
        return _PyavReader(path)
    except _Undecodable as error:
        raise UserError(
            f"{path} cannot be opened as a video ({error}); give a video file or a folder of images"
        ) from None


class _DecordReader(_Reader):
    def __init__(self, path: Path) -> None:
        import decord

        self._error: type[Exception] = decord.DECORDError
        try:
            self._video: Any = decord.VideoReader(str(path), num_threads=1)
        except (RuntimeError, OSError, self._error) as error:
            raise _Undecodable(_first_line(error)) from None
        self.count = len(self._video)
        self.fps = float(self._video.get_avg_fps()) or None
        if self.count == 0:
            raise _Undecodable("no frames")

    def frame(self, number: int) -> np.ndarray:
        try:
            return np.array(self._video[number].asnumpy())
        except (RuntimeError, IndexError, self._error) as error:
            raise _Undecodable(_first_line(error)) from None

    def close(self) -> None:
        self._video = None


class _PyavReader(_Reader):
    """Finds a frame by its time stamp: seeks to the keyframe before it unless it comes next."""

    def __init__(self, path: Path) -> None:
        import av

        self._error: type[Exception] = av.FFmpegError
        try:
            self._container: Any = av.open(str(path))
            self._stream = self._container.streams.video[0]
            self._times = sorted(p.pts for p in self._container.demux(self._stream) if p.pts is not None)
        except (self._error, OSError, IndexError, ValueError) as error:
            raise _Undecodable(_first_line(error) or "no video stream") from None
        self.count = len(self._times)
        self.fps = float(self._stream.average_rate or 0) or None
        self._frames: Iterator[Any] = iter(())
        self._next = -1

    def frame(self, number: int) -> np.ndarray:
        wanted = self._times[number]
        try:
            if number != self._next:
                self._container.seek(wanted, stream=self._stream)
                self._frames = self._container.decode(self._stream)
            self._next = -1
            for frame in self._frames:
                if frame.pts is not None and frame.pts >= wanted:
                    break
            else:
                raise _Undecodable("the stream ends before it")
            if frame.pts != wanted:
                raise _Undecodable("the stream has a hole there")
        except (self._error, EOFError) as error:
            raise _Undecodable(_first_line(error)) from None
        self._next = number + 1
        picture = frame.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(picture, frame.rotation // 90 % 4))

    def close(self) -> None:
        self._container.close()


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else ""
