"""COCO's instance annotations: run lengths, boxes and areas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.files import make_folder, write_text
from mamp.video.export.base import Clip, Saver, Shot
from mamp.video.masks import object_ids


class Coco(Saver):
    """One JSON: an annotation for each object in each frame that shows it; `track_id` is the object's id."""

    def __init__(self, path: Path, clip: Clip) -> None:
        super().__init__(path, clip)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def write(self, shot: Shot) -> None:
        """Take down the objects of a frame."""
        height, width = shot.labels.shape
        image = {
            "id": shot.index + 1,
            "file_name": self.clip.files.get(shot.name, f"{shot.name}.jpg"),
            "width": width,
            "height": height,
            "frame": shot.index,
        }
        self._images.append(image)
        for number in object_ids(shot.labels):
            one = {
                "id": len(self._annotations) + 1,
                "image_id": shot.index + 1,
                "category_id": number,
                "track_id": number,
                "iscrowd": 0,
                **annotation(shot.labels == number),
            }
            if number in shot.sure:
                one["score"] = shot.sure[number]
            self._annotations.append(one)

    def finish(self) -> None:
        """Write the file."""
        numbers = sorted({*self.clip.objects, *(one["category_id"] for one in self._annotations)})
        categories = [{"id": n, "name": self.clip.called(n), "supercategory": "object"} for n in numbers]
        whole = {
            "info": {"description": self.clip.name, "video": self.clip.video or self.clip.name},
            "images": self._images, "annotations": self._annotations, "categories": categories,
        }  # fmt: skip
        make_folder(self.path.parent)
        write_text(self.path, json.dumps(whole) + "\n")


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
