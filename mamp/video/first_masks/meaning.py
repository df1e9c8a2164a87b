"""Which object each colour of a picture is, or each number of its palette."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageColor

from mamp.core.errors import Malformed, UserError, first_line, reason
from mamp.core.terminal import short
from mamp.core.texts import read_json
from mamp.video.first_masks.flat import Flat
from mamp.video.first_masks.summary import counted
from mamp.video.masks import DAVIS_COLOURS, PALETTE

BACKGROUND = 0
_BRIGHT = 64  # a lone grey from here on is how bright the object was painted; below it is an object's number
_BRIGHT_16 = 16384  # the same in a 16-bit picture
_ALIKE = 24  # levels of 255 by which a colour may be off and still be the one that is meant
_COLOURED = 22  # colours of the DAVIS palette before its greys
_MOST_NUMBERS = 64  # a palette number above it stands for a colour, not for an object


@dataclass
class Colours:
    """Which object a colour is. State: the colours met, so that one colour is one object in a video.

    fixed: whether it was given by the user, and no colour may be added.
    """

    numbers: dict[tuple[int, ...], int] = field(default_factory=dict)
    fixed: bool = False


@dataclass
class Meaning:
    """ids: (K,) the object of each class, 0 for background. notes and warnings: in words."""

    ids: np.ndarray
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def meaning(flat: Flat, name: str, colours: Colours) -> Meaning:
    """Return which object each class of `flat` is.

    Raises UserError, naming it `name`, for a colour that was not given.
    """
    counts = counted(flat.labels, len(flat.colours))
    if colours.fixed:
        return _as_given(flat, counts, name, colours)
    if flat.numbers is not None and _palette_holds(flat, counts):
        ids = np.where(flat.numbers < 0, BACKGROUND, flat.numbers)
        return Meaning(_lone_number(ids, flat))
    if not np.ptp(_rgb(flat.colours), axis=1).any():
        found = _greys(replace(flat, colours=_rgb(flat.colours)[:, 1]), counts)
    else:
        found = _davis(flat) or _numbered(flat, counts, colours)
    if flat.numbers is not None and _reordered(flat, found.ids):
        found.notes.append("read by its colours, which the numbers of its palette contradict")
    return found


# ---------------------------------------------------------------- palettes


def _palette_holds(flat: Flat, counts: np.ndarray) -> bool:
    """Whether the numbers of a palette picture are object numbers: its colours do not say otherwise."""
    assert flat.numbers is not None
    used = np.array([k for k in range(len(flat.colours)) if k != flat.clear and counts[k]], np.int64)
    if not len(used):
        return True
    numbers, colours = flat.numbers[used], _rgb(flat.colours)[used]
    if (np.abs(colours - PALETTE[numbers]) <= 1).all() or _davis_ids(colours) == numbers.tolist():
        return True
    if len(np.unique(colours, axis=0)) < len(used):
        return True  # colours that are the same cannot say more than the numbers
    if _davis_ids(colours) is not None or numbers.max() >= _MOST_NUMBERS:
        return False
    if not np.ptp(colours, axis=1).any() and (np.diff(colours[np.argsort(numbers), 0]) < 0).any():
        return False  # greys in another order
    if flat.clear is not None:
        return bool(flat.numbers[flat.clear] == -1) and 0 not in numbers
    ground = _background(flat, counts)
    return bool(flat.numbers[ground] == 0 if ground is not None else numbers[0] == 0)


def _lone_number(ids: np.ndarray, flat: Flat) -> np.ndarray:
    """0 and 255 alone are one object, as DAVIS-2016 has it."""
    assert flat.numbers is not None
    return np.where(ids == 255, 1, ids) if set(ids.tolist()) <= {0, 255} else ids


def _reordered(flat: Flat, ids: np.ndarray) -> bool:
    assert flat.numbers is not None
    return bool((np.where(flat.numbers < 0, 0, flat.numbers) != ids).any())


# ---------------------------------------------------------------- greys


def _greys(flat: Flat, counts: np.ndarray) -> Meaning:
    levels = flat.colours.astype(np.int64)
    seen = [k for k in range(len(levels)) if k != flat.clear and counts[k]]
    ids = np.array([int(v) for v in levels])
    if flat.clear is not None:
        ids[flat.clear] = BACKGROUND
        if [int(levels[k]) for k in seen] == [0]:
            return _one(flat, seen[0], "black on transparency")
    if flat.soft:
        ids[levels < _ALIKE] = BACKGROUND
    bright = _BRIGHT_16 if levels.max(initial=0) > 255 else _BRIGHT
    objects = [k for k in seen if ids[k] != BACKGROUND]
    ground = _white_ground(levels, seen, objects, flat)
    if ground is not None:
        ids[ground] = BACKGROUND
        objects.remove(ground)
        return _one(flat, objects[0], f"grey {levels[objects[0]]} on white")
    if len(objects) == 1 and (levels[objects[0]] >= bright or levels[objects[0]] == 255):
        note = "" if levels[objects[0]] in (255, 65535) else f"grey {levels[objects[0]]} is object 1"
        return _one(flat, objects[0], note)
    found = Meaning(ids)
    if flat.soft and levels.max(initial=0) >= _BRIGHT and len(objects) > 1:
        for number, k in enumerate(objects, start=1):
            ids[k] = number
        words = ", ".join(f"grey {levels[k]} is object {ids[k]}" for k in objects[:10])
        found.notes.append(words)
    values = {int(levels[k]) for k in objects}
    if any(v >= 250 for v in values) and any(120 <= v <= 136 for v in values):
        found.warnings.append(
            "it has grey 128 beside 255, which is often where the painter was unsure; both are objects here,"
            " so paint one over if they are one"
        )
    return found


def _white_ground(levels: np.ndarray, seen: list[int], objects: list[int], flat: Flat) -> int | None:
    """The white class, where a picture has white and one grey and no black: a grey object on white."""
    if flat.clear is not None or len(seen) != 2 or len(objects) != 2:
        return None
    white = max(seen, key=lambda k: levels[k])
    other = min(seen, key=lambda k: levels[k])
    least = 250 if flat.soft else 255 if levels[white] <= 255 else 65535
    return white if levels[white] >= least and levels[other] >= _ALIKE else None


def _one(flat: Flat, which: int, note: str = "") -> Meaning:
    ids = np.zeros(len(flat.colours), np.int64)
    ids[which] = 1
    return Meaning(ids, [note] if note else [])


# ---------------------------------------------------------------- colours


def _davis(flat: Flat) -> Meaning | None:
    """The ids of colours that are all of the DAVIS palette; None where some are not."""
    colours = flat.colours.astype(np.int64)
    ids = []
    for k, colour in enumerate(colours):
        number = BACKGROUND if k == flat.clear else _davis_id(colour, _ALIKE if flat.soft else 1)
        if number is None:
            return None
        ids.append(number)
    if flat.clear is None and BACKGROUND not in ids and 255 in ids:
        ids[ids.index(255)] = BACKGROUND  # objects on white
    return Meaning(np.array(ids))


def _davis_ids(colours: np.ndarray) -> list[int] | None:
    ids = [_davis_id(colour, 1) for colour in colours]
    return None if None in ids else [int(i) for i in ids if i is not None]


def _davis_id(colour: np.ndarray, off: int) -> int | None:
    """The id of a colour of the DAVIS palette; of soft edges its greys are left out."""
    known = DAVIS_COLOURS.get(int(colour[0]) << 16 | int(colour[1]) << 8 | int(colour[2]))
    if known is not None and (known < _COLOURED or known == 255 or off <= 1):
        return known
    far = np.abs(PALETTE[:_COLOURED].astype(np.int64) - colour).max(1)
    return int(far.argmin()) if far.min() <= off else None


def _numbered(flat: Flat, counts: np.ndarray, colours: Colours) -> Meaning:
    """Objects of flat colours of any kind: one is object 1, several are numbered."""
    rgb = _rgb(flat.colours)
    ground = flat.clear if flat.clear is not None else _background(flat, counts)
    used = [k for k in range(len(rgb)) if counts[k] and k not in (ground, flat.clear)]
    if flat.clear is not None and len(used) > 1:
        used = [k for k in used if rgb[k].max() > (_ALIKE if flat.soft else 10)]  # black is background too
    ids = np.zeros(len(rgb), np.int64)
    for k in sorted(used, key=lambda k: _order(rgb[k])):
        ids[k] = _number(rgb[k], colours)
    notes = [f"{_hex(rgb[k])} is object {ids[k]}" for k in sorted(used, key=lambda k: ids[k])]
    if len(used) == 1 and ids[used[0]] == 1:
        notes = []
    if len(notes) > 10:
        notes = [*notes[:10], f"and {len(notes) - 10} more"]
    found = Meaning(ids, [", ".join(notes)] if notes else [])
    if ground is not None and ground != flat.clear and rgb[ground].max() > _ALIKE:
        found.notes.append(f"{_hex(rgb[ground])} is background")
    return found


def _number(colour: np.ndarray, colours: Colours) -> int:
    """The object of a colour: of the same, or nearly, in an earlier picture, or the next free one."""
    for known, number in colours.numbers.items():
        if max(abs(int(a) - int(b)) for a, b in zip(known, colour, strict=True)) <= 10:
            return number
    number = max(colours.numbers.values(), default=0) + 1
    colours.numbers[tuple(int(c) for c in colour)] = number
    return number


def _order(colour: np.ndarray) -> tuple[int, int, list[int]]:
    """Red, green, yellow, blue, ... as DAVIS has them, bright before dark."""
    most = max(int(colour.max()), 1)
    bits = [int(2 * int(c) > most) for c in colour]
    return bits[0] + 2 * bits[1] + 4 * bits[2], -most, colour.tolist()


def _background(flat: Flat, counts: np.ndarray) -> int | None:
    """The class of the background: black, else white, else what holds most corners of the picture."""
    rgb = _rgb(flat.colours)
    used = [k for k in range(len(rgb)) if counts[k] and k != flat.clear]
    if len(used) < 2:
        return used[0] if used and rgb[used[0]].max() <= 10 else None
    near = _ALIKE if flat.soft else 10
    black = min(used, key=lambda k: int(rgb[k].max()))
    white = max(used, key=lambda k: int(rgb[k].min()))
    corners = [int(flat.labels[y, x]) for y in (0, -1) for x in (0, -1)]
    is_black, is_white = rgb[black].max() <= near, rgb[white].min() >= 255 - near
    if is_black and is_white and len(used) > 2 and corners.count(white) == 4:
        return white
    if is_black:
        return black
    if is_white:
        return white
    return max(used, key=lambda k: (corners.count(k), int(counts[k])))


def _rgb(colours: np.ndarray) -> np.ndarray:
    """int64 (K, 3)."""
    wide = colours.astype(np.int64)
    return wide if wide.ndim == 2 else np.repeat(wide[:, None], 3, axis=1)


def _hex(colour: np.ndarray) -> str:
    return "#" + "".join(f"{int(c):02x}" for c in colour)


# ---------------------------------------------------------------- a colour map of one's own


def read_colours(path: Path) -> Colours:
    """Read the objects that a JSON file gives to colours: {"#ff0000": 1, "0,0,255": 2, "128": 3}.

    Also {"1": "#ff0000", "2": [0, 0, 255]}; with names for numbers, objects are numbered in the file's order.
    Colours are #rrggbb, red,green,blue, a list of the three, a name such as "red", or a grey. 0 is
    background.

    Raises UserError when it has another form.
    """
    try:
        content = read_json(path)
        if not isinstance(content, Mapping) or not content:
            raise Malformed("it holds no names and values in braces")
        pairs = _pairs(content)
    except OSError as error:
        raise UserError(
            f"--colours {path} cannot be opened ({first_line(error)}); give a JSON file"
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f'--colours {path} is no map of colours ({reason(error)}); write for example {{"#ff0000": 1,'
            ' "#0000ff": 2}'
        ) from None
    return Colours(pairs, fixed=True)


def _pairs(content: Mapping[str, Any]) -> dict[tuple[int, ...], int]:
    if all(isinstance(v, int) and not isinstance(v, bool) for v in content.values()):
        pairs = {_colour(k): v for k, v in content.items()}
    else:
        numbers = [int(k) if k.strip().isdigit() else None for k in content]
        plain = None in numbers
        pairs = {
            _colour(v): place if plain else int(k) for place, (k, v) in enumerate(content.items(), start=1)
        }
    wrong = [v for v in pairs.values() if not 0 <= v <= 65535]
    if wrong:
        raise Malformed(f"it has object {wrong[0]}; numbers go from 0 to 65535")
    return pairs


def _colour(value: Any) -> tuple[int, ...]:
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    try:
        if isinstance(value, int):
            value = [value] * 3
        elif isinstance(value, str) and "," in value:
            value = [int(c) for c in value.strip("()[] ").split(",")]
        elif isinstance(value, str):
            value = ImageColor.getrgb(value.strip())
        colour = tuple(int(c) for c in value)[:3]
    except (ValueError, TypeError):
        raise Malformed(f"{short(value)} is no colour") from None
    if len(colour) != 3 or not all(0 <= c <= 255 for c in colour):
        raise Malformed(f"{short(value)} is no colour")
    return colour


def _as_given(flat: Flat, counts: np.ndarray, name: str, colours: Colours) -> Meaning:
    """The objects of the user's own colours."""
    rgb = _rgb(flat.colours)
    near = _ALIKE if flat.soft else 2
    ids = np.zeros(len(rgb), np.int64)
    known = np.array(list(colours.numbers), np.int64)
    numbers = list(colours.numbers.values())
    for k in range(len(rgb)):
        if k == flat.clear or not counts[k]:
            continue
        off = np.abs(known - rgb[k]).max(1)
        if off.min() <= near:
            ids[k] = numbers[int(off.argmin())]
        elif rgb[k].max() > near:  # black is background unless it is given
            raise UserError(
                f"mask {name} has the colour {_hex(rgb[k])} in {counts[k]:,} pixels, which the map of colours"
                " lacks; add it there, with 0 for background"
            )
    return Meaning(ids)
