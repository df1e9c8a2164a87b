"""What every saver is given, and what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from mamp.video.overlay import Look

if TYPE_CHECKING:
    from typing_extensions import Self

    from mamp.video.frames import FrameSource


@dataclass(frozen=True)
class Clip:
    """What is known of a video before its first frame.

    name: what it is called. names: of its frames. seconds: when each is shown, None where that is not known.
    video: the file or folder. aspect: width of a pixel over its height. sound: a file that may have sound.
    origin: the file's time stamp of the first frame, in seconds. files: the frames' image files, by name,
    where there are such. objects: what the objects are called, by id. look: how masks are drawn over frames.
    """

    name: str
    names: Sequence[str]
    fps: float | None = None
    seconds: Sequence[float] | None = None
    aspect: Fraction = Fraction(1)
    sound: Path | None = None
    origin: float = 0.0
    files: Mapping[str, str] = field(default_factory=dict)
    objects: Mapping[int, str] = field(default_factory=dict)
    look: Look = Look()
    video: str = ""

    @classmethod
    def of(
        cls, source: FrameSource, *, look: Look | None = None, objects: Mapping[int, str] | None = None
    ) -> Clip:
        """Return what a video says of itself."""
        path = source.path
        is_file = path.is_file()
        files = {} if is_file else {n: Path(source.where(i)).name for i, n in enumerate(source.names)}
        return cls(
            (path.stem if is_file else path.resolve().name) or "video",
            source.names,
            source.fps,
            source.seconds,
            source.aspect,
            path if is_file else None,
            source.origin,
            files,
            objects or {},
            look or Look(),
            str(path),
        )

    def called(self, number: int) -> str:
        """What object `number` is called."""
        return self.objects.get(number, f"object {number}")

    def time(self, index: int) -> float | None:
        """When frame `index` is shown, in seconds from the video's first frame."""
        return None if self.seconds is None else self.seconds[index]


@dataclass(frozen=True)
class Shot:
    """A frame with its masks.

    index: its number among the clip's names. labels: (H, W), 0 is background. frame: uint8 (H, W, 3) RGB,
    None where only masks are at hand. sure: how sure each object is, 0 to 1, by id, where that is known.
    """

    index: int
    name: str
    labels: np.ndarray
    frame: np.ndarray | None = None
    sure: Mapping[int, float] = field(default_factory=dict)

    @property
    def pixels(self) -> np.ndarray:
        """The frame, of a saver that needs frames."""
        assert self.frame is not None
        return self.frame


class Saver:
    """Writes one form of a clip's masks; a context manager. Single files are whole or absent.

    path: the file or folder that is written. `notes` says what was left out.
    """

    def __init__(self, path: Path, clip: Clip) -> None:
        self.path, self.clip = path, clip
        self.notes: list[str] = []
        self._stack = ExitStack()

    def write(self, shot: Shot) -> None:
        """Take the next frame."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write what is written at the end; called when all frames were taken and nothing failed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self.finish()
        except BaseException as failure:
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)
