"""COCO's instance annotations: run lengths, boxes and areas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import UserError
from mamp.core.files import make_folder, write_text
from mamp.video.export.base import Clip, Saver, Shot
from mamp.video.masks import object_ids


class Coco(Saver):
    """One JSON: an annotation for each object in each frame that shows it; `track_id` is the object's id."""

    def __init__(self, path: Path, clip: Clip) -> None:
        try:
            import pycocotools.mask  # noqa: F401
        except ImportError:
            raise UserError('the form coco needs pycocotools; pip install "mamp[coco]"') from None
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
    """Return COCO's account of a mask, bool (H, W) with a pixel in it.

    That is its segmentation as compressed run lengths, its area in pixels, and its bbox (x, y, width,
    height).
    """
    from pycocotools import mask as coco

    runs = coco.encode(np.asfortranarray(mask, np.uint8))
    return {
        "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")},
        "area": int(coco.area(runs)),
        "bbox": [int(side) for side in coco.toBbox(runs)],
    }
