"""Read label maps in every published form, write palette PNGs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mamp.core.errors import UserError, first_line
from mamp.core.files import whole
from mamp.core.texts import refuse_special

_FIRST_COLOURS = (
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128),
    (128, 0, 128), (0, 128, 128), (128, 128, 128),
    (64, 0, 0), (191, 0, 0), (64, 128, 0), (191, 128, 0), (64, 0, 128),
    (191, 0, 128), (64, 128, 128), (191, 128, 128),
    (0, 64, 0), (128, 64, 0), (0, 191, 0), (128, 191, 0), (0, 64, 128), (128, 64, 128),
)  # fmt: skip

# uint8 (256, 3): the colours of the masks that DAVIS publishes
PALETTE = np.array([*_FIRST_COLOURS, *((i, i, i) for i in range(len(_FIRST_COLOURS), 256))], dtype=np.uint8)

LABEL_MAP = ("mamp", "label map")  # a text in 16-bit files, whose greys are ids and not brightness
_LARGEST_PALETTE_ID = 254  # 255 is void in DAVIS
_MOST_GREYS = 64  # a colour image with more distinct greys than this is a photograph, not a mask
_MANY = 64  # ids in a mask above which it may be a photograph
_MANY_SOFT = 8  # ids in a mask that is mostly 255 above which it is one object with soft edges
_BAND = 1 << 20  # pixels of an image that are looked at together
_TINY = 4096  # pixels of an image that is too small to look like a photograph
_LEAST_FLAT = (
    0.5  # part of neighbouring pixels that are equal: over 0.9 in masks of any kind, under 0.4 in photographs
)


def read_mask(path: Path | str, *, size: tuple[int, int] | None = None, void: bool = False) -> np.ndarray:
    """Read the mask of a data set. The ids of the file are kept.

    Palette, grey, grey with alpha, 1-bit and 16-bit grey images are read, and colour images in the colours of
    the DAVIS palette or in black and white. A file with only 0 and 255, as in DAVIS-2016, shows object 1.

    Args:
        path: the image file.
        size: (H, W) that the mask must have; None takes any.
        void: 255 becomes background, as the tools of DAVIS-2017 and Long Videos read truth.

    Returns:
        The label map (H, W), uint8, or uint16 from a 16-bit file.

    Raises:
        UserError: the file is missing, damaged, of another size, or no mask (a photograph, soft edges).
    """
    path = Path(path)
    labels = _labels(path, open_mask(path))
    if size is not None and labels.shape != tuple(size):
        raise UserError(
            f"mask {path} is {labels.shape[1]}x{labels.shape[0]} but its frame is {size[1]}x{size[0]}; give a"
            " mask of the frame's size"
        )
    highest = labels.max(initial=0)  # one quick look spares most masks the rest
    if labels.dtype == np.uint8 and highest > _MANY and labels.size >= _TINY:
        _refuse_picture(path, labels)
    if labels.dtype == np.uint8 and highest == 255:
        if void:
            labels[labels == 255] = 0
        elif ((labels == 0) | (labels == 255)).all():
            labels = (labels == 255).astype(np.uint8)
    return labels


def write_mask(path: Path | str, labels: np.ndarray) -> None:
    """Write a label map as a PNG: in the DAVIS palette up to id 254, as 16-bit grey above.

    The file appears whole or not at all. An existing file is replaced.

    Args:
        path: the PNG to write. Its folder must exist.
        labels: label map (H, W), integers 0 to 65535; 0 is background.

    Raises:
        UserError: the file cannot be written.
    """
    path, info = Path(path), None
    if int(labels.max(initial=0)) <= _LARGEST_PALETTE_ID:
        image = Image.fromarray(labels.astype(np.uint8))
        image.putpalette(PALETTE.tobytes())
    else:
        image = Image.fromarray(labels.astype(np.uint16))
        info = PngInfo()
        info.add_text(*LABEL_MAP)
    with whole(path) as partial:
        image.save(partial, format="PNG", pnginfo=info)


def read_palette_mask(path: Path | str) -> np.ndarray:
    """Read a PNG as benchmark servers take it: palette indices are object ids, in DAVIS colours.

    Returns:
        The label map (H, W), uint8. 255 (void) is kept.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    path = Path(path)
    image = open_mask(path)
    if image.format != "PNG" or image.mode != "P":
        raise UserError(
            f"mask {path} is no palette PNG (format {image.format}, pixels {image.mode}); write it again with"
            " mamp.video.masks.write_mask"
        )
    labels = np.array(image, dtype=np.uint8)
    colours = np.zeros((256, 3), np.int16)
    palette = np.array(image.getpalette("RGB") or [], dtype=np.int16).reshape(-1, 3)
    colours[: len(palette)] = palette
    used = np.flatnonzero(_counts(labels))
    if np.abs(colours[used] - PALETTE[used]).max(initial=0) > 1:  # PASCAL VOC has 192 where DAVIS has 191
        raise UserError(
            f"mask {path} has other colours than the DAVIS palette; write it again with"
            " mamp.video.masks.write_mask"
        )
    return labels


def object_ids(labels: np.ndarray) -> list[int]:
    """Return the object ids in a label map, ascending, without background."""
    return [int(i) for i in np.unique(labels) if i != 0]


def open_mask(path: Path) -> Image.Image:
    """Open and decode a mask's image.

    Raises:
        UserError: it is missing, damaged or a JPEG.
    """
    try:
        refuse_special(path)
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError:
        raise UserError(f"mask {path} does not exist; give the PNG of the masks") from None
    except Image.DecompressionBombError:
        raise UserError(f"mask {path} claims more pixels than any frame has; write it again") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they trip over in a damaged file
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(
                f"mask {path} cannot be opened ({first_line(error)}); give the PNG of the masks"
            ) from None
        raise UserError(
            f"mask {path} is damaged or no image ({path.stat().st_size:,} bytes); write it again as a PNG"
        ) from None
    if image.format == "JPEG":
        raise UserError(f"mask {path} is a JPEG, which blurs labels; write masks as palette PNG")
    return image


def _labels(path: Path, image: Image.Image) -> np.ndarray:
    if image.mode in ("P", "L", "1"):
        return np.array(image, dtype=np.uint8)
    if image.mode in ("LA", "PA"):
        return np.array(image.getchannel(0))
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        if wide.min(initial=0) < 0 or wide.max(initial=0) > 65535:
            raise UserError(f"mask {path} holds ids outside 0..65535; renumber its objects")
        return wide.astype(np.uint16)
    if image.mode in ("RGB", "RGBA"):
        return _from_colours(path, image)
    raise UserError(f"mask {path} has the pixel format {image.mode}; write masks as palette PNG")


def _counts(labels: np.ndarray) -> np.ndarray:
    """How many pixels of uint8 (H, W) have each of 256 values; in parts, as bincount makes int64 of all."""
    flat = labels.reshape(-1)
    parts = (flat[start : start + _BAND] for start in range(0, flat.size, _BAND))
    return sum((np.bincount(part, minlength=256) for part in parts), np.zeros(256, np.int64))


def _refuse_picture(path: Path, labels: np.ndarray) -> None:
    """UserError for greys that are no ids: a photograph, or the soft edges of one white object."""
    counts = _counts(labels)
    many = int((counts > 0).sum())
    if many > _MANY and (labels[:, 1:] == labels[:, :-1]).mean() < _LEAST_FLAT:
        looks = "a photograph"
    elif many > _MANY_SOFT and counts[255] > counts[1:255].sum():
        looks = "a white object with soft edges"
    else:
        return
    raise UserError(
        f"mask {path} holds {many} different greys and looks like {looks}; give a PNG whose pixels are object"
        " numbers, with hard edges"
    )


def _from_colours(path: Path, image: Image.Image) -> np.ndarray:
    """An RGB or RGBA image in colours of the DAVIS palette -> (H, W) ids; transparent pixels are background.

    A band of rows at a time, since the number of a colour takes eight times the memory of an id.
    """
    ids = np.empty(image.size[::-1], np.uint8)
    numbers, seen = _id_of_code(), np.zeros(1 << 24, bool)
    for rows, pixels in bands(image):
        codes = _code(pixels[..., :3])
        if pixels.shape[-1] == 4:
            codes[pixels[..., 3] == 0] = 0
        seen[codes] = True
        ids[rows] = numbers[codes]
    colours = np.flatnonzero(seen)
    strangers = [int(c) for c in colours if int(c) not in DAVIS_COLOURS]
    greys = sum(c >> 16 == c & 255 == c >> 8 & 255 for c in map(int, colours))
    if strangers or greys > _MOST_GREYS:
        raise UserError(
            f"mask {path} is a colour image with {len(colours):,} colours, {len(strangers):,} of them not in"
            " the DAVIS palette: it is a photograph, or painted in other colours; give a PNG whose pixels"
            " are object numbers, or paint in the DAVIS colours (128,0,0 is object 1, 0,128,0 is 2)"
        )
    return ids


def bands(image: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """(rows, pixels (h, W, ...)) of a decoded image, so many rows at a time that one takes a few MB."""
    width, height = image.size
    step = max(1, _BAND // max(1, width))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        yield slice(top, bottom), np.asarray(image.crop((0, top, width, bottom)))


@functools.cache
def _id_of_code() -> np.ndarray:
    """uint8 (2^24,): the id of each colour of the palette; 0 for the others, which are refused."""
    numbers = np.zeros(1 << 24, np.uint8)
    numbers[list(DAVIS_COLOURS)] = list(DAVIS_COLOURS.values())
    return numbers


def _code(colours: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) one number a colour."""
    wide = colours.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _colour_table() -> dict[int, int]:
    """Colour -> id. A colour that is twice in the palette has the lower id; 192 is 191, as in PASCAL VOC."""
    table: dict[int, int] = {}
    for palette in (PALETTE, np.where(PALETTE == 191, 192, PALETTE)):
        for number, code in enumerate(_code(palette)):
            table.setdefault(int(code), number)
    return table


# colour 0xRRGGBB -> id
DAVIS_COLOURS = _colour_table()
