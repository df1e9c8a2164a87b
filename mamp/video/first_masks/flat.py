"""The flat colours of a picture: which pixels have one, which are soft edges, and what is a photograph.

A hard picture has as many classes as colours. In a soft one (blurred, resized, a JPEG, dithered) flat colours
are those of places where nothing changes, and the pixels between them go to the nearest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mamp.core.errors import UserError
from mamp.video.first_masks.picture import SOFT, UNBLURRED, Picture, without_colour
from mamp.video.first_masks.plateaus import (
    Plateaus,
    cut_by_brightness,
    find_plateaus,
    local_nearest,
    outermost,
    unlike_flat,
)
from mamp.video.first_masks.unblur import unblurred_classes
from mamp.video.masks import PALETTE

_BLOCK = 2**21  # pixels worked on at a time
_LARGE = 2**22  # pixels; in a larger soft picture flat colours are sought among so many of them
_SOFT = 0.1  # part of the pixels at edges that are in between above which a picture is soft
_SPECKLED = 0.05  # part of all pixels in colours without any place of their own above which it is dithered
_BROKEN = (
    0.06  # part of neighbours, right and below, that differ in a photograph of few colours; 0.023 in DAVIS
)
_LONE = 0.0005  # part of pixels unlike all their neighbours in such a photograph
_TINY = 4096  # pixels of a picture that is too small to look like a photograph
_NOISE = 24  # levels by which a JPEG's scattered pixels are off at most
_LITTLE_NOISE = 6  # the same where there are few of them
_MOST = 2**20  # colours, more than the noise of a JPEG makes of flat ones
_FEW = 4  # colours below which speckles are no sign of a photograph
_SHADES = 64  # greys of the DAVIS palette above which they may be those of a photograph
_DARK_16 = 16384  # the same of 16-bit greys, above 255
_DARK = 64  # greys all below it are object numbers, soft or not

_BEYOND = 1.6  # times the way from the background to a flat colour that pixels may go at most
_ALIKE_COLOURS = 30.0  # condition of the colours above which their mixtures look alike
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)  # as JPEG has it


@dataclass
class Flat:
    """The classes of a picture.

    labels: (H, W) class of each pixel. colours: (K, 3) or, of greys, (K,). clear: the class of transparent
    pixels,
    or None. numbers: (K,) palette indices, where each class is one. soft: whether edges were cut. notes: in
    words.
    """

    labels: np.ndarray
    colours: np.ndarray
    clear: int | None = None
    numbers: np.ndarray | None = None
    soft: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass
class _Habits:
    """How pixels of each row of a picture's table lie, as counts.

    All; in a solid place; between neighbours' colours. Of the whole picture: at edges; unlike all neighbours.
    """

    all: np.ndarray
    solid: np.ndarray
    between: np.ndarray
    edges: int = 0
    lone: int = 0


class Photograph(UserError):
    """A picture that is no mask."""


def flat_colours(picture: Picture, name: str) -> Flat:
    """The classes of a picture; UserError, naming it `name`, for a photograph that is not cut out."""
    colours = len(picture.table) - (picture.clear is not None)
    if colours <= 2 or _is_davis(picture):
        return _as_they_are(picture)
    try:
        return _classes(picture, name, colours)
    except Photograph:
        if picture.clear is None:
            raise
        labels = (picture.rows != picture.clear).astype(np.uint8)
        notes = [*picture.notes, "a photograph; what is not transparent is the object"]
        return Flat(labels, np.array([0, 255], np.uint16), clear=0, notes=notes)


def _classes(picture: Picture, name: str, colours: int) -> Flat:
    """The classes of a picture of several colours, hard or soft; Photograph when it is one."""
    if colours > _MOST:
        raise _photograph(name, colours)
    habits = _habits(picture)
    if picture.clear is not None and _is_photograph(picture, habits):
        raise _photograph(name, colours)
    rims = (habits.between >= 0.5 * habits.all) & (habits.solid <= 0.35 * habits.all)
    soft = rims.any() and habits.all[rims].sum() >= _SOFT * habits.edges
    soft = soft or _specked(picture, habits)
    dithered = _dithered(picture.rows, habits)
    dark = _is_dark(picture)
    if dark or not (soft or dithered):
        if colours > _FEW and _in_pieces(picture.rows, habits):
            raise _photograph(name, colours, " in small pieces")
        return _hard(picture, habits, rims)
    return _soft(picture, name, dithered=dithered and not soft)


def _is_photograph(picture: Picture, habits: _Habits) -> bool:
    """Whether most pixels that are not transparent have colours of their own."""
    seen = int((picture.rows != picture.clear).sum())
    colours = len(picture.table) - 1
    return colours > 256 and colours > 0.1 * seen and habits.lone > 0.5 * seen


def _dithered(rows: np.ndarray, habits: _Habits) -> bool:
    """Whether colours without a place of their own have much of the picture, or lie among each other."""
    speckled = (habits.solid < 0.1 * habits.all) & (habits.between < 0.5 * habits.all) & (habits.all >= 64)
    count = int(habits.all[speckled].sum())
    if count >= _SPECKLED * rows.size:
        return True
    if count < max(256, 0.3 * (rows.size - habits.all.max())):
        return False
    loose = speckled[rows]
    mixed = loose[:, 1:] & loose[:, :-1] & (rows[:, 1:] != rows[:, :-1])
    return bool(mixed.sum() >= 0.3 * count)


def _is_davis(picture: Picture) -> bool:
    """Whether each palette number has its DAVIS colour, and the greys among them are objects, not shades."""
    if picture.numbers is None or (picture.table != PALETTE[picture.numbers])[picture.numbers >= 0].any():
        return False
    rows = picture.rows
    flat = (rows[:, 1:] == rows[:, :-1]).mean() if rows.shape[1] > 1 else 1.0
    return bool((picture.numbers >= 22).sum() <= _SHADES or rows.size < _TINY or flat >= 0.5)


def _as_they_are(picture: Picture) -> Flat:
    return Flat(picture.rows, picture.table, picture.clear, picture.numbers, notes=list(picture.notes))


def _is_dark(picture: Picture) -> bool:
    """Whether all greys are so low that they are object numbers, soft edges or not."""
    most = int(picture.table.max(initial=0))
    return picture.grey and (most < _DARK or 255 < most < _DARK_16)


def _specked(picture: Picture, habits: _Habits) -> bool:
    """Whether most colours are scattered pixels near few colours that have places: a JPEG of high quality."""
    solid = habits.solid > 0.25 * habits.all
    loose = habits.solid <= 0.2 * habits.all
    if not 0 < solid.sum() <= 64 or not loose.any():
        return False
    table = picture.table.reshape(len(picture.table), -1).astype(np.int64)
    scale = 257 if table.max() > 255 else 1
    if loose.sum() >= 4096:
        return bool(loose.sum() >= solid.sum())
    off = _nearest_off(table, solid)
    if (
        off[loose] > _NOISE * scale
    ).any():  # a thin object has no solid place: its most frequent colour counts
        far = np.where(loose & (off > _NOISE * scale), habits.all, 0)
        solid[far.argmax()], loose[far.argmax()] = True, False
        off = _nearest_off(table, solid)
    many = loose.sum() >= max(3, solid.sum())
    return bool(loose.any() and (off[loose] <= (_NOISE if many else _LITTLE_NOISE) * scale).all())


def _nearest_off(table: np.ndarray, among: np.ndarray) -> np.ndarray:
    """How far each colour is from the nearest of some of them, in the channel where it is most."""
    return np.asarray(np.abs(table[:, None] - table[among][None]).max(-1).min(1))


def _in_pieces(rows: np.ndarray, habits: _Habits) -> bool:
    """Whether colours lie in small pieces and single pixels, and no few of them have most of the picture."""
    if rows.size < _TINY or np.sort(habits.all)[-_FEW:].sum() >= 0.98 * rows.size:
        return False
    changes = (rows[:, 1:] != rows[:, :-1]).mean() + (rows[1:] != rows[:-1]).mean()
    return bool(changes > _BROKEN and habits.lone > _LONE * rows.size)


def _hard(picture: Picture, habits: _Habits, rims: np.ndarray) -> Flat:
    """Each colour a class, but those of single pixels that smooth a corner."""
    corner = (habits.between >= 0.9 * habits.all) & (habits.solid == 0)
    if _is_dark(picture):
        corner = corner & bool(habits.all[rims].sum() >= _SOFT * habits.edges)  # numbers of objects, resized
    keep = ~corner
    if picture.clear is not None:
        keep[picture.clear] = True
    if keep.all() or keep.sum() < 2:
        return _as_they_are(picture)
    kept = np.flatnonzero(keep)
    clear = None if picture.clear is None else int(np.searchsorted(kept, picture.clear))
    plateaus = Plateaus(picture.table[kept].reshape(len(kept), -1).astype(np.float32), clear)
    small = np.full(len(keep), len(kept), np.int32)
    small[kept] = np.arange(len(kept))
    known = small[picture.rows]
    labels = local_nearest(_values(picture), known, plateaus)
    numbers = None if picture.numbers is None else picture.numbers[kept]
    notes = [*picture.notes, "smoothed corners are left out"]
    return Flat(labels, picture.table[kept], clear, numbers, notes=notes)


def _soft(picture: Picture, name: str, *, dithered: bool) -> Flat:
    """The flat colours of a picture with soft edges, and the nearest of them for each pixel."""
    picture = _in_255(picture)
    every = max(1, int((picture.rows.size / _LARGE) ** 0.5 + 0.999))
    part = Picture(picture.rows[::every, ::every], picture.table, picture.clear)
    values = _values(part)
    clear = None if part.clear is None else part.rows == part.clear
    if dithered:
        values = _smoothed(_smoothed(values))
    plateaus, known = find_plateaus(values, clear)
    labels = local_nearest(values, known, plateaus)
    if reason := unlike_flat(values, labels, plateaus, noise=24.0 if dithered else 16.0):
        raise _photograph(name, len(picture.table), reason)
    note = "dithered colours are joined" if dithered else SOFT
    if len(plateaus.opaque()) + (clear is not None) > 2 and not dithered:
        note = "soft edges go to the nearest flat colour"
    fewer = None if dithered or clear is not None else _without_blur(values, plateaus.colours)
    if fewer is not None:
        labels, plateaus, note = fewer[0], Plateaus(fewer[1]), UNBLURRED
    elif len(plateaus.colours) == 2 and clear is None:
        labels = (_level(values, plateaus.colours) > 0.5).astype(np.uint8)
    elif values.shape[2] == 3 and clear is None and not dithered:
        labels = cut_by_brightness(values @ _BRIGHTNESS, labels, plateaus.colours @ _BRIGHTNESS)
    if every > 1:
        labels = _by_row(picture, plateaus)[picture.rows]
    colours = np.rint(plateaus.colours).clip(0, 65535).astype(picture.table.dtype)
    colours = colours[:, 0] if picture.grey else colours
    return Flat(labels, colours, plateaus.clear, soft=True, notes=[*picture.notes, note])


def _in_255(picture: Picture) -> Picture:
    """The picture by its colours, 16-bit greys brought to 8 bits."""
    if not picture.grey:
        return picture if picture.numbers is None else without_colour(picture)
    most = int(picture.table.max())
    if most <= 255:
        return picture
    table = np.rint(picture.table * (255 / most)).astype(np.uint16)
    return Picture(picture.rows, table, picture.clear, picture.numbers, picture.notes, picture.size)


def _level(values: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """How far each pixel is on the way from the first of two colours to the second, in [0, 1].

    By brightness where the two differ in it, which a JPEG keeps sharper than hue.
    """
    if values.shape[2] == 3 and abs(float((colours[1] - colours[0]) @ _BRIGHTNESS)) >= 24:
        values, colours = values @ _BRIGHTNESS[:, None], colours @ _BRIGHTNESS[:, None]
    way = colours[1] - colours[0]
    return (((values - colours[0]) @ way) / (way @ way)).clip(0, 1)


def _without_blur(values: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The classes (H, W) of a blurred picture and their colours, where a blur explains it; else None.

    A blur makes flat places of colours between two others, so those of them that it explains are left out.
    """
    ends = _reached(values, colours[outermost(colours)])
    if len(ends) == 2:
        level = _level(values, ends)
        labels = unblurred_classes(np.stack([1 - level, level]))
    else:
        parts = _parts(values, ends)
        labels = None if parts is None else unblurred_classes(parts)
    return None if labels is None else (labels.astype(np.uint8), ends)


def _reached(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The colours, each as far from the background's as pixels come: as a thin thing has its own in few."""
    near = [int((np.abs(values - colour).max(-1) <= 8).sum()) for colour in ends]
    ground = ends[int(np.argmax(near))]
    found = ends.copy()
    for k, colour in enumerate(ends):
        way = colour - ground
        if not way.any():
            continue
        along = ((values - ground) @ way) / (way @ way)
        beyond = along > 1
        off = np.abs(values[beyond] - ground - along[beyond][:, None] * way).max(-1)
        most = min(float(along[beyond][off <= 4].max(initial=1.0)), _BEYOND)
        found[k] = (ground + most * way).clip(0, 255)
    return found.astype(np.float32)


def _parts(values: np.ndarray, colours: np.ndarray) -> np.ndarray | None:
    """(K, H, W) how much of each colour is in a pixel; None where that is not sure."""
    system = np.concatenate([colours.T / 255, np.ones((1, len(colours)), np.float32)])
    if not 2 < len(colours) <= len(system) or np.linalg.cond(system) > _ALIKE_COLOURS:
        return None
    mixed = np.concatenate([values / 255, np.ones((*values.shape[:2], 1), np.float32)], axis=2)
    parts = (mixed @ np.linalg.pinv(system).T).clip(0, 1)
    parts /= parts.sum(2, keepdims=True).clip(1e-6)
    return np.asarray(parts.transpose(2, 0, 1))


def _by_row(picture: Picture, plateaus: Plateaus) -> np.ndarray:
    """The class of each row of the table: its nearest flat colour."""
    table = picture.table.reshape(len(picture.table), -1).astype(np.float32)
    nearest = plateaus.nearest(table)
    if picture.clear is not None and plateaus.clear is not None:
        nearest[picture.clear] = plateaus.clear
    return nearest.astype(np.uint8)


def _values(picture: Picture) -> np.ndarray:
    """float32 (H, W, C), in 0 to 255."""
    table = picture.table.reshape(len(picture.table), -1).astype(np.float32)
    return table[picture.rows]


def _photograph(name: str, colours: int, reason: str = "") -> Photograph:
    return Photograph(
        f"mask {name} looks like a photograph: {colours:,} colours{reason}; save the layer of"
        " paint alone, without the frame under it, or give a picture of object numbers"
    )


def _smoothed(values: np.ndarray) -> np.ndarray:
    """The mean of 3 x 3 pixels."""
    for axis in (0, 1):
        wide = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        size = values.shape[axis]
        values = np.sum([np.take(wide, range(i, i + size), axis) for i in range(3)], axis=0) / 3
    return values


# ---------------------------------------------------------------- how pixels lie


def _habits(picture: Picture) -> _Habits:
    count = len(picture.table)
    zeros = [np.zeros(count, np.int64) for _ in range(3)]
    habits = _Habits(*zeros)  # type: ignore[arg-type]
    most = int(picture.table.max(initial=0))
    step = 1 if _is_dark(picture) else 8 if most <= 255 else most // 32
    for padded in _padded_blocks(picture.rows):
        own = padded[1:-1, 1:-1]
        habits.all += np.bincount(own.ravel(), minlength=count)
        habits.solid += np.bincount(own[_solid(padded)], minlength=count)
        edge, between = _between(picture.table, padded, step)
        habits.between += np.bincount(own[between], minlength=count)
        habits.edges += int(edge.sum())
        alike = (
            (own == padded[:-2, 1:-1])
            | (own == padded[2:, 1:-1])
            | (own == padded[1:-1, :-2])
            | (own == padded[1:-1, 2:])
        )
        habits.lone += int((~alike).sum())
    return habits


def _padded_blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """The picture in bands, each with one pixel more on every side."""
    step = max(1, _BLOCK // rows.shape[1])
    for top in range(0, len(rows), step):
        below = min(top + step, len(rows))
        band = rows[max(top - 1, 0) : below + 1]
        above = (int(top == 0), int(below == len(rows)))
        yield np.pad(band, (above, (1, 1)), mode="edge")


def _solid(padded: np.ndarray) -> np.ndarray:
    """Whether a pixel is the upper left of four of one colour; the edge repeated does not count."""
    own = padded[1:-1, 1:-1]
    solid = (own == padded[2:, 1:-1]) & (own == padded[1:-1, 2:]) & (own == padded[2:, 2:])
    solid[:, -1] = False
    return solid


def _between(table: np.ndarray, padded: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels whose 3 x 3 neighbourhood spans more than `step`; those whose colour lies in that span."""
    channels = table.reshape(len(table), -1).astype(np.int32)
    edge = np.zeros((padded.shape[0] - 2, padded.shape[1] - 2), bool)
    outside = edge.copy()
    for channel in channels.T:
        value = channel[padded]
        low, high = _extremes(value)
        own, wide = value[1:-1, 1:-1], high - low > step
        edge |= wide
        outside |= wide & ((own == low) | (own == high))
    return edge, edge & ~outside


def _extremes(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.minimum(np.minimum(value[:-2], value[1:-1]), value[2:])
    high = np.maximum(np.maximum(value[:-2], value[1:-1]), value[2:])
    low = np.minimum(np.minimum(low[:, :-2], low[:, 1:-1]), low[:, 2:])
    high = np.maximum(np.maximum(high[:, :-2], high[:, 1:-1]), high[:, 2:])
    return low, high
