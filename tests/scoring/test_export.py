"""Zips for the servers: what is in them, and that nothing wrong gets there."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_masks import EMPTY, bar, square, write

from mamp.cli import main
from mamp.core.errors import UserError
from mamp.scoring import export
from mamp.video.masks import PALETTE


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A DAVIS-2017 root: ant (three frames, objects 1 and 2) and bee (two frames, object 1), first masks
    only.
    """
    root = tmp_path / "DAVIS"
    for name, count, labels in (("ant", 3, bar(2, onto=square(1))), ("bee", 2, square(1))):
        images = root / "JPEGImages" / "480p" / name
        images.mkdir(parents=True)
        for t in range(count):
            Image.new("RGB", (20, 20)).save(images / f"{t:05d}.jpg")
        write(root / "Annotations" / "480p" / name, [labels])
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "test-dev.txt").write_text("ant\nbee\n")
    return root


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Masks that fit `davis`."""
    write(tmp_path / "out" / "masks" / "ant", [bar(2, onto=square(1)), square(1), bar(2)])
    write(tmp_path / "out" / "masks" / "bee", [square(1), EMPTY])
    return tmp_path / "out"


def test_a_davis_zip_has_the_sequences_at_its_top(davis, masks, tmp_path):
    made = export("davis", masks, tmp_path / "a.zip", root=davis, split="test-dev")
    assert (made.sequences, made.masks, made.notes) == (2, 5, ())
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [f"ant/{t:05d}.png" for t in range(3)] + [
            f"bee/{t:05d}.png" for t in range(2)
        ]
        image = Image.open(io.BytesIO(archive.read("ant/00000.png")))
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image), bar(2, onto=square(1)))


def test_the_same_masks_give_the_same_bytes(davis, masks, tmp_path):
    export("davis", masks, tmp_path / "a.zip", root=davis, split="test-dev")
    for file in (masks / "masks").rglob("*.png"):
        file.touch()
    export("davis", masks / "masks", tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_everything_wrong_is_told_at_once_and_nothing_is_written(davis, masks, tmp_path):
    ant = masks / "masks" / "ant"
    Image.fromarray(square(1)).save(ant / "00000.png")  # grey
    write(ant, {"00001": np.zeros((10, 12), np.uint8), "00002": square(7)})
    (masks / "masks" / "bee" / "00000.png").write_bytes(b"no image")
    (masks / "masks" / "bee" / "00001.png").unlink()
    with pytest.raises(UserError) as told:
        export("davis", masks, tmp_path / "a.zip", root=davis, split="test-dev")
    for words in (
        "in 5 places",
        "00000.png is no palette PNG",
        "ant: 00001 is 12x10 but its sequence 20x20",
        "ant: label 7, no object of the truth, in frame 00002",
        "bee: 1 frame is missing: 00001",
        "00000.png is damaged",
    ):
        assert words in str(told.value)
    assert not list(tmp_path.glob("*a.zip*"))


def test_other_colours_are_refused(masks, tmp_path):
    image = Image.fromarray(square(1))
    image.putpalette([0, 0, 0, 1, 200, 3])
    image.save(masks / "masks" / "bee" / "00001.png")
    with pytest.raises(UserError, match="other colours than the DAVIS palette"):
        export("davis", masks, tmp_path / "a.zip")


def test_void_is_no_object(masks, tmp_path):
    image = Image.fromarray(square(255))
    image.putpalette(PALETTE.tobytes())
    image.save(masks / "masks" / "bee" / "00001.png")
    with pytest.raises(UserError, match="bee: label 255"):
        export("davis", masks, tmp_path / "a.zip")


def test_a_missing_sequence_is_named(davis, tmp_path):
    write(tmp_path / "out" / "bee", [square(1), EMPTY])
    with pytest.raises(UserError, match="ant: the sequence is missing"):
        export("davis", tmp_path / "out", tmp_path / "a.zip", root=davis, split="test-dev")


def test_without_a_root_masks_are_held_against_their_own_first_one(masks, tmp_path):
    (masks / "masks" / "ant" / "00001.png").unlink()
    write(masks / "masks" / "bee", {"00001": square(2)})
    with pytest.raises(UserError) as told:
        export("davis", masks, tmp_path / "a.zip")
    assert "ant: 1 frame is missing: 00001" in str(told.value)
    assert "bee: label 2" in str(told.value)


def test_an_evaluation_that_is_not_finished_is_told(masks, tmp_path):
    (masks / "run.json").write_text(json.dumps({"dataset": "davis2017"}))
    with pytest.raises(UserError, match="not finished"):
        export("davis", masks, tmp_path / "a.zip")
    record = {"sequences": {name: {"frames": count} for name, count in (("ant", 4), ("bee", 2), ("cat", 1))}}
    (masks / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError) as told:
        export("davis", masks, tmp_path / "a.zip")
    assert "ant: 3 masks are there, but run.json lists 4" in str(told.value)
    assert "cat: 0 masks are there" in str(told.value)


@pytest.fixture
def youtube(tmp_path: Path) -> Path:
    """A YouTube-VOS root: a1, listed frames 0, 5, 10; object 2 begins at 5."""
    split = tmp_path / "YouTubeVOS" / "valid"
    write(split / "Annotations" / "a1", {"00000": square(1), "00005": bar(2)})
    frames = ["00000", "00005", "00010"]
    objects = {"1": {"frames": frames}, "2": {"frames": frames[1:]}}
    (split / "meta.json").write_text(json.dumps({"videos": {"a1": {"objects": objects}}}))
    return split.parent


def test_a_youtube_zip_has_the_listed_frames_below_annotations(youtube, tmp_path):
    both = bar(2, onto=square(1))
    every = {f"{t:05d}": both if t >= 5 else square(1) for t in range(11)}  # an all-frames evaluation
    write(tmp_path / "out" / "masks" / "a1", every)
    write(tmp_path / "out" / "masks" / "stray", [square(1)])
    made = export("youtubevos", tmp_path / "out", tmp_path / "y.zip", root=youtube)
    with zipfile.ZipFile(tmp_path / "y.zip") as archive:
        assert archive.namelist() == [f"Annotations/a1/{name}.png" for name in ("00000", "00005", "00010")]
    assert made.notes == ("left out, not in the set: stray", "left out, not asked for: 8 masks of a1")


def test_an_object_that_youtube_does_not_list_is_refused(youtube, tmp_path):
    write(tmp_path / "out" / "a1", {"00000": square(1), "00005": square(3), "00010": EMPTY})
    with pytest.raises(UserError, match="a1: label 3, no object of the truth, in frame 00005"):
        export("youtubevos", tmp_path / "out", tmp_path / "y.zip", root=youtube)


def test_a_root_of_another_data_set_is_refused(youtube, masks, tmp_path):
    with pytest.raises(UserError, match="root of youtubevos, not of davis"):
        export("davis", masks, tmp_path / "a.zip", root=youtube)


def test_the_command_says_what_it_wrote(masks, davis, tmp_path, capsys):
    out = tmp_path / "a.zip"
    assert (
        main(["export", "davis", str(masks), "--out", str(out), "--root", str(davis), "--split", "test-dev"])
        == 0
    )
    assert "5 masks of 2 sequences, nothing missing" in capsys.readouterr().out
    assert main(["export", "davis", str(masks), "--out", str(out)]) == 0
    assert "5 masks of 2 sequences, compared with their first masks" in capsys.readouterr().out
    assert main(["export", "davis", str(masks), "--out", str(tmp_path / "a.tar")]) == 2
    assert main(["export", "davis", str(masks), "--out", str(out), "--split", "val"]) == 2
