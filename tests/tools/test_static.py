"""Masks of still pictures as one kind of label map."""

import json

import numpy as np
import pytest
from PIL import Image

from mamp.cli import build_parser, main
from mamp.config import Root
from mamp.core.errors import UserError
from mamp.datasets.sequences import training_sequences
from mamp.tools.static import SETS, unified_labels, unify
from mamp.video.masks import read_palette_mask


def coloured(*colours):
    return np.array([colours], np.uint8)


def test_colours_are_numbered_by_blue_then_green_then_red():
    mask = coloured((0, 0, 0), (255, 200, 100), (200, 100, 250), (0, 0, 0))
    assert unified_labels(mask).tolist() == [[0, 1, 2, 0]]


def test_a_dark_colour_is_background_and_uses_no_number():
    assert unified_labels(coloured((0, 0, 0), (20, 20, 20), (255, 255, 255))).tolist() == [[0, 0, 1]]


def test_without_black_the_first_colour_is_background():
    assert unified_labels(coloured((255, 255, 200), (255, 255, 255))).tolist() == [[0, 1]]


def test_a_photograph_is_no_mask():
    with pytest.raises(ValueError, match="colours"):
        unified_labels(np.random.default_rng(0).integers(128, 256, (40, 40, 3), dtype=np.uint8))


# ---------------------------------------------------------------- sets, as their authors pack them

SIZE = (24, 32)


def picture(path, *, size=SIZE, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)


def mask(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


def box(value=255, *, size=SIZE):
    labels = np.zeros(size, np.uint8)
    labels[4:12, 6:20] = value
    return labels


def msra10k(root, names=("1", "2", "3")):
    for n, name in enumerate(names):
        picture(root / "MSRA10K_Imgs_GT" / "Imgs" / f"{name}.jpg", seed=n)
        mask(root / "MSRA10K_Imgs_GT" / "Imgs" / f"{name}.png", box())
    return root


def ecssd(root):
    picture(root / "images" / "0001.jpg")
    mask(root / "ground_truth_mask" / "0001.png", box())
    return root


def pascal_s(root):
    picture(root / "datasets" / "imgs" / "pascal" / "7.jpg")
    two = box(200)
    two[14:20, 2:9] = 255
    mask(root / "datasets" / "masks" / "pascal" / "7.png", two)
    return root


def voc2012(root):
    labels = box(3)
    labels[3], labels[20:, 20:] = 255, 21  # void, and an object too many
    picture(root / "JPEGImages" / "2007_1.jpg")
    picture(root / "JPEGImages" / "unlisted.jpg")
    (root / "SegmentationObject").mkdir()
    image = Image.fromarray(labels)
    image.putpalette([*range(256)] * 3)
    image.save(root / "SegmentationObject" / "2007_1.png")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "trainval.txt").write_text("2007_1\n")
    return root


POLYGON = [[6, 4, 20, 4, 20, 12, 6, 12]]


def counts(inside):
    """Run lengths down the columns, outside first."""
    flat = inside.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.r_[0, edges, flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths


def coco(root, outlines=None, *, size=SIZE, name="9.jpg", area=600):
    picture(root / "train2017" / "9.jpg", size=SIZE)
    picture(root / "train2017" / "10.jpg", size=SIZE)
    outlines = [POLYGON] if outlines is None else outlines
    values = {
        "images": [
            {"id": 9, "file_name": name, "height": size[0], "width": size[1]},
            {"id": 10, "file_name": "10.jpg", "height": size[0], "width": size[1]},
        ],
        "annotations": [
            *({"image_id": 9, "area": area, "segmentation": outline} for outline in outlines),
            {"image_id": 10, "area": 499, "segmentation": POLYGON},
        ],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(values))
    return root


WORLDS = {
    "coco": (coco, "COCO", "9"),
    "ecssd": (ecssd, "ECSSD", "0001"),
    "msra10k": (msra10k, "MSRA10K", "1"),
    "pascal-s": (pascal_s, "PASCAL-S", "7"),
    "voc2012": (voc2012, "PASCALVOC2012", "2007_1"),
}


def made(name, root, out, **more):
    return unify(name, root, out, quiet=True, **more)


@pytest.mark.parametrize("name", WORLDS)
def test_a_set_comes_into_one_layout(tmp_path, name):
    build, folder, stem = WORLDS[name]
    build(tmp_path / "src")
    made(name, tmp_path / "src", tmp_path / "out", workers=3)
    file = tmp_path / "out" / "Annotations" / folder / f"{stem}.png"
    assert Image.open(file).mode == "P"
    labels = read_palette_mask(file)
    expected = {"pascal-s": {0, 1, 2}, "voc2012": {0, 3}}.get(name, {0, 1})
    assert set(np.unique(labels).tolist()) == expected
    assert (labels[5:11, 7:19] > 0).all() and not labels[0].any()
    (image,) = (tmp_path / "out" / "JPEGImages" / folder).glob(f"{stem}.*")
    source = next((tmp_path / "src").rglob(f"{stem}.jpg"))
    assert image.read_bytes() == source.read_bytes()


def test_all_takes_the_sets_that_are_there_and_tells_of_the_others(tmp_path, capsys):
    msra10k(tmp_path / "src" / "msra10k")
    voc2012_root = tmp_path / "src" / "VOCdevkit"
    voc2012_root.mkdir()
    (voc2012_root / "VOC2012").mkdir()
    voc2012(voc2012_root / "VOC2012")
    done = made("all", tmp_path / "src", tmp_path / "out")
    assert [(set_.name, set_.pictures) for set_ in done] == [("MSRA10K", 3), ("PASCALVOC2012", 1)]
    told = capsys.readouterr().err
    assert all(
        f"{name}: not in {tmp_path / 'src'}, left out" in told for name in ("COCO", "ECSSD", "PASCAL-S")
    )


def test_training_reads_what_was_made(tmp_path):
    msra10k(tmp_path / "src")
    made("msra10k", tmp_path / "src", tmp_path / "out")
    (video,) = training_sequences((Root(path=tmp_path / "out"),), masks=True)
    assert video.frame_names == ("1", "2", "3")
    assert (video.read_truth(0) == (box() > 0)).all()


def test_what_is_finished_is_not_made_again(tmp_path):
    msra10k(tmp_path / "src")
    (first,) = made("msra10k", tmp_path / "src", tmp_path / "out")
    kept = tmp_path / "out" / "Annotations" / "MSRA10K"
    (kept / "2.png").unlink()
    (kept / ".2.png.77.partial").write_bytes(b"half")
    times = {file.name: file.stat().st_mtime_ns for file in kept.glob("*.png")}
    (second,) = made("msra10k", tmp_path / "src", tmp_path / "out")
    assert (first.made, second.made, second.pictures) == (3, 1, 3)
    assert sorted(file.name for file in kept.iterdir()) == ["1.png", "2.png", "3.png"]
    assert all((kept / name).stat().st_mtime_ns == then for name, then in times.items())


def test_pictures_without_an_object_are_left_out(tmp_path):
    root = msra10k(tmp_path / "src")
    (root / "MSRA10K_Imgs_GT" / "Imgs" / "2.png").unlink()
    mask(root / "MSRA10K_Imgs_GT" / "Imgs" / "3.png", box(0))
    (done,) = made("msra10k", root, tmp_path / "out")
    assert (done.pictures, done.bare) == (1, 2)
    assert [file.name for file in (tmp_path / "out" / "JPEGImages" / "MSRA10K").iterdir()] == ["1.jpg"]


def test_later_outlines_lie_over_earlier_ones_and_small_ones_are_left_out(tmp_path):
    whole = [[0, 0, 32, 0, 32, 24, 0, 24]]
    coco(tmp_path / "src", [whole, POLYGON])
    made("coco", tmp_path / "src", tmp_path / "out")
    labels = read_palette_mask(tmp_path / "out" / "Annotations" / "COCO" / "9.png")
    assert labels[0, 0] == 1 and labels[8, 10] == 2
    assert not (tmp_path / "out" / "Annotations" / "COCO" / "10.png").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_run_lengths_are_read_as_pycocotools_writes_them(tmp_path, packed):
    inside = box() > 0
    inside[2, 30] = inside[23, 31] = True
    outline = {"size": list(SIZE), "counts": counts(inside)}
    if packed:
        mask_tools = pytest.importorskip("pycocotools.mask")
        written = mask_tools.encode(np.asfortranarray(inside.astype(np.uint8)))
        outline["counts"] = written["counts"].decode()
    coco(tmp_path / "src", [outline])
    made("coco", tmp_path / "src", tmp_path / "out")
    found = read_palette_mask(tmp_path / "out" / "Annotations" / "COCO" / "9.png")
    assert (found == inside).all()


@pytest.mark.parametrize(
    ("outline", "words"),
    [
        ([[1, 2, 3]], "three points"),
        ([[1, 2, 3, 4, float("inf"), 6]], "three points"),
        ("polygon", "outline of 9.jpg"),
        (None, "outline of 9.jpg"),
        ({"counts": [10**12]}, "run lengths"),
        ({"counts": [5, 6]}, "run lengths of 11 pixels for 768"),
        ({"counts": "\u007f~~~~"}, "run lengths"),
        ({"size": [2, 2]}, "counts"),
    ],
)
def test_a_broken_outline_is_named(tmp_path, outline, words):
    coco(tmp_path / "src", [outline])
    with pytest.raises(UserError, match=words):
        made("coco", tmp_path / "src", tmp_path / "out")


def test_points_far_outside_do_no_harm(tmp_path):
    coco(tmp_path / "src", [[[-1e12, -1e12, 1e12, -1e12, 1e12, 1e12, -1e12, 1e12]]])
    made("coco", tmp_path / "src", tmp_path / "out")
    labels = read_palette_mask(tmp_path / "out" / "Annotations" / "COCO" / "9.png")
    assert (labels == 1).all()


@pytest.mark.parametrize("name", ["../9.jpg", "/etc/9.jpg", ".."])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    coco(tmp_path / "src", name=name)
    with pytest.raises(UserError, match="not the name of a folder or a frame"):
        made("coco", tmp_path / "src", tmp_path / "out")


@pytest.mark.parametrize("text", ["", "[]", '{"images": 3, "annotations": []}', "[" * 100_000])
def test_a_list_of_instances_that_is_none_is_named(tmp_path, text):
    coco(tmp_path / "src")
    (tmp_path / "src" / "annotations" / "instances_train2017.json").write_text(text)
    with pytest.raises(UserError, match=r"instances_train2017\.json is not a list"):
        made("coco", tmp_path / "src", tmp_path / "out")


def test_a_picture_of_another_size_than_told_is_named(tmp_path):
    coco(tmp_path / "src", size=(2, 10**9))
    with pytest.raises(UserError, match=r"9\.jpg is 32x24, and .* says 1000000000x2"):
        made("coco", tmp_path / "src", tmp_path / "out")


def test_a_damaged_picture_is_named_or_left_out(tmp_path, capsys):
    root = msra10k(tmp_path / "src")
    (root / "MSRA10K_Imgs_GT" / "Imgs" / "2.jpg").write_bytes(b"no jpeg")
    with pytest.raises(UserError, match=r"2\.jpg cannot be read"):
        made("msra10k", root, tmp_path / "out")
    (done,) = unify("msra10k", root, tmp_path / "out", bad_frame="skip")
    assert (done.pictures, done.bad) == (2, 1)
    assert "2.jpg cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ecssd", "voc2012"])
def test_a_mask_of_another_size_is_named(tmp_path, name):
    build, _, stem = WORLDS[name]
    root = build(tmp_path / "src")
    picture(next(root.rglob(f"{stem}.jpg")), size=(10, 10))
    with pytest.raises(UserError, match=f"{stem}.png is 32x24 but its picture is 10x10"):
        made(name, root, tmp_path / "out")


def test_a_set_that_is_not_there_is_named_with_its_layout(tmp_path):
    (tmp_path / "src").mkdir()
    with pytest.raises(UserError, match="does not hold ECSSD: images/ and ground_truth_mask/"):
        made("ecssd", tmp_path / "src", tmp_path / "out")
    with pytest.raises(UserError, match="holds none of"):
        made("all", tmp_path / "src", tmp_path / "out")
    with pytest.raises(UserError, match="is not a folder"):
        made("all", tmp_path / "nowhere", tmp_path / "out")


def test_the_source_is_never_written_to(tmp_path):
    with pytest.raises(UserError, match="made from"):
        made("ecssd", ecssd(tmp_path / "src"), tmp_path / "src" / "out")


def test_the_command_says_what_it_made(tmp_path, capsys):
    msra10k(tmp_path / "src")
    words = ["data", "static", "msra10k", str(tmp_path / "src"), str(tmp_path / "out"), "--quiet"]
    assert main(words) == 0
    assert capsys.readouterr().out == "MSRA10K: 3 pictures, 3 of them made now\n"
    assert main([*words, "--workers", "0"]) == 2


@pytest.mark.parametrize("name", SETS)
def test_the_command_line_knows_every_set(name):
    assert build_parser().parse_args(["data", "static", name, "src", "dst"]).name == name


def test_the_command_knows_every_set():
    from mamp.commands.data import _STATIC

    assert sorted(_STATIC) == sorted(SETS)
