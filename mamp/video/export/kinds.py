"""The forms by name, and what a person asks of them: `cutout,gif` or `cutout=film.mov`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mamp.core.errors import UserError
from mamp.core.files import refuse_target
from mamp.video.export.annotations import Labelme, Table, Yolo
from mamp.video.export.base import Clip, Saver
from mamp.video.export.coco import Coco
from mamp.video.export.films import CutoutFilm, CutoutFolder, FilmSaver, Gif, MaskFilm, Sheet
from mamp.video.film import CONTAINERS


@dataclass(frozen=True)
class Kind:
    """One form: what makes it by the ending of the path ("" is a folder), the first being the default.

    frames: whether it needs the frames; else masks do. words: what it is.
    """

    makers: dict[str, Callable[[Path, Clip], Saver]]
    frames: bool
    words: str


_films = dict.fromkeys(CONTAINERS)
KINDS: dict[str, Kind] = {
    "cutout": Kind(
        {"": CutoutFolder, ".mov": CutoutFilm, ".webm": CutoutFilm},
        True,
        "the objects on transparency: RGBA PNGs; .mov is ProRes 4444, .webm VP9",
    ),
    "film": Kind(dict.fromkeys(_films, FilmSaver), True, "a film of the masks over the frames"),
    "mask-video": Kind(dict.fromkeys(_films, MaskFilm), False, "a film of the objects' colours on black"),
    "gif": Kind({".gif": Gif}, True, "a small moving picture"),
    "sheet": Kind({".png": Sheet, ".jpg": Sheet}, True, "one picture of twelve frames"),
    "coco": Kind({".json": Coco}, False, "COCO's JSON: run lengths, boxes, areas"),
    "yolo": Kind({"": Yolo}, False, "YOLO segmentation: labels, images, data.yaml"),
    "labelme": Kind({"": Labelme}, False, "labelme's JSON, one a frame"),
    "csv": Kind({".csv": Table}, False, "area, box, centre and confidence of each object and frame"),
}


@dataclass(frozen=True)
class Wish:
    """A form to write, and where."""

    kind: str
    path: Path

    @property
    def frames(self) -> bool:
        """Whether the frames are needed."""
        return KINDS[self.kind].frames


def wishes(words: Iterable[str], beside: Path) -> list[Wish]:
    """Read `gif`, `cutout=film.mov` or several with commas between; without a path it is BESIDE-KIND.

    Raises UserError for an unknown kind, an ending that it cannot have, one path for two, and where something
    else than a file is at the path of one.
    """
    found = []
    for word in (part.strip() for each in words for part in each.split(",") if part.strip()):
        name, _, path = word.partition("=")
        if name not in KINDS:
            raise UserError(f"save {name} is not known; use one of {', '.join(KINDS)}")
        makers = KINDS[name].makers
        where = Path(path) if path else beside.with_name(f"{beside.name}-{name}{next(iter(makers))}")
        if (ending := _ending(where, makers)) is None:
            allowed = " or ".join(suffix or "a folder" for suffix in makers)
            raise UserError(f"save {name} goes to {allowed}, not to {where}; name it so")
        if ending:
            refuse_target(where)
        found.append(Wish(name, where))
    if twice := next((w.path for w in found if sum(w.path == o.path for o in found) > 1), None):
        raise UserError(f"{twice} is asked for twice; give each form a path of its own")
    return found


def _ending(path: Path, makers: dict[str, Callable[[Path, Clip], Saver]]) -> str | None:
    suffix = path.suffix.lower()
    if suffix in makers:
        return suffix
    may_be_a_folder = path.is_dir() or suffix not in _FILES
    return "" if "" in makers and may_be_a_folder else None


_FILES = frozenset({*CONTAINERS, ".png", ".zip", ".json", ".gif"})  # endings that are no folder's


def open_saver(wish: Wish, clip: Clip) -> Saver:
    """Return what writes a form of this clip; a context manager."""
    makers = KINDS[wish.kind].makers
    ending = _ending(wish.path, makers)
    assert ending is not None
    return makers[ending](wish.path, clip)
