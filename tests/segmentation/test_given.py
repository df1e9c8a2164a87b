"""The masks a person gives for a video: files, folders, arrays, and what is said of them."""

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scenes import scene, write_video

from mamp.core.errors import UserError
from mamp.segmentation.given import MaskLog, given_masks
from mamp.segmentation.segment import segment
from mamp.segmentation.segmenter import label_map
from mamp.video.first_masks.reading import Reader
from mamp.video.masks import read_mask, write_mask

SIZE = (24, 32)
NAMES = [f"{t:05d}" for t in range(6)]
FIRST = scene(0)[1]


@pytest.fixture
def said():
    """What was said: lines, and warnings."""
    return [], []


@pytest.fixture
def read(said):
    """read(masks) -> {frame: label map}."""

    def read(masks, names=NAMES, **options):
        log = MaskLog(said[0].append, said[1].append)
        given = given_masks(masks, names, log=log, **options)
        return {i: np.asarray(label_map(one.read(), SIZE)) for i, one in sorted(given.items())}

    return read


def grey(path, inside):
    Image.fromarray(np.uint8(255) * inside).save(path)
    return path


def test_a_file_is_the_mask_of_the_frame_at_index(tmp_path, read, said):
    write_mask(tmp_path / "first.png", FIRST)
    for index in (0, 3):
        np.testing.assert_array_equal(read(tmp_path / "first.png", index=index)[index], FIRST)
    assert said[0][0] == "first.png: objects 1 (3.9 %), 2 (3.9 %)"


def test_a_folder_named_like_frames_has_a_mask_for_each(tmp_path, read, said):
    for t in (0, 2, 5):
        write_mask(tmp_path / f"{t:05d}.png", scene(t)[1])
    found = read(tmp_path)
    assert list(found) == [0, 2, 5]
    for t in found:
        np.testing.assert_array_equal(found[t], scene(t)[1])
    assert [line.split(":")[0] for line in said[0]] == ["00000.png", "00002.png", "00005.png"]


@pytest.mark.parametrize("names", [("0.png", "1.png"), ("dog.png", "man.png"), ("mask_2.png", "mask_10.png")])
@pytest.mark.parametrize("how", ["folder", "files"])
def test_one_file_an_object(tmp_path, read, names, how):
    files = [grey(tmp_path / name, k == FIRST) for k, name in enumerate(names, start=1)]
    np.testing.assert_array_equal(read(tmp_path if how == "folder" else files)[0], FIRST)


def test_a_folder_of_one_file_is_that_file(tmp_path, read):
    write_mask(tmp_path / "mine.png", FIRST)
    np.testing.assert_array_equal(read(tmp_path)[0], FIRST)


def test_folders_by_object_have_files_named_like_frames(tmp_path, read):
    for number in (1, 2):
        (tmp_path / f"{number:03d}").mkdir()
        for t in (0, 4):
            grey(tmp_path / f"{number:03d}" / f"{t:05d}.png", scene(t)[1] == number)
    found = read(tmp_path)
    for t in (0, 4):
        np.testing.assert_array_equal(found[t], scene(t)[1])


def test_names_like_those_of_frames_that_are_none_are_refused(tmp_path, read):
    write_mask(tmp_path / "00033.png", FIRST)
    with pytest.raises(UserError, match="00033.png has no frame of its name"):
        read(tmp_path)
    write_mask(tmp_path / "mine.png", FIRST)
    (tmp_path / "00033.png").rename(tmp_path / "00003.png")
    with pytest.raises(UserError, match="mine.png has no frame of its name"):
        read(tmp_path)


def test_annotations_lie_beside_the_frames_they_were_drawn_on(tmp_path, read):
    frames = write_video(tmp_path)
    corners = [[2, 2], [8, 2], [8, 7], [2, 7]]
    for t in (0, 3):
        told = {
            "shapes": [{"label": "a", "points": [[x + t, y] for x, y in corners], "shape_type": "polygon"}]
        }
        (frames / f"{t:05d}.json").write_text(json.dumps({**told, "imageHeight": 24, "imageWidth": 32}))
    found = read(frames)
    assert list(found) == [0, 3]
    np.testing.assert_array_equal(found[3], scene(3)[1] == 1)


def test_a_coco_file_has_masks_for_the_frames_it_names(tmp_path, read):
    images = [{"id": t, "file_name": f"x/{t:05d}.jpg", "height": 24, "width": 32} for t in (0, 4)]
    outline = [[2, 2, 8, 2, 8, 7, 2, 7]]
    told = [{"image_id": t, "segmentation": outline, "category_id": 1, "track_id": 5} for t in (0, 4)]
    (tmp_path / "all.json").write_text(json.dumps({"images": images, "annotations": told}))
    found = read(tmp_path / "all.json")
    assert list(found) == [0, 4] and set(np.unique(found[4])) == {0, 5}


def test_yolo_outlines_take_the_frames_size(tmp_path, read):
    (tmp_path / "first.txt").write_text("0 0.0625 0.0833 0.25 0.0833 0.25 0.2917 0.0625 0.2917\n")
    np.testing.assert_array_equal(read(tmp_path / "first.txt")[0], FIRST == 1)


def test_a_colour_is_one_object_in_all_masks_of_a_video(tmp_path, read):
    table = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)], np.uint8)
    Image.fromarray(table[np.where(FIRST == 2, 2, 0)]).save(tmp_path / "00000.png")
    Image.fromarray(table[scene(3)[1]]).save(tmp_path / "00003.png")
    found = read(tmp_path, reader=Reader())
    assert set(np.unique(found[0])) == {0, 1}
    np.testing.assert_array_equal(found[3] == 1, scene(3)[1] == 2)


def test_many_masks_are_not_told_of_one_by_one(tmp_path, read, said):
    names = [f"{t:05d}" for t in range(30)]
    for name in names:
        write_mask(tmp_path / f"{name}.png", FIRST)
    read(tmp_path, names)
    assert len(said[0]) == 11 and said[0][-1] == "further masks are read alike"


def test_what_is_odd_is_a_warning_once(tmp_path, read, said):
    grey(tmp_path / "a.png", np.ones(SIZE, bool))
    for _ in range(2):
        read(tmp_path / "a.png")
    assert any("over 90 %" in words for words in said[1])


@pytest.mark.parametrize("quiet", [False, True])
def test_segment_says_what_it_read(tmp_path, make_segmenter, capsys, quiet):
    frames = write_video(tmp_path)
    soft = Image.fromarray(np.uint8(255) * (FIRST > 0)).resize((320, 240)).filter(ImageFilter.GaussianBlur(2))
    soft.save(tmp_path / "soft.png")
    segment(frames, tmp_path / "soft.png", tmp_path / "out", make_segmenter, quiet=quiet)
    err = capsys.readouterr().err
    assert ("soft.png: objects 1 (7." in err and "320x240 resized to 32x24" in err) is not quiet
    assert set(np.unique(read_mask(tmp_path / "out" / "00005.png"))) == {0, 1}


def test_segment_takes_one_file_an_object(tmp_path, make_segmenter):
    frames = write_video(tmp_path)
    files = [grey(tmp_path / f"{k}.png", k == FIRST) for k in (1, 2)]
    segment(frames, files, tmp_path / "out", make_segmenter, quiet=True)
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "00005.png"), scene(5)[1])


# ---------------------------------------------------------------- in Python


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.int32, bool])
def test_an_array_of_0_and_255_is_object_1(make_segmenter, kind):
    mask = (255 * (FIRST > 0)).astype(kind)
    labels = make_segmenter().step(scene(0)[0], mask)
    np.testing.assert_array_equal(labels, FIRST > 0)


def test_255_stays_an_object_that_is_followed(make_segmenter):
    segmenter = make_segmenter()
    segmenter.step(scene(0)[0], np.array([0, 1, 255], np.uint8)[FIRST])
    labels = segmenter.step(scene(1)[0], np.array([0, 0, 255], np.uint8)[scene(1)[1]])
    assert set(np.unique(labels)) == {0, 1, 255} and segmenter.ids == [1, 255]


def test_a_step_takes_files_and_pictures(tmp_path, make_segmenter):
    path = grey(tmp_path / "a.png", FIRST > 0)
    for mask in (path, str(path), Image.open(path)):
        np.testing.assert_array_equal(make_segmenter().step(scene(0)[0], mask), FIRST > 0)


def test_mamp_reads_and_writes_masks(tmp_path):
    import mamp

    mamp.write_mask(tmp_path / "a.png", FIRST)
    np.testing.assert_array_equal(mamp.read_mask(tmp_path / "a.png"), FIRST)
    with pytest.warns(UserWarning, match="the mask: object 1 covers 100.0 % of the frame"):
        mamp.read_mask(np.full(SIZE, 255, np.uint8))
