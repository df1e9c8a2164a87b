"""Frames as the page shows them: JPEGs, made when asked for, some of them kept."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

import numpy as np
from PIL import Image

from mamp.video.frames import FrameSource

SIDE = 1920  # longer side of a frame as shown, in pixels; masks have the video's own size
THUMB = 120  # width of a thumbnail
KEPT = 64_000_000  # bytes of JPEGs


class View:
    """The frames of one video for the page.

    State: a decoder for frames and one for thumbnails, each used by one thread at a time, and the last JPEGs.
    """

    def __init__(self, source: FrameSource, thumbs: FrameSource) -> None:
        self._decoders = {False: (source, threading.Lock()), True: (thumbs, threading.Lock())}
        self._guard = threading.Lock()
        self._made: OrderedDict[tuple[int, bool], bytes] = OrderedDict()
        self._bytes = 0

    def pixels(self, index: int, *, thumb: bool = False) -> np.ndarray:
        """Frame `index`, uint8 (H, W, 3); UserError when it cannot be read."""
        source, guard = self._decoders[thumb]
        with guard:
            return source[index]

    def jpeg(self, index: int, *, thumb: bool = False) -> bytes:
        """Frame `index` as a JPEG; UserError when it cannot be read."""
        with self._guard:
            if (index, thumb) in self._made:
                self._made.move_to_end((index, thumb))
                return self._made[index, thumb]
        made = encoded(self.pixels(index, thumb=thumb), THUMB if thumb else SIDE, quality=75 if thumb else 92)
        with self._guard:
            if (index, thumb) not in self._made:
                self._made[index, thumb] = made
                self._bytes += len(made)
            while self._bytes > KEPT:
                self._bytes -= len(self._made.popitem(last=False)[1])
        return made


def encoded(frame: np.ndarray, side: int, *, quality: int) -> bytes:
    """uint8 (H, W, 3) as a JPEG whose longer side is `side` pixels at most."""
    image = Image.fromarray(frame)
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=0 if quality > 90 else 2)
    return file.getvalue()
