"""Read a person's mask, whatever it is, and say what was read."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mamp.core.errors import UserError, plural
from mamp.video.first_masks.annotations import Annotated, drawn, laid_over, parse
from mamp.video.first_masks.claims import by, load_array, refuse_other_shape
from mamp.video.first_masks.flat import flat_colours
from mamp.video.first_masks.meaning import Colours, meaning, read_colours
from mamp.video.first_masks.picture import Picture, from_array, from_image, open_picture, read_bytes
from mamp.video.first_masks.summary import summary, warnings_of

_HELD = 4  # files whose label maps are kept
_COARSE = 4  # times that a mask may be enlarged without a warning


@dataclass(frozen=True)
class FirstMask:
    """A mask as it was read.

    labels: uint8 or uint16 (H, W), 0 is background. name: of the file, or what messages call it. notes: how
    it was read, in words. warnings: what is odd about it, in words.
    """

    labels: np.ndarray
    name: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """What was read, in one line: `first.png: objects 1 (12.3 %), 2 (0.4 %)`, and how."""
        return summary(self.name, self.labels, self.notes)


@dataclass
class Reader:
    """Read the masks of one video. State: the objects of the colours it met, and the last few files.

    invert: background in a mask is object 1, everything else is background. colours: the objects of the
    user's colours (see `read_colours`), or the path of the JSON file that lists them.
    """

    invert: bool = False
    colours: Colours | Path | str | None = None
    _known: Colours = field(default_factory=Colours)
    _held: dict[tuple[str, str], _Found] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.colours, Colours):
            self._known = self.colours
        elif self.colours is not None:
            self._known = read_colours(Path(self.colours))

    def read(
        self,
        source: Any,
        *,
        size: tuple[int, int] | None = None,
        picture: str = "",
        numbers: Sequence[int] = (),
    ) -> FirstMask:
        """Return the label map in `source`, with notes and warnings.

        Args:
            source: the path of an image (any that Pillow reads), of a labelme, COCO or YOLO file, or of a
                .npy file; an array or a PIL image; or a sequence of paths, each with one object.
            size: (H, W) of the frame. A mask of another size and the same shape is resized.
            picture: which picture of a COCO file with several, by its name without suffix.
            numbers: the object ids of a sequence of paths; 1, 2, ... by default.

        Raises:
            UserError: the file cannot be read, is a photograph, or has another shape.
        """
        if isinstance(source, (list, tuple)):
            return self._one_each([Path(path) for path in source], size, numbers or range(1, len(source) + 1))
        name = Path(source).name if isinstance(source, (str, Path)) else "the mask"
        found = self._once(source, size, picture)
        notes = list(found.notes)
        labels = found.labels
        if self.invert:
            labels = (labels == 0).astype(np.uint8)
            notes.append("inverted")
        warnings = list(found.warnings)
        target = size or found.size
        if labels.shape != target:
            labels = resized(labels, target, f"mask {source}" if name != "the mask" else "a mask", found.size)
        if found.size != target:
            notes.append(f"{by(found.size)} resized to {by(target)}")
            if max(target) > _COARSE * max(found.size):
                warnings.append(f"it is only {by(found.size)} pixels; paint it at the frame's size")
        warnings += warnings_of(labels, inverted=self.invert)
        return FirstMask(labels, name, tuple(notes), tuple(warnings))

    def needs_size(self, path: Path | str) -> bool:
        """Return whether the file holds outlines without the size of their picture."""
        annotated = parse(Path(path))
        return annotated is not None and any(one.size is None for one in annotated)

    def _once(self, source: Any, size: tuple[int, int] | None, picture: str) -> _Found:
        """`_read`, which a person's mask takes several times while a video begins."""
        key = (str(source), picture)
        if not isinstance(source, (str, Path)):
            return self._read(source, size, picture)
        if key not in self._held:
            found = self._read(source, size, picture)
            if found.sized:
                return found
            self._held[key] = found
            while len(self._held) > _HELD:
                self._held.pop(next(iter(self._held)))
        return self._held[key]

    def _read(self, source: Any, size: tuple[int, int] | None, picture: str) -> _Found:
        if not isinstance(source, (str, Path)):
            return self._of_picture(_from_python(source), "the mask")
        path, name = Path(source), str(source)
        head = read_bytes(path, 6)
        if head == b"\x93NUMPY" or (head[:2] == b"PK" and zipfile.is_zipfile(path)):
            return self._of_array(load_array(path, size), name)
        annotated = parse(path)
        if annotated is not None:
            return _of_annotations(annotated, name, size, picture)
        found = self._of_picture(open_picture(path, name, size=size), name)
        found.sized = found.labels.shape != found.size  # a very large picture is read smaller
        return found

    def _of_picture(self, picture: Picture, name: str) -> _Found:
        if picture.exact:
            return _Found(_ids(picture.rows, picture.table), picture.size)
        flat = flat_colours(picture, name)
        meant = meaning(flat, name, self._known)
        labels = _ids(flat.labels, meant.ids)
        return _Found(labels, picture.size, [*flat.notes, *meant.notes], meant.warnings)

    def _of_array(self, values: np.ndarray, name: str) -> _Found:
        """A label map, a picture, or a stack (K, H, W) with one object in each layer."""
        is_stack = values.ndim == 3 and values.shape[2] not in (1, 3, 4)
        if values.ndim == 3 and not is_stack and values.shape[0] == 1 < values.shape[1]:
            values = values[0]
        if not is_stack:
            return self._of_picture(from_array(values, f"mask {name}"), name)
        layers = [self._of_picture(from_array(layer, f"mask {name}"), name).labels > 0 for layer in values]
        size = (int(values.shape[1]), int(values.shape[2]))
        labels = laid_over(layers, list(range(1, len(layers) + 1)), size)
        return _Found(
            labels, size, [f"{plural(len(layers), 'layer')}, each an object"] if len(layers) > 1 else []
        )

    def _one_each(
        self, paths: Sequence[Path], size: tuple[int, int] | None, numbers: Sequence[int]
    ) -> FirstMask:
        """Objects 1, 2, ... of several files with one object each."""
        read = [_of_one(self.read(path, size=size)) for path in paths]
        shapes = {mask.labels.shape for mask in read}
        if len(shapes) > 1:
            a, b = sorted(shapes)[:2]
            raise UserError(f"masks are of different sizes, {by(a)} and {by(b)}; give all of one size")
        several = next((m for m in read if len(np.unique(m.labels[m.labels > 0])) > 1), None)
        if several is not None:
            raise UserError(
                f"{several.name} has several objects; where masks are given one an object, each has one"
                " object"
            )
        layers = [mask.labels > 0 for mask in read]
        labels = laid_over(layers, list(numbers), read[0].labels.shape)
        notes = [f"{mask.name} is object {k}" for k, mask in zip(numbers, read, strict=True)][:10]
        odd = [f"{mask.name}: {words}" for mask in read for words in mask.warnings]
        name = f"{read[0].name} to {read[-1].name}" if len(read) > 1 else read[0].name
        for k, mask in zip(numbers, read, strict=True):
            if not (labels == k).any():
                odd.append(f"{mask.name} has no object, or others cover it")
        return FirstMask(labels, name, (", ".join(notes),), tuple(odd))


@dataclass
class _Found:
    labels: np.ndarray
    size: tuple[int, int]  # (H, W) in the file
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sized: bool = False  # by the frame's size


def _of_one(mask: FirstMask) -> FirstMask:
    """The mask without warnings of how many objects there are, and how small."""
    return replace(mask, warnings=tuple(w for w in mask.warnings if "four corners" in w or "90 %" in w))


def read(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    invert: bool = False,
    colours: Colours | Path | str | None = None,
) -> FirstMask:
    """Read one mask: `Reader.read` with a new reader."""
    return Reader(invert=invert, colours=colours).read(source, size=size)


def read_mask(
    source: Any,
    *,
    size: tuple[int, int] | None = None,
    invert: bool = False,
    colours: Path | str | None = None,
) -> np.ndarray:
    """Read a mask in any form that people make them, and return its label map.

    Something odd about the mask, such as a very small object, is shown as a UserWarning.

    Args:
        source: one of these:

            - an image file: grey, palette or colours, with or without transparency and soft edges;
            - a labelme, COCO or YOLO-segmentation file, or a .npy file;
            - an array, a tensor or a PIL image;
            - a list of files with one object each.
        size: (H, W) of the frame. A mask of the same shape is resized to it. None keeps the mask's own size.
        invert: the object is what is background in the file.
        colours: a JSON file that gives colours their object ids, such as {"#ff0000": 1}.

    Returns:
        The label map (H, W), uint8, or uint16 when an id is above 255; 0 is background.

    Raises:
        UserError: the file is missing, damaged, no mask, or of another shape than `size`.
    """
    import warnings

    found = read(source, size=size, invert=invert, colours=colours)
    for words in found.warnings:
        warnings.warn(f"{found.name}: {words}", UserWarning, stacklevel=2)
    return found.labels


def resized(
    labels: np.ndarray, size: tuple[int, int], name: str, before: tuple[int, int] | None = None
) -> np.ndarray:
    """Resize a label map to `size` (H, W), each pixel from its nearest.

    Raises:
        UserError: its shape is another; the message calls it `name`.
    """
    refuse_other_shape(before or (labels.shape[0], labels.shape[1]), size, name)
    image = Image.fromarray(labels.astype(np.int32) if labels.dtype == np.uint16 else labels)
    return np.array(image.resize(size[::-1], Image.Resampling.NEAREST)).astype(labels.dtype)


def _ids(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    kind = np.uint8 if int(ids.max(initial=0)) < 256 else np.uint16
    return ids.astype(kind)[rows]


def _from_python(source: Any) -> Picture:
    if isinstance(source, Image.Image):
        return from_image(source, "the mask")
    if hasattr(source, "detach"):
        source = source.detach().cpu().numpy()
    return from_array(np.asarray(source), "the mask")


def _of_annotations(
    pictures: list[Annotated], name: str, size: tuple[int, int] | None, picture: str
) -> _Found:
    chosen = [one for one in pictures if picture and one.picture == picture] or (
        pictures if len(pictures) == 1 else []
    )
    if not chosen:
        raise UserError(
            f"mask {name} has {plural(len(pictures), 'picture')}, of which none is named like"
            f" {picture or 'a frame'}; keep the one of the first frame"
        )
    one = chosen[0]
    if size is not None and one.size is not None:
        refuse_other_shape(one.size, size, f"mask {name}")
    labels = drawn(one, name, size)
    titles = ", ".join(f"{item.number} is {item.title}" for item in one.items[:10])
    notes = [f"{one.kind}: {titles}" if titles else one.kind, *one.notes]
    return _Found(labels, (labels.shape[0], labels.shape[1]), notes, sized=one.size is None)
