"""A file of several images as a video: TIFF pages, animated WebP, GIF and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageOps

from mamp.core.errors import UserError, first_line
from mamp.video.frames import FrameSource
from mamp.video.images import OR_ELSE, BadFrame, open_image, to_rgb


class PagedFile(FrameSource):
    """The images of one file, in order; called 00000, 00001, .. as the frames of a video file are.

    Raises UserError for a file of one image.
    """

    def __init__(
        self,
        path: Path,
        *,
        bad_frame: str = "error",
        names: Sequence[str] | None = None,
        or_else: str = OR_ELSE,
    ) -> None:
        super().__init__(path, bad_frame=bad_frame)
        self.or_else = or_else
        self._image: Any = None
        try:
            with open_image(path) as image:
                count = getattr(image, "n_frames", 1)
                shown = [self._duration(image, page) for page in range(count)]
        except Exception as error:  # Pillow's readers raise whatever they trip over in a damaged file
            raise UserError(
                f"{path} cannot be read as images ({first_line(error)}); export it again"
            ) from None
        if count < 2:
            raise UserError(f"{path} is one image; give the folder that holds the frames, or a video file")
        if all(shown):
            self.seconds = [sum(shown[:page]) / 1000 for page in range(count)]
            self.fps = 1000 * count / sum(shown)
        whole = [f"{page:05d}" for page in range(count)]
        self.names = whole if names is None else list(names)
        if absent := [name for name in self.names if name not in whole]:
            raise UserError(
                f"{path} has no frame {absent[0]}; its frames are called {whole[0]} to {whole[-1]}"
            )
        self._pages = [int(name) for name in self.names]
        if self.seconds is not None:
            self.seconds = [self.seconds[page] for page in self._pages]

    @staticmethod
    def _duration(image: Any, page: int) -> float:
        """Milliseconds that a page is shown; 0 where the file does not say."""
        if image.format == "TIFF":
            return 0.0
        image.seek(page)
        image.load()  # WebP and PNG have it when they are decoded
        return float(image.info.get("duration", 0) or 0)

    def part(self, indices: Sequence[int]) -> PagedFile:
        """Return some of the frames, in that order."""
        other = super().part(indices)
        other._pages = [self._pages[i] for i in indices]
        return other

    def clone(self) -> PagedFile:
        """Return the same frames, with an open file of their own."""
        other = super().clone()
        other._image = None
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_image": None}

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        if self._image is not None:
            self._image.close()
        self._image = None

    def where(self, index: int) -> str:
        """The file and the frame's number."""
        return f"{self.path} frame {self.names[index]}"

    def _decode(self, index: int) -> tuple[np.ndarray, tuple[int, ...]]:
        try:
            page = self._pages[index]
            if self._image is None or page < self._image.tell():  # not every format goes back
                self.close()
                self._image = open_image(self.path)
            self._image.seek(page)
            frame = to_rgb(ImageOps.exif_transpose(self._image))
        except Exception as error:  # as above
            self.close()
            raise BadFrame(
                f"{self.where(index)} cannot be decoded ({first_line(error)}); export the file again,"
                f" {OR_ELSE}"
            ) from None
        return frame, frame.shape[:2]
