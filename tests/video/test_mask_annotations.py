"""Masks in the files of labelling programs, known by what is in them and not by their names."""

from __future__ import annotations

import base64
import io
import json
from itertools import groupby

import numpy as np
import pytest
from painted import SIZE, davis, grey, iou, painted, saved
from PIL import Image, ImageDraw

from mamp.core.errors import UserError
from mamp.video.first_masks.reading import read
from mamp.video.first_masks.shapes import filled, runs

HEIGHT, WIDTH = SIZE
SQUARE = [(20.0, 30.0), (60.0, 30.0), (60.0, 90.0), (20.0, 90.0)]
STAR = [(100.0, 20.0), (140.0, 60.0), (120.5, 100.2), (90.7, 80.0), (85.0, 45.5)]


def drawn(*outlines):
    """Label map of outlines, by Pillow at eight times the size."""
    labels = np.zeros(SIZE, np.uint8)
    for number, outline in enumerate(outlines, start=1):
        large = Image.new("1", (8 * WIDTH, 8 * HEIGHT))
        ImageDraw.Draw(large).polygon([(8 * x, 8 * y) for x, y in outline], fill=1)
        labels[np.array(large)[4::8, 4::8]] = number
    return labels


def same(found, wanted):
    assert sorted(np.unique(found)) == sorted(np.unique(wanted))
    assert all(iou(found == i, wanted == i) > 0.97 for i in np.unique(wanted))


def labelme(shapes, **more):
    return {
        "version": "5",
        "shapes": shapes,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        "imagePath": "a.jpg",
        **more,
    }


def shape(points, label="dog", **more):
    return {"label": label, "points": points, "shape_type": "polygon", "group_id": None, **more}


def coco(*annotations, images=None, **more):
    images = images or [{"id": 7, "file_name": "x/00000.jpg", "height": HEIGHT, "width": WIDTH}]
    made = [{"id": i, "image_id": 7, "category_id": 3, **a} for i, a in enumerate(annotations)]
    return {"images": images, "annotations": made, "categories": [{"id": 3, "name": "dog"}], **more}


def flat(outline):
    return [float(c) for point in outline for c in point]


def kept(path, told):
    path.write_text(told if isinstance(told, str) else json.dumps(told), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a"])
def test_labelme_polygons_are_objects_in_their_order(tmp_path, name):
    found = read(kept(tmp_path / name, labelme([shape(SQUARE), shape(STAR, "cat")])), size=SIZE)
    same(found.labels, drawn(SQUARE, STAR))
    assert "labelme: 1 is dog, 2 is cat" in found.line


def test_labelme_shapes_of_one_group_are_one_object(tmp_path):
    told = labelme(
        [shape(SQUARE, group_id=4), shape(STAR, group_id=4), shape([(0, 0), (9, 0), (9, 9)], group_id=5)]
    )
    found = read(kept(tmp_path / "a.json", told)).labels
    assert sorted(np.unique(found)) == [0, 1, 2] and iou(found == 1, drawn(SQUARE, STAR) > 0) > 0.97


def test_labelme_rectangles_circles_and_masks_are_read(tmp_path):
    png = io.BytesIO()
    Image.fromarray(np.full((10, 20), True)).save(png, "PNG")
    mask = {"mask": base64.b64encode(png.getvalue()).decode(), "shape_type": "mask"}
    told = labelme([
        shape([SQUARE[0], SQUARE[2]], shape_type="rectangle"),
        shape([(110, 60), (110, 80)], shape_type="circle"),
        shape([(130, 5), (149, 14)], **mask),
        shape([(1, 1), (5, 5)], shape_type="line"),
    ])  # fmt: skip
    found = read(kept(tmp_path / "a.json", told))
    assert iou(found.labels == 1, drawn(SQUARE) == 1) == 1
    assert abs((found.labels == 2).sum() - np.pi * 400) < 30
    assert (found.labels[5:15, 130:150] == 3).all() and (found.labels == 3).sum() == 200
    assert "1 points or lines are left out" in found.line


def test_coco_polygons_and_run_lengths_are_read(tmp_path):
    from pycocotools import mask

    truth = painted(3)
    packed = mask.encode(np.asfortranarray(truth))
    counts = [len(list(g)) for _, g in groupby(truth.T.ravel())]
    told = coco(
        {"segmentation": [flat(SQUARE), flat(STAR)]},
        {"segmentation": {"size": list(SIZE), "counts": packed["counts"].decode()}},
    )
    found = read(kept(tmp_path / "a.json", told)).labels
    np.testing.assert_array_equal(
        found == 2, (truth > 0) if truth.sum() < (drawn(SQUARE, STAR) > 0).sum() else found == 2
    )
    plain = coco({"segmentation": {"size": list(SIZE), "counts": counts}})
    np.testing.assert_array_equal(read(kept(tmp_path / "b.json", plain)).labels, truth)
    np.testing.assert_array_equal(runs(counts, SIZE), truth > 0)


def test_coco_numbers_objects_by_their_tracks(tmp_path):
    told = coco(
        {"segmentation": [flat(SQUARE)], "track_id": 9}, {"segmentation": [flat(STAR)], "track_id": 4}
    )
    found = read(kept(tmp_path / "a.json", told)).labels
    assert sorted(np.unique(found)) == [0, 4, 9]


@pytest.mark.parametrize("wrap", [
    lambda a: a, lambda a: a[0], lambda a: {"image": {"height": HEIGHT, "width": WIDTH}, "annotations": a},
])  # fmt: skip
def test_lists_of_masks_without_pictures_are_read(tmp_path, wrap):
    truth = painted(4)
    counts = [len(list(g)) for _, g in groupby(truth.T.ravel())]
    told = wrap([{"segmentation": {"size": list(SIZE), "counts": counts}, "area": 5}])
    np.testing.assert_array_equal(read(kept(tmp_path / "a.json", told)).labels, truth)


def test_a_coco_file_of_several_pictures_needs_one_that_is_meant(tmp_path):
    images = [{"id": i, "file_name": f"{i:05d}.jpg", "height": HEIGHT, "width": WIDTH} for i in (0, 7)]
    told = coco(
        {"segmentation": [flat(SQUARE)]}, {"segmentation": [flat(STAR)], "image_id": 0}, images=images
    )
    with pytest.raises(UserError, match="a.json has 2 pictures, of which none is named like a frame"):
        read(kept(tmp_path / "a.json", told))


@pytest.mark.parametrize("confidence", ["", " 0.93"])
def test_yolo_outlines_are_objects_at_the_frames_size(tmp_path, confidence):
    lines = [
        f"{k} " + " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in outline) + confidence
        for k, outline in ((2, SQUARE), (0, STAR))
    ]
    found = read(kept(tmp_path / "frame.txt", "\n".join(lines) + "\n"), size=SIZE)
    same(found.labels, drawn(SQUARE, STAR))
    assert "YOLO: 1 is class 2, 2 is class 0" in found.line
    assert read(tmp_path / "frame.txt", size=(240, 320)).labels.shape == (240, 320)
    with pytest.raises(UserError, match="does not say how large its picture is"):
        read(tmp_path / "frame.txt")


@pytest.mark.parametrize(("text", "words"), [
    ("0 0.5 0.5 0.2 0.2\n", "line 1 is a box"),
    ("0 0.1 0.1 0.9 0.1 0.5 0.9\n1 20 30 60 30 60 90\n", "line 2 is no outline in parts of the picture"),
    ("0 0.1 0.1 0.9 0.1 0.5 0.9\n" * 6 + "nothing\n", "line 7 is no line of numbers"),
])  # fmt: skip
def test_yolo_lines_that_are_no_outlines_are_named(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        read(kept(tmp_path / "a.txt", text), size=SIZE)


@pytest.mark.parametrize("told", [
    labelme([shape([(1, 1)])]), labelme([shape([(1, 1, 1)] * 4)]), coco({"segmentation": [[1, 2, 3]]}),
    coco({"segmentation": {"size": list(SIZE), "counts": [5]}}), coco({"segmentation": {"counts": "~~"}}),
    labelme([shape([(float("nan"), 1)] * 4)]), coco({"image_id": 7}), {"shapes": 3}, [3], "[",
    {"annotations": [None]},
])  # fmt: skip
def test_broken_annotations_are_refused_in_one_sentence(tmp_path, told):
    with pytest.raises(UserError, match="a.json") as error:
        read(kept(tmp_path / "a.json", told))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(5))
def test_outlines_are_filled_as_pillow_fills_them_at_a_larger_size(seed):
    rng = np.random.default_rng(seed)
    outline = [(float(x), float(y)) for x, y in rng.uniform((-10, -10), (WIDTH + 10, HEIGHT + 10), (7, 2))]
    assert iou(filled(outline, SIZE), drawn(outline) > 0) > 0.97


def test_where_objects_overlap_the_smaller_is_on_top(tmp_path):
    inner = [(30.0, 40.0), (50.0, 40.0), (50.0, 60.0), (30.0, 60.0)]
    for order in ((inner, SQUARE), (SQUARE, inner)):
        found = read(kept(tmp_path / "a.json", labelme([shape(o) for o in order]))).labels
        assert (found == 1 + order.index(inner)).sum() == 400


def test_stacks_of_layers_are_one_object_each(tmp_path):
    labels = painted(5, 3)
    np.save(tmp_path / "a.npy", np.stack([labels == k for k in (1, 2, 3)]))
    np.testing.assert_array_equal(read(tmp_path / "a.npy").labels, labels)
    np.savez(tmp_path / "b.npz", labels)
    np.testing.assert_array_equal(read(tmp_path / "b.npz").labels, labels)


def test_one_file_an_object(tmp_path):
    labels = painted(6, 3)
    files = [saved(tmp_path / f"{k}.png", grey(labels == k)) for k in (1, 2, 3)]
    found = read(files)
    np.testing.assert_array_equal(found.labels, labels)
    assert "1.png is object 1, 2.png is object 2, 3.png is object 3" in found.line
    with pytest.raises(UserError, match="all.png has several objects"):
        read([files[0], saved(tmp_path / "all.png", davis(labels))])


def test_a_claimed_size_is_held_against_the_frame_before_anything_is_drawn(tmp_path):
    shape = {"label": "a", "points": [[0, 0], [9, 0], [9, 9]], "shape_type": "polygon"}
    huge = {"imageHeight": 60_000, "imageWidth": 50_000, "imagePath": "a.jpg", "shapes": [shape]}
    (tmp_path / "a.json").write_text(json.dumps(huge))
    with pytest.raises(UserError, match="is 50000x60000 pixels and its frame"):
        read(tmp_path / "a.json", size=SIZE)
    with pytest.raises(UserError, match="says that its picture has 50000x60000 pixels"):
        read(tmp_path / "a.json")
    coco = {"annotations": [{"segmentation": {"size": [60_000, 50_000], "counts": [3_000_000_000]}}]}
    (tmp_path / "b.json").write_text(json.dumps(coco))
    with pytest.raises(UserError, match="is 50000x60000 pixels and its frame"):
        read(tmp_path / "b.json", size=SIZE)
    np.savez_compressed(tmp_path / "c.npz", np.zeros((4, 7000, 6000), np.uint8))
    with pytest.raises(UserError, match="has 6000x7000 pixels and 168 MB"):
        read(tmp_path / "c.npz", size=SIZE)


def test_no_words_of_python_say_what_is_wrong(tmp_path):
    for number, told in enumerate(
        ({"annotations": [], "categories": 5}, {"annotations": 5}, {"shapes": {"a": 1}})
    ):
        (tmp_path / f"{number}.json").write_text(json.dumps(told))
        with pytest.raises(UserError, match="a value in it is not of the kind that belongs there"):
            read(tmp_path / f"{number}.json", size=SIZE)
