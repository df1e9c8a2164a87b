"""What a mask's file says of its size, held against the frame before anything of that size is made."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import UserError, first_line

_MOST_PIXELS = 2**25  # of a label map in an array; a frame of 8K has fewer
_MOST_BYTES = 2**30  # of an array, with all its layers
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def refuse_other_shape(claimed: tuple[int, int], size: tuple[int, int], name: str) -> None:
    """UserError, naming the mask, where a mask (H, W) is of another shape than its frame."""
    if not _same_shape(claimed, size):
        exchanged = _same_shape(claimed[::-1], size)
        turned = " (width and height are exchanged: turned, or squeezed?)" if exchanged else ""
        raise UserError(
            f"{name} is {by(claimed)} pixels and its frame {by(size)}{turned}; give a mask of the frame's"
            " size, or of its shape"
        )


def _same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether both are of one shape, up to a pixel in the smaller one."""
    (h, w), (height, width) = sorted((size, other))
    return min(abs(h - height * w / width), abs(w - width * h / height)) <= 1


def by(size: tuple[int, ...]) -> str:
    """(H, W) as `WIDTHxHEIGHT`."""
    return f"{size[1]}x{size[0]}"


def load_array(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """The array in a .npy file, or the one in an .npz. size: (H, W) of the frame.

    Raises UserError for a damaged file, for values that are no numbers, and for a shape that is not the
    frame's or too large.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if len(members) != 1:
                    raise ValueError(f"it holds {len(members)} arrays")
                with archive.open(members[0]) as file:
                    _refuse_claim(file, members[0].file_size, path, size)
                with archive.open(members[0]) as file:
                    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        with path.open("rb") as file:
            _refuse_claim(file, path.stat().st_size, path, size)
        return np.asarray(np.load(path, allow_pickle=False))
    except (MemoryError, UserError):
        raise
    except Exception as error:  # numpy's reader raises whatever it trips over in a damaged file
        raise UserError(
            f"mask {path} is no array that can be read ({first_line(error)}); save it with numpy.save"
        ) from None


def _refuse_claim(file: Any, length: int, path: Path, size: tuple[int, int] | None) -> None:
    """UserError or ValueError for the header of an array that no mask has; length: bytes of the file."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError("it is of an unknown form")
    shape, _, kind = _HEADERS[version](file)
    if kind.kind not in "buif":
        raise UserError(f"mask {path} is {kind} {shape}; give a (height, width) label map")
    count = math.prod(shape)
    if count * kind.itemsize > length:
        raise ValueError(f"it has {length:,} bytes, fewer than an array of {shape}")
    sides = shape[1:] if len(shape) == 3 and shape[2] not in (1, 3, 4) else shape[:2]
    if len(sides) != 2 or not count:
        return  # which is refused by its shape
    if math.prod(sides) > _MOST_PIXELS or count * kind.itemsize > _MOST_BYTES:
        raise UserError(
            f"mask {path} has {by(sides)} pixels and {count * kind.itemsize / 1e6:,.0f} MB; give a label map"
            " of the frame's size, uint8"
        )
    if size is not None and not (len(shape) == 3 and shape[0] == 1):
        refuse_other_shape(sides, size, f"mask {path}")
