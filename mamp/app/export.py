"""A project's masks for other programs: PNGs as DAVIS lays them out, a film, COCO's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mamp.app.project import Project
from mamp.core.errors import UserError
from mamp.core.files import make_folder, write_text
from mamp.video.frames import FrameSource
from mamp.video.masks import write_mask
from mamp.video.overlay import Film, blend

Told = Callable[[int, int], None]


def export(
    kind: str, project: Project, source: FrameSource, *, told: Told = lambda done, total: None
) -> Path:
    """Write the project's masks as `kind` into FOLDER/export; where they are.

    kind: `davis`, `film` or `coco`. source: the video's frames. told: called with (frames done, of how many).
    Raises UserError for another kind, a project without masks, and what cannot be written.
    """
    if kind not in KINDS:
        raise UserError(f"export {kind} is not known; use one of {', '.join(KINDS)}")
    if not any(frame.kind for frame in project.frames()):
        raise UserError("no frame has a mask yet; draw one first")
    folder = project.folder / "export"
    make_folder(folder)
    return KINDS[kind](project, source, folder, told)


def sequence_name(project: Project) -> str:
    """What the video is called in an export."""
    name = project.video.stem if project.video.is_file() else project.video.name
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "video"


def _davis(project: Project, source: FrameSource, folder: Path, told: Told) -> Path:
    """davis/Annotations/480p/NAME/FRAME.png, every frame one, and the lists that name the sequence."""
    name, root = sequence_name(project), folder / "davis"
    masks = root / "Annotations" / "480p" / name
    make_folder(masks)
    for index, frame in enumerate(project.names):
        write_mask(masks / f"{frame}.png", project.mask(index))
        told(index + 1, len(project.names))
    lists = root / "ImageSets" / "2017"
    make_folder(lists)
    write_text(lists / "val.txt", f"{name}\n")
    return root


def _film(project: Project, source: FrameSource, folder: Path, told: Told) -> Path:
    path = folder / f"{sequence_name(project)}.mp4"
    with Film(path, fps=project.fps) as film:
        for index, frame in source.stream():
            film.write(blend(frame, project.mask(index)))
            told(index + 1, len(project.names))
    return path


def _coco(project: Project, source: FrameSource, folder: Path, told: Told) -> Path:
    """COCO's instance annotations, one for each object in each frame that shows it; `track_id` is the
    object's id.
    """
    height, width = project.size
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index, name in enumerate(project.names):
        file = source.where(index)
        images.append(
            {
                "id": index + 1,
                "file_name": Path(file).name if project.video.is_dir() else f"{name}.jpg",
                "width": width,
                "height": height,
                "frame": index,
            }
        )
        labels = project.mask(index)
        for number in (int(i) for i in np.unique(labels) if i):
            shown = annotation(labels == number)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": number,
                    "track_id": number,
                    "iscrowd": 0,
                    **shown,
                }
            )
        told(index + 1, len(project.names))
    categories = [{"id": o.id, "name": o.name, "supercategory": "object"} for o in project.objects]
    whole = {
        "info": {"description": sequence_name(project), "video": str(project.video)},
        "images": images, "annotations": annotations, "categories": categories,
    }  # fmt: skip
    path = folder / f"{sequence_name(project)}.json"
    write_text(path, json.dumps(whole) + "\n")
    return path


KINDS: dict[str, Callable[[Project, FrameSource, Path, Told], Path]] = {
    "davis": _davis,
    "film": _film,
    "coco": _coco,
}


def annotation(mask: np.ndarray) -> dict[str, Any]:
    """What COCO says of a mask, bool (H, W) with a pixel in it: segmentation, area in pixels, bbox (x, y,
    width, height).
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
        "area": int(mask.sum()),
        "bbox": [int(v) for v in box],
    }


def run_lengths(mask: np.ndarray) -> str:
    """COCO's compressed run lengths of a mask, bool (H, W).

    Runs go down the columns and begin with one of zeros. From the fourth on each is written as its difference
    from the run two before. Numbers are in groups of five bits, the lowest first, a sixth bit says that more
    come; each is written as the character 48 further on. A number ends when the rest is its sign.
    """
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = [0, *([0] if flat[0] else []), *edges.tolist(), len(flat)]
    runs = np.diff(bounds).tolist()
    return "".join(_five_bits(n - runs[i - 2] if i > 2 else n) for i, n in enumerate(runs))


def _five_bits(number: int) -> str:
    letters = []
    while True:
        low, number = number & 31, number >> 5
        more = not (number == 0 and not low & 16 or number == -1 and low & 16)
        letters.append(chr(48 + low + 32 * more))
        if not more:
            return "".join(letters)
