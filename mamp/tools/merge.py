"""`mamp data merge`: a folder of grey masks for each object -> one label map a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mamp.core.errors import UserError
from mamp.core.files import make_folder
from mamp.core.progress import Progress
from mamp.video.folders import entries, natural_key, subfolders
from mamp.video.masks import open_mask, write_mask

LARGEST_ID = 65535
HOW = ("soft", "hard")


@dataclass(frozen=True)
class Merged:
    """How much was done."""

    videos: int
    frames: int


def merge_folders(source: Path, out: Path, *, how: str = "soft", quiet: bool = False) -> Merged:
    """Merge SOURCE/VIDEO/ID/FRAME.png, one folder per object, into OUT/VIDEO/FRAME.png, palette PNGs.

    Of one video also SOURCE/ID/FRAME.png into OUT/FRAME.png. A grey mask's 0 to 255 is the object's
    probability; a frame without a file of an object does not show it. Ids are whole numbers from 1. Of equal
    scores the one whose name comes first in the alphabet wins, background before all.
    how: background is `soft`, the product of all 1 - p, or `hard`, the least of them.

    Raises UserError for a folder of another form, and a mask that is damaged, coloured or of another size.
    """
    if how not in HOW:
        raise UserError(f"--mode is {how}; use one of {', '.join(HOW)}")
    if not source.is_dir():
        raise UserError(
            f"{source} is no folder; give the folder of the videos, each with a folder for each object"
        )
    folders = subfolders(source)
    single = bool(folders) and all(folder.name.isdecimal() for folder in folders) and _holds_masks(folders[0])
    videos = {"": folders} if single else {folder.name: subfolders(folder) for folder in folders}
    if not videos:
        raise UserError(f"{source} holds no folders; give one with SOURCE/VIDEO/ID/FRAME.png in it")
    plans = {video: _objects(source / video, found) for video, found in videos.items()}
    count = 0
    with Progress(
        sum(len(_names(objects)) for objects in plans.values()), unit="frames", quiet=quiet
    ) as progress:
        for video, objects in plans.items():
            progress.begin(video or source.name)
            make_folder(out / video)
            for name in _names(objects):
                write_mask(out / video / f"{name}.png", merge_frame(objects, name, how=how))
                progress.advance()
                count += 1
    return Merged(len(plans), count)


def merge_frame(objects: dict[int, dict[str, Path]], name: str, *, how: str) -> np.ndarray:
    """Return the label map (H, W) of one frame.

    objects: id -> frame -> file, in the order that decides between equals.
    """
    files = {number: files.get(name) for number, files in objects.items()}
    greys = {number: read_grey(file) for number, file in files.items() if file is not None}
    first = next(iter(greys))
    for number, grey in greys.items():
        if grey.shape != greys[first].shape:
            raise UserError(
                f"{files[number]} is {grey.shape[1]}x{grey.shape[0]} pixels and {files[first]} "
                f"{greys[first].shape[1]}x{greys[first].shape[0]}; write all of a video's masks in one size"
            )
    empty = np.zeros(greys[first].shape, np.uint8)
    scores = np.stack([greys.get(number, empty) for number in objects])
    return merge_scores(scores, list(objects), how=how)


def merge_scores(scores: np.ndarray, ids: Sequence[int], *, how: str) -> np.ndarray:
    """uint8 (K, H, W) probabilities of 0 to 255 -> label map (H, W) of `ids`; of equals the first wins."""
    present = scores.astype(np.float32) / 255
    absent = 1 - present
    background = absent.prod(0) if how == "soft" else absent.min(0)
    winner = np.concatenate((background[None], present)).argmax(0)
    table = np.array([0, *ids], np.uint8 if max(ids) < 256 else np.uint16)
    return table[winner]


def read_grey(file: Path) -> np.ndarray:
    """uint8 (H, W) of an 8-bit grey image; UserError when it is none."""
    image = open_mask(file)
    if image.mode not in ("L", "1"):
        raise UserError(f"{file} has the pixel format {image.mode}; give 8-bit grey masks")
    return np.asarray(image.convert("L"))


def _objects(video: Path, folders: Sequence[Path]) -> dict[int, dict[str, Path]]:
    """id -> frame -> file, in the alphabetical order of the folders' names."""
    found: dict[int, dict[str, Path]] = {}
    for folder in sorted(folders, key=lambda f: f.name):
        number = int(folder.name) if folder.name.isdecimal() and folder.name.isascii() else 0
        if not 1 <= number <= LARGEST_ID or number in found:
            raise UserError(
                f"{folder} is not named by an object's id, 1 to {LARGEST_ID}, once each; rename it, or take"
                " it away"
            )
        found[number] = {file.stem: file for file in entries(folder) if file.suffix.lower() == ".png"}
    if not any(found.values()):
        raise UserError(f"{video} holds no masks; give {video}/ID/FRAME.png")
    return found


def _names(objects: dict[int, dict[str, Path]]) -> list[str]:
    """Frames that any object has a file of, in natural order."""
    return sorted({name for files in objects.values() for name in files}, key=natural_key)


def _holds_masks(folder: Path) -> bool:
    return any(file.suffix.lower() == ".png" for file in entries(folder))
