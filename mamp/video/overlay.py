"""Pictures for people: masks laid over frames, contact sheets; films of them are in `film.py`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from mamp.core.errors import UserError
from mamp.core.files import make_folder, whole
from mamp.core.texts import parse_json
from mamp.video.film import DEFAULT_FPS, Film
from mamp.video.folders import read_text
from mamp.video.masks import PALETTE

__all__ = [
    "DEFAULT_FPS", "Film", "Look", "OVERLAY_STYLES", "STYLES", "blend", "colours", "contact_sheet", "contour",
    "distinct", "first_object", "flat", "heatmap", "read_colours", "rimmed", "tint", "write_picture",
]  # fmt: skip

_NAMED = 21  # objects that have a colour in DAVIS; its later ones are greys that look alike


@functools.cache
def distinct() -> np.ndarray:
    """Return uint8 (256, 3): the DAVIS palette, with colours that differ in place of its greys from 22 on.

    Each is the one of a grid that is farthest from black and all before it.
    """
    table = PALETTE.copy()
    levels = np.linspace(31, 255, 8).round().astype(np.int64)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    nearest = np.full(len(grid), np.inf)
    for number in range(255):
        if number > _NAMED:
            table[number] = grid[int(nearest.argmax())]
        nearest = np.minimum(nearest, ((grid - table[number]) ** 2).sum(1))
    return table


def colours(labels: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """(H, W) label map -> uint8 (H, W, 3); ids above 254 begin again at 1, none is black.

    palette: uint8 (256, 3); `distinct` by default.
    """
    ids = labels.astype(np.int64)
    return (distinct() if palette is None else palette)[np.where(ids > 0, (ids - 1) % 254 + 1, 0)]


def read_colours(text: str) -> np.ndarray:
    """Return the palette, uint8 (256, 3), that `1=red,2=#00ff00` or a JSON file {"1": "red"} asks for.

    Objects that are not named keep their colours. Raises UserError for what is no object or no colour.
    """
    remedy = "give 1=red,2=#00ff00 or a .json file with such pairs"
    if text.lower().endswith(".json"):
        try:
            pairs = parse_json(read_text(Path(text)))
        except ValueError:
            pairs = None
        if not isinstance(pairs, dict):
            raise UserError(f"{text} holds no colours; {remedy}")
    else:
        pairs = dict(pair.partition("=")[::2] for pair in text.split(","))
    table = distinct().copy()
    for number, colour in pairs.items():
        try:
            assert 1 <= int(number) <= 254
            table[int(number)] = ImageColor.getrgb(str(colour).strip())[:3]
        except (ValueError, AssertionError):
            raise UserError(f"colour {number}={colour} is not known; {remedy}, objects 1 to 254") from None
    return table


def blend(
    frame: np.ndarray, labels: np.ndarray, *, opacity: float = 0.5, palette: np.ndarray | None = None
) -> np.ndarray:
    """The frame uint8 (H, W, 3) with objects tinted in their colours and a line around each; same shape."""
    tinted = (1 - opacity) * frame + opacity * colours(labels, palette) + 0.5
    inside = np.where((labels > 0)[..., None], tinted.astype(np.uint8), frame)
    return contour(inside, labels, thickness=1, palette=palette)


def contour(
    frame: np.ndarray,
    labels: np.ndarray,
    *,
    thickness: int | None = None,
    palette: np.ndarray | None = None,
) -> np.ndarray:
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
    return np.where((line & (labels > 0))[..., None], colours(labels, palette), frame)


def tint(frame: np.ndarray, labels: np.ndarray, *, palette: np.ndarray | None = None) -> np.ndarray:
    """Half frame, half colour, black without an object: STM-Cycle's published `segmentation` picture."""
    return _half(frame, colours(labels, palette))


def flat(frame: np.ndarray, labels: np.ndarray, *, palette: np.ndarray | None = None) -> np.ndarray:
    """All objects in their colours on black; the frame is not seen."""
    return colours(labels, palette)


def first_object(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`tint` of id 1 alone: the published `mask` picture of STM-Cycle."""
    return tint(frame, (labels == 1).astype(np.uint8))


def rimmed(
    frame: np.ndarray, labels: np.ndarray, *, opacity: float = 0.6, palette: np.ndarray | None = None
) -> np.ndarray:
    """Paint objects, each in a black line one pixel wide: the published picture of AFB-URR.

    As published the smallest label of the picture stays unpainted, whatever it is, and a later object covers
    earlier lines.
    """
    painted = ((1 - opacity) * frame + opacity * colours(labels, palette)).astype(np.uint8)
    result = frame.copy()
    for label in np.unique(labels)[1:]:
        inside = labels == label
        result[inside] = painted[inside]
        grown = np.pad(inside, 1)
        grown = grown[1:-1, 1:-1] | grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
        result[grown & ~inside] = 0
    return result


def heatmap(frame: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Half frame, half a map from blue (least) to red (most): STM-Cycle's published `heatmap` picture.

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
STYLES: dict[str, Callable[..., np.ndarray]] = {
    "blend": blend,
    "contour": contour,
    "mask": flat,
    "segmentation": tint,
    "first": first_object,
    "rim": rimmed,
}
# the last two are drawn from what a segmenter knows besides labels
OVERLAY_STYLES = (*STYLES, "heatmap", "erf")


@dataclass(frozen=True)
class Look:
    """How masks are drawn over frames.

    style: one of STYLES. opacity: of the colours, 0 to 1; None is the style's own. palette: uint8 (256, 3),
    see `read_colours`; None is `distinct`. Raises UserError for an opacity outside, or in a style without.
    """

    style: str = "blend"
    opacity: float | None = None
    palette: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.style not in OVERLAY_STYLES:
            raise UserError(
                f"overlay style {self.style} is not known; use one of {', '.join(OVERLAY_STYLES)}"
            )
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise UserError(f"opacity {self.opacity} is not known; give a number from 0 to 1")
        for name, value in (("opacity", self.opacity), ("colours", self.palette)):
            if value is not None and name.replace("colours", "palette") not in self._takes():
                raise UserError(f"overlay style {self.style} has no {name} to choose; use blend")

    def draw(self, frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the picture, uint8 (H, W, 3), of a frame and its label map."""
        chosen = {"opacity": self.opacity, "palette": self.palette}
        return STYLES[self.style](frame, labels, **{k: v for k, v in chosen.items() if v is not None})

    def _takes(self) -> set[str]:
        return set(inspect.signature(STYLES[self.style]).parameters) if self.style in STYLES else set()


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
