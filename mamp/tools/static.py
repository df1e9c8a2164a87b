"""Still pictures with masks, for pretraining: bring published sets into one layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mamp.core.errors import UserError
from mamp.core.files import Locks, make_folder, remove_leftovers, whole
from mamp.core.progress import Progress, say
from mamp.datasets.lists import read_list
from mamp.tools.coco import read_instances, require_pycocotools
from mamp.video.folders import IMAGE_SUFFIXES, entries, subfolders
from mamp.video.frames import read_image
from mamp.video.masks import read_mask, write_mask

ALL = "all"
DARK = 128  # mean of a colour's channels below which it is no object
_VOC_OBJECTS = 20  # larger labels of PASCAL VOC 2012 are void
_MOST = 254  # labels of a mask


@dataclass(frozen=True)
class Picture:
    """A picture, and what reads its label map uint8 (H, W), given its (H, W)."""

    image: Path
    labels: Callable[[tuple[int, int]], np.ndarray]


@dataclass(frozen=True)
class Unified:
    """What became of a set.

    pictures: those now in DST. made: of these, now. bare: without a mask or an object. bad: left out.
    """

    name: str
    pictures: int
    made: int
    bare: int
    bad: int

    def __str__(self) -> str:
        words = [f"{self.name}: {self.pictures:,} pictures, {self.made:,} of them made now"]
        words += [f"{self.bare:,} without an object left out"] * bool(self.bare)
        words += [f"{self.bad:,} that cannot be read left out"] * bool(self.bad)
        return "; ".join(words)


def unify(
    name: str, source: Path, out: Path, *, workers: int = 1, bad_frame: str = "error", quiet: bool = False
) -> list[Unified]:
    """Write OUT/JPEGImages/SET/* and OUT/Annotations/SET/*.png of one of `SETS`, or of `all` in `source`.

    Pictures are copied as they are, masks become palette PNGs. workers: pictures at a time. bad_frame:
    `error` or `skip`. Finished pictures stay when this is interrupted and are not made again.

    Raises UserError when `source` holds none of the sets, and for a picture or mask that cannot be read.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder; give the one that holds the pictures and masks")
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise UserError(f"{out} lies in {source}, which it is made from; choose another DST")
    done = []
    for kind in SETS if name == ALL else (name,):
        found = next(filter(None, map(SETS[kind].find, _places(SETS[kind], source, alone=name != ALL))), None)
        if found is None and name != ALL:
            raise UserError(f"{source} does not hold {SETS[kind].name}: {SETS[kind].layout}; bring it")
        if found is None:
            say(f"{SETS[kind].name}: not in {source}, left out")
        else:
            done.append(
                _unify(SETS[kind].name, found, out, workers=workers, bad_frame=bad_frame, quiet=quiet)
            )
    if not done:
        raise UserError(f"{source} holds none of {', '.join(SETS)}; give the folder they lie in, or name one")
    return done


def unified_labels(mask: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3), a colour for each object -> uint8 (H, W) labels, as AFB-URR's program makes them.

    Colours are numbered from 0 in the order of (blue, green, red); a dark one that is not black is background
    and uses up no number. Where black is absent the first colour shares 0. Raises ValueError for more colours
    than there are labels.
    """
    codes = mask[..., ::-1].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])  # blue counts most
    found, places = np.unique(codes, return_inverse=True)
    sums = (found >> 16) + (found >> 8 & 255) + (found & 255)
    kept = ~((sums > 0) & (sums < 3 * DARK))
    if kept.sum() > _MOST + 1:
        raise ValueError(f"{int(kept.sum()):,} colours")
    labels = np.where(kept, np.cumsum(kept) - 1, 0)
    return labels[places].reshape(mask.shape[:2]).astype(np.uint8)


# ---------------------------------------------------------------- one set


def _unify(
    name: str, found: list[Picture], out: Path, *, workers: int, bad_frame: str, quiet: bool
) -> Unified:
    images, masks = out / "JPEGImages" / name, out / "Annotations" / name
    _refuse_same_names(found)
    for folder in (images, masks):
        make_folder(folder)
    with Locks(out / f".{name}.lock") as locks:
        if not locks.take(0):
            raise UserError(f"another process is making {images}; wait for it, or choose another DST")
        for folder in (images, masks):
            remove_leftovers(folder)
        return _make(name, found, images, masks, workers=workers, bad_frame=bad_frame, quiet=quiet)


def _make(
    name: str, found: list[Picture], images: Path, masks: Path, *, workers: int, bad_frame: str, quiet: bool
) -> Unified:
    """Everything of a set that is not there yet."""
    waiting = [
        p for p in found if not ((masks / f"{p.image.stem}.png").is_file() and _copy(images, p).is_file())
    ]
    made = bare = bad = 0
    executor = ThreadPoolExecutor(workers)  # decoding and packing let other threads run
    try:
        jobs = [executor.submit(_write, picture, images, masks) for picture in waiting]
        with Progress(len(found), unit="pictures", done=len(found) - len(waiting), quiet=quiet) as progress:
            progress.begin(name)
            for job in as_completed(jobs):
                try:
                    shown = job.result()
                    made, bare = made + shown, bare + (not shown)
                except UserError as error:
                    if bad_frame != "skip":
                        raise
                    bad += 1
                    progress.print(str(error))
                progress.advance()
    finally:
        executor.shutdown(cancel_futures=True)
    return Unified(name, len(found) - bare - bad, made, bare, bad)


def _write(picture: Picture, images: Path, masks: Path) -> bool:
    """Copy a picture, then write its mask; return whether it shows an object. Without one, write nothing."""
    size = read_image(picture.image).shape
    labels = picture.labels((size[0], size[1]))
    if not labels.any():
        return False
    with whole(_copy(images, picture)) as partial:
        shutil.copyfile(picture.image, partial)
    write_mask(masks / f"{picture.image.stem}.png", labels)
    return True


def _copy(images: Path, picture: Picture) -> Path:
    return images / f"{picture.image.stem}{picture.image.suffix.lower()}"


def _refuse_same_names(found: list[Picture]) -> None:
    taken: dict[str, Path] = {}
    for picture in found:
        other = taken.setdefault(picture.image.stem, picture.image)
        if other is not picture.image:
            raise UserError(f"{other} and {picture.image} have masks of one name; rename one")


# ---------------------------------------------------------------- the sets


@dataclass(frozen=True)
class Set:
    """A published set: the folder it becomes, other names of its folder, what it holds, what finds it."""

    name: str
    others: tuple[str, ...]
    layout: str
    find: Callable[[Path], list[Picture] | None]


def _places(kind: Set, source: Path, *, alone: bool) -> Iterator[Path]:
    """Where a set may lie: a folder in `source` that is called like it; with `alone`, also `source`."""
    if alone:
        yield source
    names = {other.lower() for other in (kind.name, *kind.others)}
    yield from (folder for folder in subfolders(source) if folder.name.lower() in names)


def _msra10k(root: Path) -> list[Picture] | None:
    """Pictures are JPEG and masks PNG, side by side."""
    for place in (root / "MSRA10K_Imgs_GT" / "Imgs", root / "Imgs"):
        if place.is_dir():
            return _pairs([p for p in entries(place) if p.suffix.lower() in (".jpg", ".jpeg")], place)
    return None


def _two_folders(images: str, masks: str) -> Callable[[Path], list[Picture] | None]:
    def find(root: Path) -> list[Picture] | None:
        if not ((root / images).is_dir() and (root / masks).is_dir()):
            return None
        return _pairs([p for p in entries(root / images) if p.suffix.lower() in IMAGE_SUFFIXES], root / masks)

    return find


def _pairs(images: list[Path], masks: Path) -> list[Picture]:
    """Pictures with the mask of the same name; those without one have no object."""
    return [Picture(image, _Coloured(masks / f"{image.stem}.png")) for image in images]


@dataclass(frozen=True)
class _Coloured:
    """The label map of a mask with a colour for each object."""

    file: Path

    def __call__(self, size: tuple[int, int]) -> np.ndarray:
        if not self.file.is_file():
            return np.zeros(size, np.uint8)
        pixels = read_image(self.file)
        if pixels.shape[:2] != size:
            raise _other_size(self.file, (pixels.shape[0], pixels.shape[1]), size)
        try:
            return unified_labels(pixels)
        except ValueError as error:
            raise UserError(
                f"mask {self.file} has {error} and looks like a photograph; bring it again"
            ) from None


def _other_size(file: Path, found: tuple[int, int], wanted: tuple[int, int]) -> UserError:
    return UserError(
        f"mask {file} is {found[1]}x{found[0]} but its picture is {wanted[1]}x{wanted[0]}; bring both again"
    )


def _voc2012(root: Path) -> list[Picture] | None:
    for place in (root, root / "VOC2012", root / "VOCdevkit" / "VOC2012"):
        listed = place / "ImageSets" / "Segmentation" / "trainval.txt"
        if listed.is_file():
            return [
                Picture(
                    place / "JPEGImages" / f"{name}.jpg",
                    _Objects(place / "SegmentationObject" / f"{name}.png"),
                )
                for name in read_list(listed)
            ]
    return None


@dataclass(frozen=True)
class _Objects:
    """The label map of a mask of PASCAL VOC, without void."""

    file: Path

    def __call__(self, size: tuple[int, int]) -> np.ndarray:
        labels = read_mask(self.file, void=True)
        if labels.shape != size:
            raise _other_size(self.file, (labels.shape[0], labels.shape[1]), size)
        return np.where(labels > _VOC_OBJECTS, 0, labels).astype(np.uint8)


def _coco(root: Path) -> list[Picture] | None:
    found: list[Picture] = []
    for part in ("train2017", "val2017"):
        file = root / "annotations" / f"instances_{part}.json"
        place = next((p for p in (root / part, root / "images" / part) if p.is_dir()), None)
        if file.is_file() and place is not None:
            require_pycocotools()
            found += [Picture(place / name, made.labels) for name, made in read_instances(file).items()]
    return found or None


SETS = {
    "coco": Set(
        "COCO",
        ("coco2017",),
        "train2017/, val2017/ and annotations/instances_train2017.json, instances_val2017.json",
        _coco,
    ),
    "ecssd": Set("ECSSD", (), "images/ and ground_truth_mask/", _two_folders("images", "ground_truth_mask")),
    "msra10k": Set("MSRA10K", (), "MSRA10K_Imgs_GT/Imgs/ or Imgs/ with JPEGs and PNGs", _msra10k),
    "pascal-s": Set(
        "PASCAL-S",
        ("pascals",),
        "datasets/imgs/pascal/ and datasets/masks/pascal/",
        _two_folders("datasets/imgs/pascal", "datasets/masks/pascal"),
    ),
    "voc2012": Set(
        "PASCALVOC2012",
        ("voc2012", "vocdevkit", "pascal_voc"),
        "ImageSets/Segmentation/trainval.txt, JPEGImages/ and SegmentationObject/",
        _voc2012,
    ),
}
