"""The masks a person gives for a video: files, folders and arrays, each read when its frame is there."""

from __future__ import annotations

import difflib
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import UserError
from mamp.segmentation.stream import Given
from mamp.video.first_masks.annotations import parse
from mamp.video.first_masks.reading import FirstMask, Reader
from mamp.video.folders import image_files, natural_key, subfolders

_NOMINAL = (1024, 1024)  # of outlines whose picture's size is not known yet
_SHOWN = 10  # masks of a video that are listed one by one
_OTHERS = (".json", ".txt", ".npy", ".npz", ".tif", ".tiff", ".gif")  # masks that are no frames

Show = Callable[[str], None]


@dataclass
class MaskLog:
    """Show what was read of each mask, once. State: the masks that were shown.

    line, warning: take a line, and a warning. By default lines go to the log `mamp`, warnings to `warnings`.
    """

    line: Show = logging.getLogger("mamp").info
    warning: Show = lambda words: warnings.warn(words, UserWarning, stacklevel=2)
    _shown: set[str] = field(default_factory=set)

    def add(self, mask: FirstMask, key: str) -> None:
        """Show what was read of a mask, once for each `key`."""
        if key in self._shown:
            return
        self._shown.add(key)
        if len(self._shown) <= _SHOWN:
            self.line(mask.line)
        elif len(self._shown) == _SHOWN + 1:
            self.line("further masks are read alike")
        for words in mask.warnings:
            self.warning(f"{mask.name}: {words}")


@dataclass
class PersonsMask:
    """A mask of one frame that is read when its frame's size is known.

    As an array it has its own size. source: as `Reader.read` takes it. log: shows what was read. picture: of
    a file with several, the one to read. numbers: object ids of several files with one object each.
    """

    reader: Reader
    source: Any
    log: MaskLog
    picture: str = ""
    numbers: Sequence[int] = ()

    def at(self, size: tuple[int, int]) -> np.ndarray:
        """Return the label map (H, W) for a frame of this size.

        Raises UserError as `Reader.read` does.
        """
        found = self._read(size)
        self.log.add(found, f"{self.source if isinstance(self.source, (str, Path, list)) else id(self)}")
        return found.labels

    def _read(self, size: tuple[int, int] | None) -> FirstMask:
        return self.reader.read(self.source, size=size, picture=self.picture, numbers=self.numbers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        sized = isinstance(self.source, (str, Path)) and self.reader.needs_size(self.source)
        return np.asarray(self._read(_NOMINAL if sized else None).labels, dtype=dtype)


def given_masks(
    masks: Any,
    names: Sequence[str],
    *,
    index: int = 0,
    reader: Reader | None = None,
    log: MaskLog | None = None,
) -> dict[int, Given]:
    """Return frame index -> mask, from any form in which a person gives masks of a video.

    Args:
        masks: a file for frame `index`, several with one object each, or an array; a folder of files that are
            named like frames, of files with one object each, or of folders 1, 2, ... of files named like
            frames for each object; a COCO file whose pictures are named like frames.
        names: the frames' names.
        index: the frame that a single mask belongs to.
        reader: reads them; a new `Reader` by default.
        log: shows what was read; a new `MaskLog` by default.

    Returns:
        The masks. Each is read when its frame is there.

    Raises:
        UserError: there is no mask, or a name is no frame's.
    """
    reader, log = reader or Reader(), log or MaskLog()

    def one(source: Any, **more: Any) -> Given:
        called = f"mask {source}" if isinstance(source, (str, Path)) else "the mask"
        held = PersonsMask(reader, source, log, **more)
        return Given(called, lambda: held)

    if isinstance(masks, (list, tuple)) and masks and all(isinstance(m, (str, Path)) for m in masks):
        return _several([Path(m) for m in masks], names, index, one)
    if not isinstance(masks, (str, Path)):
        return {index: one(masks)}
    path = Path(masks)
    if path.is_dir():
        return _folder(path, names, index, one)
    return _file(path, names, index, one)


def _file(path: Path, names: Sequence[str], index: int, one: Callable[..., Given]) -> dict[int, Given]:
    """One file; of a COCO file with several pictures, each that is named like a frame."""
    if path.suffix.lower() == ".json" and path.is_file():
        pictures = parse(path) or []
        numbers = {name: i for i, name in enumerate(names)}
        named = {numbers[p.picture]: p.picture for p in pictures if p.picture in numbers and p.items}
        if len(pictures) > 1 and named:
            return {i: one(path, picture=picture) for i, picture in named.items()}
    return {index: one(path)}


def _several(
    paths: list[Path], names: Sequence[str], index: int, one: Callable[..., Given]
) -> dict[int, Given]:
    """Files given one by one: masks of the frames that they are named like, or else each one object."""
    numbers = {name: i for i, name in enumerate(names)}
    if len(paths) == 1:
        return _one_path(paths[0], names, index, one)
    if all(path.stem in numbers for path in paths) and len({path.stem for path in paths}) == len(paths):
        return {numbers[path.stem]: one(path) for path in paths}
    return {index: one([str(path) for path in paths])}


def _one_path(path: Path, names: Sequence[str], index: int, one: Callable[..., Given]) -> dict[int, Given]:
    """A file or a folder."""
    return _folder(path, names, index, one) if path.is_dir() else _file(path, names, index, one)


def _folder(folder: Path, names: Sequence[str], index: int, one: Callable[..., Given]) -> dict[int, Given]:
    numbers = {name: i for i, name in enumerate(names)}
    files = _mask_files(folder)
    if not files:
        by_object = _folders_by_object(folder, numbers, one)
        if by_object:
            return by_object
        raise UserError(
            f"{folder} has no mask; give a PNG for the first frame, or a folder of PNGs named like frames, or"
            " of PNGs with one object each"
        )
    strangers = [name for name in files if name not in numbers]
    if not strangers:
        return {numbers[name]: one(folder / file) for name, file in files.items()}
    if len(strangers) == len(files) and not _like_frames(strangers, names):
        paths = [str(folder / file) for file in files.values()]
        return {index: one(paths)} if len(paths) > 1 else {index: one(Path(paths[0]))}
    near = difflib.get_close_matches(strangers[0], names, n=3, cutoff=0.0)
    raise UserError(
        f"mask {folder / files[strangers[0]]} has no frame of its name; frames are named {names[0]} to"
        f" {names[-1]}, the nearest are {', '.join(near)}"
    )


def _mask_files(folder: Path) -> dict[str, str]:
    """stem -> file; annotations rather than the images beside them, which they were drawn on."""
    others = sorted(
        (p.name for p in folder.iterdir() if p.suffix.lower() in _OTHERS and not p.name.startswith(".")),
        key=natural_key,
    )
    drawn = {Path(name).stem: name for name in others if Path(name).suffix.lower() in (".json", ".txt")}
    drawn.pop("classes", None)  # the names of YOLO's classes
    if drawn:
        return drawn
    images = image_files(folder)
    for name in others:
        images.setdefault(Path(name).stem, name)
    return images


def _like_frames(strangers: Iterable[str], names: Sequence[str]) -> bool:
    """Whether names are of the kind that frames have: as many digits, or the same letters before them."""
    shapes = {re.sub(r"\d", "0", name) for name in names}
    return any(re.sub(r"\d", "0", name) in shapes for name in strangers)


def _folders_by_object(folder: Path, numbers: dict[str, int], one: Callable[..., Given]) -> dict[int, Given]:
    """FOLDER/2/00010.png is object 2 in frame 00010."""
    frames: dict[int, list[tuple[int, str]]] = {}
    for below in subfolders(folder):
        if not below.name.isdigit() or not 0 < int(below.name) <= 65535:
            continue
        for name, file in image_files(below).items():
            if name not in numbers:
                raise UserError(f"mask {below / file} has no frame of its name; name it like its frame")
            frames.setdefault(numbers[name], []).append((int(below.name), str(below / file)))
    return {i: one([p for _, p in found], numbers=[k for k, _ in found]) for i, found in frames.items()}
