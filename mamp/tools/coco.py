"""Outlines of objects as COCO's instances_*.json has them -> label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import Malformed, UserError, reason
from mamp.core.texts import parse_json
from mamp.datasets.lists import plain_name
from mamp.video.first_masks.shapes import run_lengths, runs
from mamp.video.folders import read_text

LEAST_AREA = 500  # pixels; smaller objects are left out, as published (AFB-URR)
_MOST = 254  # objects of a picture; 255 is void


@dataclass(frozen=True)
class Annotated:
    """A picture (name, (H, W)) of `file` and the outlines of its objects, in the file's order."""

    file: Path
    name: str
    size: tuple[int, int]
    outlines: tuple[Any, ...]

    def labels(self, size: tuple[int, int]) -> np.ndarray:
        """uint8 (H, W): objects from 1 on, later ones over earlier ones.

        Raises UserError when the picture is not of `size`, and for an outline that is none.
        """
        if size != self.size:
            raise UserError(
                f"{self.name} is {size[1]}x{size[0]}, and {self.file} says {self.size[1]}x{self.size[0]};"
                " fetch both again"
            )
        labels = np.zeros(size, np.uint8)
        for number, outline in enumerate(self.outlines[:_MOST], start=1):
            try:
                labels[_inside(outline, size)] = number
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
                raise UserError(
                    f"{self.file} has an outline of {self.name} that is none ({reason(error)}); fetch it"
                    " again"
                ) from None
        return labels


def read_instances(file: Path, *, least_area: float = LEAST_AREA) -> dict[str, Annotated]:
    """Name of a picture -> its objects of `least_area` pixels or more; pictures without one are left out.

    Raises UserError when the file is no list of instances.
    """
    try:
        values = parse_json(read_text(file))
        outlines: dict[int, list[Any]] = {}
        for entry in values["annotations"]:
            if float(entry["area"]) >= least_area:
                outlines.setdefault(int(entry["image_id"]), []).append(entry["segmentation"])
        found = {}
        for image in values["images"]:
            name, number = plain_name(str(image["file_name"]), file), int(image["id"])
            if number in outlines:
                size = int(image["height"]), int(image["width"])
                found[name] = Annotated(file, name, size, tuple(outlines[number]))
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UserError(
            f"{file} is not a list of COCO's instances ({reason(error)}); fetch it again"
        ) from None


def require_pycocotools() -> None:
    """UserError when it is not there."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError:
        raise UserError("reading COCO's outlines needs pycocotools: install the extra coco") from None


def _inside(outline: Any, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W) of polygons [[x, y, x, y, ...], ...] or of run lengths {counts, size} down the columns."""
    if isinstance(outline, Mapping):  # read here: pycocotools 2.0.11 ends the process on a damaged string
        counts = outline["counts"]
        return runs(run_lengths(counts) if isinstance(counts, str) else counts, size)
    from pycocotools import mask

    height, width = size
    polygons = []
    for polygon in outline:
        points = np.asarray(polygon, np.float64)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise Malformed("a polygon needs three points or more")
        # far points would make pycocotools fill the memory
        points[0::2], points[1::2] = points[0::2].clip(0, width), points[1::2].clip(0, height)
        polygons.append(points.tolist())
    return mask.decode(mask.merge(mask.frPyObjects(polygons, height, width))).astype(bool)
