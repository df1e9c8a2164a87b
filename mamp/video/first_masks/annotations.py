"""Masks from files of labelling programs: labelme, COCO and YOLO-segmentation, known by what is in them."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from mamp.core.errors import Malformed, UserError, reason
from mamp.core.terminal import clipped, short
from mamp.core.texts import parse_json
from mamp.video.first_masks.picture import open_picture, read_bytes
from mamp.video.first_masks.shapes import ellipse, filled, run_lengths, runs

Draw = Callable[[tuple[int, int]], np.ndarray]
_MOST = 65535
MOST_PIXELS = 2**27  # of a picture; what is drawn takes a few bytes of each
_OF_NUMBERS = frozenset(b"0123456789.eE+- \t\r\n")
_LEFT_OUT = ("line", "linestrip", "point", "points")  # shapes of labelme without an inside


@dataclass
class Item:
    """One object: its number, what the file calls it, and what draws its parts as bool (H, W)."""

    number: int
    title: str
    parts: list[Draw]


@dataclass
class Annotated:
    """What a file says of one picture. picture: its name without suffix; size: (H, W), where it says so."""

    kind: str
    picture: str = ""
    size: tuple[int, int] | None = None
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parse(path: Path) -> list[Annotated] | None:
    """What an annotation file says of each of its pictures; None when it is none, but perhaps an image.

    Raises UserError, naming it `name`, for JSON or text of another kind, and for broken outlines.
    """
    name, head = str(path), read_bytes(path, 4096)
    is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    line = head.strip().split(b"\n")[0]
    if not is_json and (not line or not set(line) <= _OF_NUMBERS):
        return None
    try:
        text = read_bytes(path).decode("utf-8-sig")
        return _json(parse_json(text), name) if is_json else [_yolo(text, name)]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UserError(
            f"mask {name} is not as labelme, COCO or YOLO write it ({reason(error)}); export it again"
        ) from None


def drawn(annotated: Annotated, name: str, size: tuple[int, int] | None) -> np.ndarray:
    """The label map (H, W) of the objects; where they overlap the smaller one is on top.

    size: of the frame, for files that do not say their picture's. Raises UserError for broken outlines.
    """
    size = annotated.size or size
    if size is None:
        raise UserError(
            f"mask {name} ({annotated.kind}) does not say how large its picture is; give a frame of the"
            " video too"
        )
    size = _possible(size, name)
    masks = []
    for item in annotated.items:
        try:
            inside = np.zeros(size, bool)
            for part in item.parts:
                inside |= part(size)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise UserError(
                f"mask {name} has an outline of {item.title} that is none ({reason(error)}); export it again"
            ) from None
        masks.append(_cut_out(inside))
    highest = max((item.number for item in annotated.items), default=0)
    labels = np.zeros(size, np.uint8 if highest < 256 else np.uint16)
    for place in sorted(range(len(masks)), key=lambda i: -int(masks[i][1].sum())):
        box, inside = masks[place]
        labels[box][inside] = annotated.items[place].number
    return labels


def _cut_out(inside: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """The box of a mask, and what is in it: a file may have thousands of small objects."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return (slice(0, 0), slice(0, 0)), inside[:0, :0]
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return box, inside[box].copy()


def _possible(size: tuple[int, int], name: str) -> tuple[int, int]:
    """(H, W) that a file says of its picture; UserError where no picture has it."""
    if min(size) < 1 or max(size) > _MOST or size[0] * size[1] > MOST_PIXELS:
        raise UserError(f"mask {name} says that its picture has {size[1]}x{size[0]} pixels; export it again")
    return size


def laid_over(masks: list[np.ndarray], numbers: list[int], size: tuple[int, int]) -> np.ndarray:
    """uint8 or uint16 (H, W): masks under their numbers, the largest lowest."""
    labels = np.zeros(size, np.uint8 if max(numbers, default=0) < 256 else np.uint16)
    for place in sorted(range(len(masks)), key=lambda i: -int(masks[i].sum())):
        labels[masks[place]] = numbers[place]
    return labels


def _stem(content: Any) -> str:
    """The name of a picture's file without folder and suffix, whichever system wrote it."""
    return PurePosixPath(PureWindowsPath(str(content or "")).name).stem


def _size(content: Mapping[str, Any], height: str, width: str) -> tuple[int, int] | None:
    if content.get(height) and content.get(width):
        return int(content[height]), int(content[width])
    return None


# ---------------------------------------------------------------- JSON


def _json(content: Any, name: str) -> list[Annotated]:
    if isinstance(content, Mapping) and "shapes" in content:
        return [_labelme(content)]
    if isinstance(content, Mapping) and "annotations" in content:
        return _coco(content)
    if isinstance(content, Mapping) and "segmentation" in content:
        content = [content]
    if (
        isinstance(content, list)
        and content
        and all(isinstance(t, Mapping) and "segmentation" in t for t in content)
    ):
        return _coco({"annotations": content})
    raise UserError(
        f"mask {name} is JSON, and neither labelme's (shapes) nor COCO's (annotations); export it as one of"
        " them"
    )


def _labelme(content: Mapping[str, Any]) -> Annotated:
    """Shapes of one label and group are one object; without a group each shape is one."""
    found = Annotated("labelme", _stem(content.get("imagePath")), _size(content, "imageHeight", "imageWidth"))
    groups: dict[Any, Item] = {}
    left_out = 0
    for place, shape in enumerate(content["shapes"]):
        kind, title = shape.get("shape_type") or "polygon", clipped(str(shape.get("label", "object")))
        if title in ("__ignore__", "_background_"):
            continue
        if kind in _LEFT_OUT:
            left_out += 1
            continue
        group = shape.get("group_id")
        key = (place,) if group is None else (title, group)
        item = groups.setdefault(key, Item(len(groups) + 1, title, []))
        item.parts.append(_labelme_part(kind, shape))
    found.items = list(groups.values())
    if left_out:
        found.notes.append(f"{left_out} points or lines are left out")
    return found


def _labelme_part(kind: str, shape: Mapping[str, Any]) -> Draw:
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "circle":
        centre, rim = points[0], points[1]
        return lambda size: ellipse(centre, math.dist(centre, rim), size)
    if kind == "mask":
        return lambda size: _labelme_mask(points, shape["mask"], size)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    elif kind not in ("polygon", "rectangle", "rotation", "rotated_rect", "quadrilateral"):
        raise Malformed(f"a shape {short(kind)}, where polygons, rectangles, circles and masks are read")
    return lambda size: filled(points, size)


def _claimed(content: bytes) -> tuple[int, int]:
    """The (width, height) that an image's header promises."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.size
    except Exception as error:  # Pillow's readers raise whatever they trip over in a damaged file
        raise Malformed(f"a mask that is no image: {reason(error)}") from None


def _labelme_mask(points: list[tuple[float, float]], text: str, size: tuple[int, int]) -> np.ndarray:
    """The small PNG of a shape, at its box."""
    try:
        content = base64.b64decode(text, validate=False)
        width, height = _claimed(content)
        if width > size[1] or height > size[0]:
            raise Malformed(f"a mask of {width}x{height} in a picture of {size[1]}x{size[0]}")
        picture = open_picture(content, "in the file")
    except binascii.Error as error:
        raise Malformed(f"a mask of no base64, {error}") from None
    except (OSError, Image.DecompressionBombError):
        raise Malformed("a mask that is no image") from None
    part = picture.table.reshape(len(picture.table), -1).max(1)[picture.rows] > 0
    left, top = round(points[0][0]), round(points[0][1])
    inside = np.zeros(size, bool)
    room = inside[max(top, 0) : top + part.shape[0], max(left, 0) : left + part.shape[1]]
    room[:] = part[max(-top, 0) :, max(-left, 0) :][: room.shape[0], : room.shape[1]]
    return inside


def _coco(content: Mapping[str, Any]) -> list[Annotated]:
    """Each annotation an object, by its `track_id` where all have one."""
    images = content.get("images") or (
        [content["image"]] if isinstance(content.get("image"), Mapping) else []
    )
    titles = {c["id"]: clipped(str(c.get("name", c["id"]))) for c in content.get("categories") or []}
    found = {
        image.get("id", image.get("image_id")): Annotated(
            "COCO", _stem(image.get("file_name")), _size(image, "height", "width")
        )
        for image in images
    }
    tracks = [_track(a) for a in content["annotations"]]
    for annotation, track in zip(content["annotations"], tracks, strict=True):
        outline = annotation["segmentation"]
        key = annotation.get("image_id", next(iter(found), None))
        picture = found.setdefault(key, Annotated("COCO", _stem(key)))
        if isinstance(outline, Mapping) and picture.size is None:
            picture.size = int(outline["size"][0]), int(outline["size"][1])
        if not outline:
            continue  # a box without an outline
        number = track if all(t is not None for t in tracks) else len(picture.items) + 1
        title = titles.get(annotation.get("category_id"), "object")
        same = next((item for item in picture.items if item.number == number), None)
        if same is None:
            picture.items.append(same := Item(int(number or 0), title, []))
        same.parts.append(_coco_part(outline))
    return [picture for picture in found.values() if picture.items] or list(found.values())[:1]


def _track(annotation: Mapping[str, Any]) -> int | None:
    """The number by which an annotation's object is known in all pictures."""
    for place in (annotation, annotation.get("attributes") or {}):
        for key in ("track_id", "instance_id"):
            if isinstance(place.get(key), int) and 0 < place[key] <= _MOST:
                return int(place[key])
    return None


def _coco_part(outline: Any) -> Draw:
    if isinstance(outline, Mapping):
        counts = outline["counts"]
        return lambda size: runs(run_lengths(counts) if isinstance(counts, str) else counts, size)
    polygons = [outline] if outline and isinstance(outline[0], (int, float)) else outline

    def draw(size: tuple[int, int]) -> np.ndarray:
        inside = np.zeros(size, bool)
        for polygon in polygons:
            inside |= filled(np.asarray(polygon, np.float64).reshape(-1, 2).tolist(), size)
        return inside

    return draw


# ---------------------------------------------------------------- YOLO


def _yolo(text: str, name: str) -> Annotated:
    """Lines `class x y x y ...`, in parts of the picture's width and height; each line an object."""
    found = Annotated("YOLO")
    for number, line in enumerate((line for line in text.splitlines() if line.strip()), start=1):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            raise UserError(f"mask {name} line {number} is no line of numbers; export it again") from None
        if len(values) == 5:
            raise UserError(
                f"mask {name} line {number} is a box, as YOLO has them for detection; export outlines"
                " (YOLO segmentation)"
            )
        # a confidence may follow
        points = np.array(values[1 : 1 + (len(values) - 1) // 2 * 2]).reshape(-1, 2)
        if len(points) < 3 or points.min() < -0.1 or points.max() > 1.1:
            raise UserError(
                f"mask {name} line {number} is no outline in parts of the picture (class x y x y ..., from 0"
                " to 1); export it as YOLO segmentation"
            )
        found.items.append(Item(number, f"class {values[0]:g}", [_scaled(points)]))
    return found


def _scaled(points: np.ndarray) -> Draw:
    return lambda size: filled((points * (size[1], size[0])).tolist(), size)
