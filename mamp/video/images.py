"""One image file -> uint8 RGB pixels, upright."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mamp.core.errors import UserError, first_line
from mamp.core.texts import refuse_special
from mamp.video.masks import bands

OR_ELSE = "or set data.bad_frame (training) or evaluate.bad_frame to skip or repeat"
_ORIENTATION = 0x0112  # EXIF: 5 and more lie on their side
_REMEDY = f"re-extract it, {OR_ELSE}"
_HEIF = frozenset({".heic", ".heif"})
_NO_HEIF = "is a HEIC image, which Pillow reads with the package pillow-heif; install that, or export JPEG"


class BadFrame(UserError):
    """One frame cannot be read; the rest of the video may be fine."""


def read_image(path: Path) -> np.ndarray:
    """One image as uint8 (H, W, 3) RGB, upright; 16-bit grey is scaled to 8 bits, transparency is dropped.

    Raises BadFrame naming the file and the remedy.
    """
    return _read_image(path, None)[0]


def read_scaled(path: Path, at_least: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Read as `read_image`, a JPEG as small as its decoder gives it with both sides >= at_least.

    Also returns its own (height, width).
    """
    return _read_image(path, at_least)


def _read_image(path: Path, at_least: int | None) -> tuple[np.ndarray, tuple[int, int]]:
    try:
        with open_image(path) as image:
            width, height = image.size
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image), (width, height) if turned else (height, width)
    except (FileNotFoundError, PermissionError) as error:
        raise BadFrame(f"{path} cannot be opened ({first_line(error)}); {_REMEDY}") from None
    except Image.DecompressionBombError:
        raise BadFrame(f"{path} claims more pixels than any frame has; {_REMEDY}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they trip over in a damaged file
        raise BadFrame(_why(path, error)) from None


def open_image(path: Path) -> Image.Image:
    """Open an image as Pillow does, also HEIC where the package pillow-heif is installed."""
    if path.suffix.lower() in _HEIF:
        with contextlib.suppress(ImportError):
            import pillow_heif  # type: ignore[import-not-found]

            pillow_heif.register_heif_opener()
    refuse_special(path)
    image = Image.open(path)
    if image.format == "TIFF":
        image.filename = ""  # Pillow 13 maps uncompressed ones into memory with their sides exchanged
    return image


def upright_size(path: Path) -> tuple[int, int] | None:
    """(height, width) that an image's header promises, turned as EXIF says; None where it cannot be read."""
    try:
        with open_image(path) as image:
            width, height = image.size
            # JPEG and PNG have EXIF before the pixels; others are asked when they are read
            turned = image.format in ("JPEG", "MPO") and image.getexif().get(_ORIENTATION, 1) >= 5
            return (width, height) if turned else (height, width)
    except Exception:  # a damaged file, which is met again when its frame is read
        return None


def _why(path: Path, error: Exception) -> str:
    if path.suffix.lower() in _HEIF and isinstance(error, UnidentifiedImageError):
        return f"{path} {_NO_HEIF}"
    try:
        refuse_special(path)
        size = path.stat().st_size
    except OSError as other:
        return f"{path} cannot be opened ({first_line(other)}); {_REMEDY}"
    if size == 0:
        return f"{path} is empty; {_REMEDY}"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return f"{path} is cut short after {size:,} bytes; {_REMEDY}"
    return f"{path} cannot be read as an image; {_REMEDY}"


def to_rgb(image: Image.Image) -> np.ndarray:
    """The pixels of an image in any mode, uint8 (H, W, 3); 16-bit grey is scaled, transparency is dropped."""
    if image.mode.startswith("I"):
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        grey = ((wide + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    pixels = np.empty((*image.size[::-1], 3), np.uint8)
    for rows, band in bands(image if image.mode == "RGB" else image.convert("RGB")):
        pixels[rows] = band  # a large picture is not held a third time
    return pixels
