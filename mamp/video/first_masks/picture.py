"""An image file or array as flat rows of colours: each pixel's colour, and where it is transparent."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mamp.core.errors import UserError, first_line
from mamp.core.texts import refuse_special
from mamp.video.first_masks.unblur import unblurred
from mamp.video.images import open_image
from mamp.video.masks import LABEL_MAP

_BLOCK = 2**21  # pixels worked on at a time, so that a very large picture takes no gigabytes
_LARGE = 2**24  # pixels; a picture of so many colours that it is soft is read at no more than this
_MANY_COLOURS = 4096  # more than any picture that is painted in flat colours has
_ANY = "an image, or a labelme, COCO, YOLO or .npy file"
_ORIENTATION = 0x0112  # of EXIF
_WEB = frozenset(itertools.product(range(0, 256, 51), repeat=3))  # palettes of programs have all of them
SOFT, UNBLURRED = "soft edges are cut at the half", "its blur is undone"  # notes
CLEAR = 1 << 24  # the code of a transparent pixel, beside the colours 0xRRGGBB


@dataclass
class Picture:
    """The colours of a picture's pixels.

    rows: (H, W) which row of `table` a pixel has. table: (n, 3) uint8 colours, or (n,) uint16 greys.
    clear: the row of transparent pixels, or None. numbers: of a palette picture, (n,) the palette index of
    each row; for transparent pixels -1 - the index that most of them have. notes: what was done to read it,
    in words. size: (H, W) of the file, where it was read smaller.
    exact: its greys are object numbers for sure.
    """

    rows: np.ndarray
    table: np.ndarray
    clear: int | None = None
    numbers: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    exact: bool = False

    @property
    def grey(self) -> bool:
        """Whether it has greys, and no colour."""
        return self.table.ndim == 1


def open_picture(file: Path | bytes, name: str, *, size: tuple[int, int] | None = None) -> Picture:
    """Return the picture of an image file or its bytes, upright; a much larger one may be reduced to `size`.

    Raises UserError, naming it `name`, when it is no image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image, notes = _decoded(file, name)
    picture = from_image(image, name, size=size)
    picture.notes[:0] = notes
    picture.exact = image.info.get(LABEL_MAP[0]) == LABEL_MAP[1] and picture.grey
    return picture


def _decoded(file: Path | bytes, name: str) -> tuple[Image.Image, list[str]]:
    """The image, upright, and what was done to it."""
    notes: list[str] = []
    length = len(file) if isinstance(file, bytes) else file.stat().st_size
    try:
        image: Image.Image = Image.open(io.BytesIO(file)) if isinstance(file, bytes) else open_image(file)
        image.load()
        pictures = getattr(image, "n_frames", 1)
        if (pictures == 1 or image.format == "MPO") and image.getexif().get(_ORIENTATION, 1) not in (0, 1):
            image = ImageOps.exif_transpose(image)
            notes.append("turned as its EXIF says")
    except Image.DecompressionBombError:
        raise UserError(f"mask {name} claims more pixels than any frame has; write it again") from None
    except MemoryError:
        raise
    except Exception:  # Pillow's readers raise whatever they trip over in a damaged file
        raise UserError(
            f"mask {name} is damaged or no image ({length:,} bytes); write it again as a PNG, or give a"
            " labelme, COCO, YOLO or .npy file"
        ) from None
    if pictures > 1 and image.format != "MPO":
        raise UserError(f"mask {name} holds {pictures} pictures; save the one of the first frame")
    return image, notes


def from_image(image: Image.Image, name: str, *, size: tuple[int, int] | None = None) -> Picture:
    """The picture in a decoded image."""
    full = image.size[::-1]
    if size is not None and image.width * image.height > max(_LARGE, 4 * size[0] * size[1]):
        image = _smaller(image, size[0] * size[1])
    clear, note = _transparency(image)
    if image.mode in ("P", "PA"):
        picture = _palette(image, clear)
    elif image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"):
        picture = _greys(image, name, clear)
    elif image.mode == "F":
        return from_array(np.asarray(image), name)
    else:
        picture = _colours(image, clear)
    picture.size = (full[0], full[1])
    if note:
        picture.notes.append(note)
    return picture


def from_array(values: np.ndarray, name: str) -> Picture:
    """The picture in an array: (H, W) truth values, numbers or parts of one, or (H, W, 3 or 4) uint8 colours.

    Raises UserError, naming it `name`, for any other.
    """
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.size and values.ndim == 3 and values.shape[2] in (3, 4) and values.dtype == np.uint8:
        return from_image(Image.fromarray(np.ascontiguousarray(values)), name)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        raise UserError(f"{name} is {values.dtype} {values.shape}; give a (height, width) label map")
    if values.dtype.kind == "f":
        values = _whole_numbers(values, name)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UserError(f"{name} has the id {low if low < 0 else high}; ids are 1 to 65535, 0 is background")
    occurs = np.zeros(65536, bool)
    for band in _bands(*values.shape):
        occurs[values[band].astype(np.int32)] = True
    found = np.flatnonzero(occurs)
    places = np.zeros(65536, _kind(len(found)))
    places[found] = np.arange(len(found))
    rows = np.empty(values.shape, places.dtype)
    for band in _bands(*values.shape):
        rows[band] = places[values[band].astype(np.int32)]
    return Picture(rows, found.astype(np.uint16), size=values.shape)


def _whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Floats that are ids as integers; parts of one as levels of 0 to 255."""
    if not np.isfinite(values).all():
        raise UserError(f"{name} has values that are no numbers; give object numbers")
    if (values == np.rint(values)).all():
        return values.astype(np.int64)
    if values.min() >= 0 and values.max() <= 1:
        return np.rint(values * 255).astype(np.uint8)
    raise UserError(
        f"{name} has values such as {values[values != np.rint(values)][0]:g}; give object numbers, or"
        " probabilities from 0 to 1"
    )


# ---------------------------------------------------------------- kinds of images


def _palette(image: Image.Image, clear: np.ndarray | None) -> Picture:
    bands = image.getchannel(0) if image.mode == "PA" else image
    colours = np.zeros((256, 3), np.uint8)
    given = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    colours[: len(given)] = given

    def codes(block: Image.Image) -> np.ndarray:
        return np.asarray(block, np.uint8).astype(np.int32)

    rows, found = _indexed(bands, codes, clear, 256)
    numbers = found % 256
    table = np.where((found == 256)[:, None], 0, colours[numbers]).astype(np.uint8)
    if clear is not None:
        below = np.bincount(np.asarray(bands)[clear], minlength=256).argmax()
        numbers[found == 256] = -1 - below
    picture = Picture(rows, table, _where(found, 256), numbers)
    if {tuple(colour) for colour in given.tolist()} >= _WEB:
        picture.notes.append("read by its colours, which are those of the web")
        picture.numbers = None
    return picture


def _greys(image: Image.Image, name: str, clear: np.ndarray | None) -> Picture:
    wide = image.mode.startswith("I")
    band = image if wide or image.mode in ("1", "L") else image.getchannel(0)
    if wide:
        low, high = band.getextrema()
        if low < 0 or high > 65535:  # type: ignore[operator]
            raise UserError(f"mask {name} holds ids outside 0..65535; renumber its objects")

    def codes(block: Image.Image) -> np.ndarray:
        values = np.asarray(block)
        return values.astype(np.int32) * (255 if values.dtype == bool else 1)

    rows, found = _indexed(band, codes, clear, 65536)
    if not rows.size:
        return from_image(_smaller(image, _LARGE), name)
    return Picture(rows, np.minimum(found, 65535).astype(np.uint16), _where(found, 65536))


def _colours(image: Image.Image, clear: np.ndarray | None) -> Picture:
    if image.mode not in ("RGB", "RGBA", "RGBX"):
        image = image.convert("RGBA" if image.mode in ("RGBa",) else "RGB")

    def codes(block: Image.Image) -> np.ndarray:
        wide = np.asarray(block)[..., :3].astype(np.int32)
        return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]

    rows, found = _indexed(image, codes, clear, CLEAR)
    if not rows.size:
        return from_image(_smaller(image, _LARGE), "")
    table = np.stack([found >> 16 & 255, found >> 8 & 255, found & 255], 1).astype(np.uint8)
    return without_colour(Picture(rows, table, _where(found, CLEAR)))


def without_colour(picture: Picture) -> Picture:
    """The same picture with greys for colours, where it has no others."""
    spread = np.ptp(picture.table.astype(np.int16), axis=1)
    if picture.clear is not None:
        spread[picture.clear] = 0
    if spread.max(initial=0) > 6:  # what a JPEG makes of grey
        return picture
    levels, place = np.unique(picture.table[:, 1].astype(np.uint16), return_inverse=True)
    clear, numbers = None, None
    if picture.clear is not None:
        place[picture.clear], clear = len(levels), len(levels)
        levels = np.append(levels, np.uint16(0))
    if picture.numbers is not None:
        numbers = np.zeros(len(levels), picture.numbers.dtype)
        numbers[place] = picture.numbers
    rows = _small(place, len(levels))[picture.rows]
    return Picture(rows, levels, clear, numbers, picture.notes, picture.size)


def _smaller(image: Image.Image, pixels: int) -> Image.Image:
    """The image with about so many pixels of it, each as it is."""
    part = (pixels / (image.width * image.height)) ** 0.5
    size = max(1, round(image.width * part)), max(1, round(image.height * part))
    return image.resize(size, Image.Resampling.NEAREST)


# ---------------------------------------------------------------- transparency


def _transparency(image: Image.Image) -> tuple[np.ndarray | None, str]:
    """bool (H, W), True where transparent, None where nothing is; and what was done to soft edges."""
    transparency = image.info.get("transparency")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        alpha = image.getchannel("A" if image.mode in ("LA", "PA", "RGBA") else "a")
        return _cut(alpha)
    if transparency is None:
        return None, ""
    if image.mode == "P":
        levels = np.full(256, 255, np.uint8)
        if isinstance(transparency, bytes):
            levels[: len(transparency)] = list(transparency[:256])
        else:
            levels[int(transparency)] = 0
        return _cut(image.point(levels.tolist(), "L"))
    if image.mode == "RGB" and isinstance(transparency, tuple):
        wanted = np.array(transparency[:3])
        return _or_none(np.concatenate([(b == wanted).all(-1) for b in _blocks(image)])), ""
    if isinstance(transparency, int):
        return _or_none(np.concatenate([np.asarray(b) == transparency for b in _blocks(image)])), ""
    return None, ""


def _cut(alpha: Image.Image) -> tuple[np.ndarray | None, str]:
    """Where alpha is under the half of its most, nothing where it is the same everywhere; and a note."""
    low, high = alpha.getextrema()
    if low == high:
        return None if high else np.ones(alpha.size[::-1], bool), ""
    levels = sum(count > 0 for count in alpha.histogram())
    note = SOFT if levels > 2 else ""
    if alpha.width * alpha.height <= _LARGE and levels > 8:
        most = np.float32(high)  # type: ignore[arg-type]
        sharper = unblurred(np.asarray(alpha) / most)
        if sharper is not None:
            return ~sharper, UNBLURRED
    half = (int(high) + 1) // 2  # type: ignore[arg-type]
    return _or_none(np.concatenate([b < half for b in _blocks(alpha)])), note


def _or_none(clear: np.ndarray) -> np.ndarray | None:
    return clear if clear.any() else None


# ---------------------------------------------------------------- rows of a table


def _bands(height: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(width, 1))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _blocks(image: Image.Image) -> Iterator[np.ndarray]:
    for band in _bands(image.height, image.width):
        yield np.asarray(image.crop((0, band.start, image.width, band.stop)))


def _indexed(
    image: Image.Image, codes: Callable[[Any], np.ndarray], clear: np.ndarray | None, clear_code: int
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) place of each pixel's code among those that occur, and these, ascending.

    No places of a very large picture with more colours than a painted one has.
    """

    def coded(band: slice) -> np.ndarray:
        block = codes(image.crop((0, band.start, image.width, band.stop)))
        if clear is not None:
            block[clear[band]] = clear_code
        return block

    occurs = np.zeros(clear_code + 1, bool)
    for band in _bands(image.height, image.width):
        occurs[coded(band)] = True
    found = np.flatnonzero(occurs)
    if len(found) > _MANY_COLOURS and image.width * image.height > _LARGE:
        return np.empty((0, 0), np.uint8), found
    places = np.zeros(clear_code + 1, _kind(len(found)))
    places[found] = np.arange(len(found))
    rows = np.empty((image.height, image.width), places.dtype)
    for band in _bands(image.height, image.width):
        rows[band] = places[coded(band)]
    return rows, found


def _where(found: np.ndarray, code: int) -> int | None:
    return len(found) - 1 if len(found) and found[-1] == code else None


def _kind(count: int) -> Any:
    return np.uint8 if count <= 256 else np.uint16 if count <= 65536 else np.int32


def _small(rows: np.ndarray, count: int) -> np.ndarray:
    return rows.astype(_kind(count))


def read_bytes(path: Path, most: int = -1) -> bytes:
    """A mask file's bytes, all or the first `most`; UserError when it cannot be opened."""
    try:
        refuse_special(path)
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise UserError(f"mask {path} does not exist; give {_ANY}") from None
    except OSError as error:
        raise UserError(f"mask {path} cannot be opened ({first_line(error)}); give {_ANY}") from None
