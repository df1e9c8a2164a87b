"""Annotation files of other programs, and a table: YOLO, labelme, CSV."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mamp.core.files import make_folder, whole, write_text
from mamp.video.export.base import Clip, Saver, Shot
from mamp.video.export.shapes import polygons
from mamp.video.masks import object_ids

_NUDGE = 1e-7  # so that a reader that cuts off digits finds the pixel, not the one before it


def _write_image(folder: Path, shot: Shot) -> None:
    """FOLDER/NAME.jpg, where the frame is at hand."""
    if shot.frame is not None:
        make_folder(folder)
        with whole(folder / f"{shot.name}.jpg") as partial:
            Image.fromarray(shot.frame).save(partial, format="JPEG", quality=95)


class Yolo(Saver):
    """A data set for YOLO segmentation: labels/NAME.txt, images/NAME.jpg and data.yaml.

    A line is a class and a polygon, x and y over width and height. Each object is a class of its own, and one
    of several parts has several lines. Pixel (x, y) is at (x / width, y / height).
    """

    def __init__(self, path: Path, clip: Clip) -> None:
        super().__init__(path, clip)
        self._numbers = sorted(clip.objects)  # object of each class

    def write(self, shot: Shot) -> None:
        """Write a frame's labels, and its image where it is at hand."""
        height, width = shot.labels.shape
        lines = []
        for number in object_ids(shot.labels):
            if number not in self._numbers:
                self._numbers.append(number)
            for shape in polygons(shot.labels == number):
                places = " ".join(f"{x / width + _NUDGE:.7f} {y / height + _NUDGE:.7f}" for x, y in shape)
                lines.append(f"{self._numbers.index(number)} {places}\n")
        make_folder(self.path / "labels")
        write_text(self.path / "labels" / f"{shot.name}.txt", "".join(lines))
        _write_image(self.path / "images", shot)

    def finish(self) -> None:
        """Write data.yaml, which names the classes."""
        names = "".join(
            f"  {i}: {json.dumps(self.clip.called(n))}  # object {n}\n" for i, n in enumerate(self._numbers)
        )
        make_folder(self.path)
        write_text(self.path / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")


class Labelme(Saver):
    """A folder for labelme: NAME.json and, where frames are at hand, NAME.jpg.

    A shape is a polygon whose label is the object's name; the parts of an object have its id as group_id.
    """

    def write(self, shot: Shot) -> None:
        """Write a frame's shapes, and its image where it is at hand."""
        height, width = shot.labels.shape
        shapes: list[dict[str, Any]] = [
            {
                "label": self.clip.called(number),
                "points": [[float(x), float(y)] for x, y in shape],
                "group_id": number,
                "shape_type": "polygon",
                "flags": {},
            }
            for number in object_ids(shot.labels)
            for shape in polygons(shot.labels == number)
        ]
        image = self.clip.files.get(shot.name) if shot.frame is None else None
        content = {
            "version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": image or f"{shot.name}.jpg",
            "imageData": None, "imageHeight": height, "imageWidth": width,
        }  # fmt: skip
        make_folder(self.path)
        write_text(self.path / f"{shot.name}.json", json.dumps(content, indent=1) + "\n")
        _write_image(self.path, shot)


COLUMNS = (
    "frame", "seconds", "object", "name", "area", "share", "left", "top", "width", "height", "centre_x",
    "centre_y", "confidence",
)  # fmt: skip


class Table(Saver):
    """A CSV with a line for each object in each frame that shows it.

    area: pixels; share: its part of the frame. left, top, width, height: the box, in pixels. centre_x,
    centre_y: the mean place of its pixels. confidence: the mean probability of its pixels, 1 in a given mask.
    """

    def __init__(self, path: Path, clip: Clip) -> None:
        super().__init__(path, clip)
        self._text = io.StringIO()
        self._lines = csv.writer(self._text, lineterminator="\n")
        self._lines.writerow(COLUMNS)

    def write(self, shot: Shot) -> None:
        """Measure the objects of a frame."""
        time = self.clip.time(shot.index)
        when = "" if time is None else f"{time:.6f}"
        for number in object_ids(shot.labels):
            rows, columns = np.nonzero(shot.labels == number)
            left, top = int(columns.min()), int(rows.min())
            box = (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
            sure = f"{shot.sure[number]:.4f}" if number in shot.sure else ""
            share = f"{len(rows) / shot.labels.size:.6f}"
            centre = f"{columns.mean():.2f}", f"{rows.mean():.2f}"
            name = self.clip.called(number)
            self._lines.writerow([shot.name, when, number, name, len(rows), share, *box, *centre, sure])

    def finish(self) -> None:
        """Write the file."""
        make_folder(self.path.parent)
        write_text(self.path, self._text.getvalue())
