"""Pictures for people: masks laid over frames, H.264 films of them, contact sheets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from mamp.core.errors import UserError
from mamp.core.files import make_folder, whole
from mamp.video.decoding import file_url
from mamp.video.masks import PALETTE

DEFAULT_FPS = 24.0  # of a folder of images, which does not say


def colours(labels: np.ndarray) -> np.ndarray:
    """(H, W) label map -> uint8 (H, W, 3), DAVIS palette; ids above 254 begin again at 1, none is black."""
    ids = labels.astype(np.int64)
    return PALETTE[np.where(ids > 0, (ids - 1) % 254 + 1, 0)]


def blend(frame: np.ndarray, labels: np.ndarray, *, opacity: float = 0.5) -> np.ndarray:
    """The frame uint8 (H, W, 3) with objects tinted in their colours and a line around each; same shape."""
    tinted = (1 - opacity) * frame + opacity * colours(labels) + 0.5
    return contour(np.where((labels > 0)[..., None], tinted.astype(np.uint8), frame), labels, thickness=1)


def contour(frame: np.ndarray, labels: np.ndarray, *, thickness: int | None = None) -> np.ndarray:
    """The frame uint8 (H, W, 3) with a line in its colour inside each object's border; same shape.

    thickness: pixels; None is one for each 160 pixels of the shorter side, and at least 2.
    """
    if thickness is None:
        thickness = max(2, min(labels.shape) // 160)
    line = np.zeros(labels.shape, bool)
    for step in range(1, min(thickness, *labels.shape) + 1):
        down, right = labels[step:] != labels[:-step], labels[:, step:] != labels[:, :-step]
        line[step:] |= down
        line[:-step] |= down
        line[:, step:] |= right
        line[:, :-step] |= right
    return np.where((line & (labels > 0))[..., None], colours(labels), frame)


def tint(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Half frame, half colour, black where there is no object: the published `segmentation` picture of
    STM-Cycle.
    """
    return _half(frame, colours(labels))


def first_object(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`tint` of id 1 alone: the published `mask` picture of STM-Cycle."""
    return tint(frame, (labels == 1).astype(np.uint8))


def rimmed(frame: np.ndarray, labels: np.ndarray, *, opacity: float = 0.6) -> np.ndarray:
    """The frame with objects in their colours, each in a black line one pixel wide around it: the published
    picture of AFB-URR.

    As published the smallest label of the picture stays unpainted, whatever it is, and a later object covers
    earlier lines.
    """
    painted = ((1 - opacity) * frame + opacity * colours(labels)).astype(np.uint8)
    result = frame.copy()
    for label in np.unique(labels)[1:]:
        inside = labels == label
        result[inside] = painted[inside]
        grown = np.pad(inside, 1)
        grown = grown[1:-1, 1:-1] | grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
        result[grown & ~inside] = 0
    return result


def heatmap(frame: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Half frame, half a map from blue (least of the picture) to red (most): the published `heatmap` picture
    of STM-Cycle.

    frame: uint8 (H, W, 3). fields: float (K, H, W), the largest of the objects counts and negatives are 0.
    """
    strength = np.maximum(fields, 0).max(axis=0, initial=0)
    low, high = float(strength.min()), float(strength.max())
    level = (255 * (strength - low) / max(high - low, 1e-12)).astype(np.uint8)
    return _half(frame, JET[level])


def _half(frame: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.rint((frame.astype(np.float32) + colour) / 2).astype(np.uint8)


def _jet() -> np.ndarray:
    """uint8 (256, 3): blue, cyan, yellow, red, each ramp a quarter of the way."""
    way = np.arange(256)[:, None] / 255
    middles = np.array([0.75, 0.5, 0.25])
    return np.rint(255 * np.clip(1.5 - np.abs(4 * (way - middles)), 0, 1)).astype(np.uint8)


JET = _jet()
STYLES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "blend": blend,
    "contour": contour,
    "segmentation": tint,
    "mask": first_object,
    "rim": rimmed,
}
# the last two are drawn from what a segmenter knows besides labels
OVERLAY_STYLES = (*STYLES, "heatmap", "erf")


class Film:
    """An H.264 mp4 in the making; a context manager. The file appears when the block ends well, and not at
    all otherwise.

    fps: frames a second. crf: x264's quality, less is better. Frames of odd size get one row or column more,
    as H.264 wants even sizes. Raises UserError when the file cannot be written.
    """

    def __init__(self, path: Path, *, fps: float | None = None, crf: int = 18):
        if path.suffix.lower() != ".mp4":
            raise UserError(f"overlay {path} is not an .mp4; name it so")
        make_folder(path.parent)
        self._whole = whole(path)
        self._crf = crf
        self._rate = Fraction(fps or DEFAULT_FPS).limit_denominator(1001)
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> Film:
        import av

        self._container = av.open(file_url(self._whole.__enter__()), "w", format="mp4")
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add one frame, uint8 (H, W, 3) RGB, of the first frame's size."""
        import av

        height, width = frame.shape[:2]
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._container.add_stream(
                "libx264", rate=self._rate, options={"crf": str(self._crf), "preset": "veryfast"}
            )
            self._stream.height, self._stream.width = even.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")):
            self._container.mux(packet)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None and self._stream is not None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
            self._container.close()
        except BaseException as failure:
            self._whole.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._whole.__exit__(kind, error, trace)


def contact_sheet(
    pictures: Sequence[np.ndarray], *, columns: int = 4, width: int = 320, gap: int = 4
) -> np.ndarray:
    """A grid of pictures, row by row on white: uint8 (H, W, 3).

    pictures: uint8 (H, W, 3) each. width: pixels each is scaled to; a row is as high as its highest picture.
    """
    small = [
        np.asarray(
            Image.fromarray(p).resize(
                (width, max(1, round(width * p.shape[0] / p.shape[1]))), Image.Resampling.LANCZOS
            )
        )
        for p in pictures
    ]
    rows = [small[i : i + columns] for i in range(0, len(small), columns)]
    heights = [max(p.shape[0] for p in row) for row in rows]
    across = min(columns, len(small))
    sheet = np.full(
        (sum(heights) + gap * (len(rows) - 1), across * width + gap * (across - 1), 3), 255, np.uint8
    )
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            left = column * (width + gap)
            sheet[top : top + picture.shape[0], left : left + width] = picture
        top += height + gap
    return sheet


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) as an image of the kind the name says, whole or not at all."""
    make_folder(path.parent)
    with whole(path) as partial:
        Image.fromarray(picture).save(
            partial, format=Image.registered_extensions().get(path.suffix.lower(), "PNG")
        )
