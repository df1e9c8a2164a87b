"""What other programs read of a project."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
from app_world import FRAMES

from mamp.app.export import annotation, export
from mamp.core.errors import UserError
from mamp.datasets.sequences import open_dataset
from mamp.video.frames import open_frames
from mamp.video.masks import read_palette_mask

coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools, of the extra app")


def test_run_lengths_of_a_mask_worked_by_hand():
    mask = np.zeros((3, 3), bool)
    mask[1, 0] = mask[:, 2] = True
    # down the columns: one 0, one 1, four 0s, three 1s; the fourth is told as 3 - 1
    assert annotation(mask) == {
        "segmentation": {"size": [3, 3], "counts": "1142"},
        "area": 4,
        "bbox": [0, 0, 3, 3],
    }


def test_pngs_are_laid_out_as_davis_does(project, video, drawn):
    project.draw(1, drawn)
    root = export("davis", project, open_frames(video))
    masks = root / "Annotations" / "480p" / "clip"
    assert [p.name for p in sorted(masks.iterdir())] == [f"{i:05d}.png" for i in range(FRAMES)]
    np.testing.assert_array_equal(read_palette_mask(masks / "00001.png"), drawn)
    assert not read_palette_mask(masks / "00002.png").any()
    (root / "JPEGImages" / "480p").mkdir(parents=True)
    (root / "JPEGImages" / "480p" / "clip").symlink_to(video)
    (sequence,) = open_dataset("davis2017", root, "val")
    np.testing.assert_array_equal(sequence.read_truth(1), drawn)


def test_the_film_has_every_frame(project, video, drawn):
    project.draw(0, drawn)
    told: list[tuple[int, int]] = []
    path = export(
        "film", project, open_frames(video), progress=lambda done, total: told.append((done, total))
    )
    with av.open(str(path)) as film:
        assert sum(1 for _ in film.decode(video=0)) == FRAMES
    assert told[-1] == (FRAMES, FRAMES)


def test_coco_names_images_objects_and_masks(project, video, drawn):
    project.draw(2, drawn)
    whole = json.loads(export("coco", project, open_frames(video)).read_text())
    assert [image["file_name"] for image in whole["images"]] == [f"{i:05d}.jpg" for i in range(FRAMES)]
    assert whole["categories"] == [
        {"id": 1, "name": "left", "supercategory": "object"},
        {"id": 2, "name": "object 2", "supercategory": "object"},
    ]
    for one in whole["annotations"]:
        assert one["image_id"] == 3
        found = coco.decode(one["segmentation"])
        np.testing.assert_array_equal(found, drawn == one["category_id"])
        assert one["area"] == found.sum()
    assert whole["annotations"][0]["bbox"] == [5, 5, 20, 15]


def test_without_masks_there_is_nothing_to_export(project, video):
    with pytest.raises(UserError, match="no frame has a mask"):
        export("davis", project, open_frames(video))
    assert not (project.folder / "export").exists()


def test_every_form_of_segment_is_written_with_the_projects_names(project, video, drawn):
    from mamp.app.export import KINDS, exported

    project.draw(0, drawn)
    for kind in KINDS:
        made = export(kind, project, open_frames(video))
        assert made == exported(kind, project) and made.exists()
    assert "left" in exported("csv", project).read_text()
    assert '"left"' in (exported("yolo", project) / "data.yaml").read_text()
