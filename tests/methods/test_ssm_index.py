"""Lists of objects and frames, as SSM-VOS's program reads them."""

import json

import numpy as np
import pytest
from PIL import Image

from mamp.cli import main
from mamp.core.errors import UserError
from mamp.methods.ssm.index import describe, make_index, read_index, write_index
from mamp.video.masks import write_mask


def frames(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (4, 3)).save(folder / f"{name}.jpg")


def mask(folder, name, *ids):
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.zeros((3, 4), np.uint8)
    labels[0, : len(ids)] = ids
    write_mask(folder / f"{name}.png", labels)


@pytest.fixture
def davis(tmp_path):
    """Two videos: one with truth, one with its first mask alone."""
    root = tmp_path / "DAVIS"
    for video in ("ant", "bee"):
        frames(root / "JPEGImages" / "480p" / video, ("00000", "00001"))
        mask(root / "Annotations" / "480p" / video, "00000", 1, 2)
    mask(root / "Annotations" / "480p" / "ant", "00001", 2)
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("ant\nbee\n")
    return root


def short(records):
    return [
        (r.video_name, r.object_index, r.frame_index, r.num_frames, r.image_path[-9:-4], r.mask_path[-9:-4])
        for r in records
    ]


def test_every_object_has_all_frames_of_its_video_in_davis(davis):
    assert short(make_index("davis2017", davis, "val")) == [
        ("ant", 1, 0, 2, "00000", "00000"), ("ant", 1, 1, 2, "00001", "00001"),
        ("ant", 2, 0, 2, "00000", "00000"), ("ant", 2, 1, 2, "00001", "00001"),
        ("bee", 1, 0, 2, "00000", "00000"), ("bee", 1, 1, 2, "00001", "00000"),
        ("bee", 2, 0, 2, "00000", "00000"), ("bee", 2, 1, 2, "00001", "00000"),
    ]  # fmt: skip


def test_davis_2016_keeps_the_grey_of_its_files(tmp_path):
    root = tmp_path / "DAVIS"
    frames(root / "JPEGImages" / "480p" / "ant", ("00000", "00001"))
    for name in ("00000", "00001"):
        mask(root / "Annotations" / "480p" / "ant", name)
        Image.fromarray(np.full((3, 4), 255, np.uint8)).save(
            root / "Annotations" / "480p" / "ant" / f"{name}.png"
        )
    (root / "ImageSets" / "480p").mkdir(parents=True)
    lines = [f"/JPEGImages/480p/ant/{n}.jpg /Annotations/480p/ant/{n}.png" for n in ("00000", "00001")]
    (root / "ImageSets" / "480p" / "val.txt").write_text("\n".join(lines))
    assert {record.object_index for record in make_index("davis2016", root, "val")} == {255}


def test_a_damaged_mask_of_davis_2016_is_named(tmp_path):
    root = tmp_path / "DAVIS"
    frames(root / "JPEGImages" / "480p" / "ant", ("00000",))
    mask(root / "Annotations" / "480p" / "ant", "00000")
    (root / "Annotations" / "480p" / "ant" / "00000.png").write_bytes(b"none")
    (root / "ImageSets" / "480p").mkdir(parents=True)
    (root / "ImageSets" / "480p" / "val.txt").write_text(
        "/JPEGImages/480p/ant/00000.jpg /Annotations/480p/ant/00000.png"
    )
    with pytest.raises(UserError, match=r"00000\.png is damaged"):
        make_index("davis2016", root, "val")


def test_a_late_object_of_youtube_begins_at_its_own_first_frame(tmp_path):
    base = tmp_path / "valid"
    names = ("00000", "00005", "00010")
    frames(base / "JPEGImages" / "v", names)
    mask(base / "Annotations" / "v", "00000", 1)
    mask(base / "Annotations" / "v", "00005", 4)
    objects = {"1": {"frames": names}, "4": {"frames": names[1:]}}
    (base / "meta.json").write_text(json.dumps({"videos": {"v": {"objects": objects}}}))
    assert short(make_index("youtubevos", tmp_path, "val"))[3:] == [
        ("v", 4, 0, 2, "00005", "00005"), ("v", 4, 1, 2, "00010", "00005"),
    ]  # fmt: skip


def test_what_is_written_is_read_again(davis, tmp_path):
    records = make_index("davis2017", davis, "val")
    write_index(records, tmp_path / "splits" / "davis2017_val.json")
    assert read_index(tmp_path / "splits" / "davis2017_val.json") == records
    assert describe(records) == "2 videos, 4 objects, 8 records"
    assert all(record.image_path.startswith("/") for record in records)


def test_the_command_writes_reads_and_misses_files(davis, tmp_path, capsys):
    out = tmp_path / "val.json"
    assert main(["data", "index", "davis2017", str(davis), "--out", str(out)]) == 0
    assert main(["data", "index", str(out)]) == 0
    assert capsys.readouterr().out.count("2 videos, 4 objects, 8 records") == 2
    (davis / "JPEGImages" / "480p" / "ant" / "00001.jpg").unlink()
    assert main(["data", "index", str(out)]) == 2
    assert "1 file that is not there" in capsys.readouterr().err
    assert main(["data", "index", "davis2017", str(davis)]) == 2
    assert "--out" in capsys.readouterr().err


RECORD = {
    "image_path": "/a.jpg",
    "mask_path": "/a.png",
    "video_name": "a",
    "num_frames": 2,
    "frame_index": 0,
    "object_index": 1,
}


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([], "not a list of records"),
        ({}, "not a list of records"),
        ([{}], "has not exactly the keys"),
        ([{**RECORD, "num_frames": "2"}], "num_frames of record 0 is '2'"),
        ([{**RECORD, "frame_index": -1}], "frame_index of record 0"),
        ([RECORD, {**RECORD, "frame_index": 1, "object_index": 2}], "record 1 is frame 1 of 2 of object 2"),
        ([{**RECORD, "frame_index": 1}], "out of order"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, records, told):
    (tmp_path / "x.json").write_text(json.dumps(records))
    with pytest.raises(UserError, match=told):
        read_index(tmp_path / "x.json")


def test_other_data_sets_have_none(tmp_path):
    with pytest.raises(UserError, match="has no index"):
        make_index("longvideos", tmp_path, "val")
