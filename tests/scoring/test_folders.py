"""Folders of masks: what is found, what is refused, what is scored; the numbers are worked out by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_masks import EMPTY, bar, square, write

from mamp.core.errors import UserError
from mamp.scoring import score
from mamp.scoring.tables import as_json

# ---------------------------------------------------------------- YouTube-VOS, a local split with truth


@pytest.fixture
def holdout(tmp_path: Path) -> Path:
    """ROOT/holdout, two videos: a late unseen object, an id gap, an object that leaves; ROOT/train with
    categories.
    """
    root = tmp_path / "youtube"
    both = bar(2, onto=square(1))
    frames = ["00000", "00005", "00010", "00015", "00020"]
    masks = {"a": [square(1), square(1), both, both, both], "b": [square(5), square(5), EMPTY]}
    for name, maps in masks.items():
        write(root / "holdout" / "Annotations" / name, dict(zip(frames, maps, strict=False)))
    objects = {
        "a": {"1": {"category": "dog", "frames": frames}, "2": {"category": "okapi", "frames": frames[2:]}},
        "b": {"5": {"category": "cat", "frames": frames[:3]}},
    }
    meta = {"videos": {name: {"objects": entry} for name, entry in objects.items()}}
    (root / "holdout" / "meta.json").write_text(json.dumps(meta))
    seen = {"1": {"category": "dog", "frames": []}, "2": {"category": "cat", "frames": []}}
    train = {"videos": {"t": {"objects": seen}}}
    (root / "train").mkdir()
    (root / "train" / "meta.json").write_text(json.dumps(train))
    return root


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Masks for `holdout`: dog J 1, 0, 56/72, 1 and F 1, 0, 1, 1; okapi 1, 0; cat 1, 1; okapi too early
    counts for nothing.
    """
    folder = tmp_path / "answers"
    a = {
        "00005": bar(2, onto=square(1)),
        "00010": bar(2),
        "00015": bar(2, onto=square(1, x=3)),
        "00020": square(1),
    }
    write(folder / "a", a)
    write(folder / "b", {"00005": square(5), "00010": EMPTY})
    return folder


DOG_J, DOG_F = (1 + 0 + 56 / 72 + 1) / 4, 3 / 4


def test_a_local_youtube_split_with_late_and_unseen_objects(holdout: Path, answers: Path) -> None:
    found = as_json(score(holdout, answers, split="holdout"))
    assert found["protocol"] == "youtubevos"
    means = {
        k: (v["J-Mean"], v["F-Mean"]) for objects in found["sequences"].values() for k, v in objects.items()
    }
    assert means == {"1": (DOG_J, DOG_F), "2": (0.5, 0.5), "5": (1, 1)}
    groups = {"J-Seen": (DOG_J + 1) / 2, "F-Seen": (DOG_F + 1) / 2, "J-Unseen": 0.5, "F-Unseen": 0.5}
    assert {key: found[key] for key in groups} == groups
    assert found["J&F-Mean"] == pytest.approx(sum(groups.values()) / 4)
    assert found["J-Mean"] == pytest.approx((groups["J-Seen"] + groups["J-Unseen"]) / 2)
    assert found["J-Recall"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)


def test_objects_begin_where_meta_json_says(holdout: Path, answers: Path) -> None:
    scores = score(holdout, answers, split="holdout")
    assert scores.sequences["a"][2].frames == ("00015", "00020")
    assert scores.sequences["b"][5].frames == ("00005", "00010")


def test_seen_categories_may_be_given_as_a_file_of_names(
    holdout: Path, answers: Path, tmp_path: Path
) -> None:
    names = tmp_path / "seen.txt"
    names.write_text("okapi\n\n cat \n")
    means = score(holdout, answers, split="holdout", seen=names).means()
    assert (means["J-Seen"], means["J-Unseen"]) == ((0.5 + 1) / 2, DOG_J)


def test_without_known_categories_there_is_one_mean_and_it_is_said(holdout: Path, answers: Path) -> None:
    (holdout / "train" / "meta.json").unlink()
    scores = score(holdout, answers, split="holdout")
    assert "J-Seen" not in scores.means() and as_json(scores)["J-Seen"] is None
    assert scores.means()["J-Mean"] == pytest.approx((DOG_J + 0.5 + 1) / 3)
    assert any("no --seen file, so seen and unseen are one mean" in note for note in scores.notes)


def test_objects_without_a_category_are_not_guessed(holdout: Path, answers: Path) -> None:
    meta = holdout / "holdout" / "meta.json"
    meta.write_text(meta.read_text().replace('"okapi"', '"unknown"'))
    scores = score(holdout, answers, split="holdout")
    assert "J-Seen" not in scores.means()
    assert any("1 of 3 objects have no category" in note for note in scores.notes)


def test_a_split_with_seen_objects_only_has_no_unseen_score(
    holdout: Path, answers: Path, tmp_path: Path
) -> None:
    (tmp_path / "seen.txt").write_text("dog\ncat\nokapi\n")
    found = as_json(score(holdout, answers, split="holdout", seen=tmp_path / "seen.txt"))
    assert found["J-Unseen"] is None and found["J-Mean"] == found["J-Seen"]


def test_the_split_may_be_named_by_its_folder(holdout: Path, answers: Path) -> None:
    whole = as_json(score(holdout, answers, split="holdout"))
    assert as_json(score(holdout / "holdout", answers)) == whole
    assert as_json(score(holdout / "holdout" / "Annotations", answers)) == whole


def test_a_server_split_is_checked_and_not_scored(tmp_path: Path, holdout: Path) -> None:
    split = holdout / "holdout"
    for name in ("00005", "00015", "00020"):
        (split / "Annotations" / "a" / f"{name}.png").unlink()
    for name in ("00005", "00010"):
        (split / "Annotations" / "b" / f"{name}.png").unlink()
    frames = [f"{t:05d}" for t in range(0, 25, 5)]
    write(tmp_path / "zip" / "Annotations" / "a", {name: bar(2) for name in frames})
    write(tmp_path / "zip" / "Annotations" / "b", {name: square(5) for name in frames[:3]})
    scores = score(split, tmp_path / "zip")
    assert not scores.sequences and any("checked and not scored: a, b" in note for note in scores.notes)
    (tmp_path / "zip" / "Annotations" / "a" / "00015.png").unlink()
    write(tmp_path / "zip" / "Annotations" / "b", {"00005": square(6)})
    with pytest.raises(UserError) as error:
        score(split, tmp_path / "zip")
    assert "a: 1 frame is missing: 00015" in str(error.value)
    assert "b: label 6, no object of the truth, in frame 00005" in str(error.value)


# ---------------------------------------------------------------- DAVIS, Long Videos, any folder


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A DAVIS-2017 root with the split val (swan, bears) and two sequences that are not in it."""
    root = tmp_path / "DAVIS"
    masks = {"bears": [bar(2, onto=square(1))] * 5, "swan": [square(1)] * 4, "train": [square(1)] * 4}
    for name, maps in masks.items():
        write(root / "Annotations" / "480p" / name, maps)
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("swan\nbears\n")
    (root / "ImageSets" / "2016").mkdir()
    (root / "ImageSets" / "2016" / "val.txt").write_text("swan\n")
    (root / "ImageSets" / "480p").mkdir()
    lines = "".join(
        f"/JPEGImages/480p/train/{t:05d}.jpg /Annotations/480p/train/{t:05d}.png\n" for t in range(4)
    )
    (root / "ImageSets" / "480p" / "train.txt").write_text(lines)
    return root


def test_a_davis_root_is_scored_by_its_list_and_every_object_counts_once(davis: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out / "swan", {"00001": square(1), "00002": square(1, x=3)})
    write(out / "bears", {f"{t:05d}": bar(2) for t in (1, 2, 3)})
    found = as_json(score(davis, out))
    assert found["protocol"] == "davis2017" and list(found["sequences"]) == ["swan", "bears"]
    assert found["J-Mean"] == pytest.approx(((1 + 56 / 72) / 2 + 0 + 1) / 3)
    assert found["F-Mean"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["sequences"]["bears"]["2"]["J-Recall"] == 1


def test_davis_2016_has_its_own_lists(davis: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out / "train", {f"{t:05d}": square(9) for t in range(4)})
    scores = score(davis, out, protocol="davis2016", split="train")
    assert list(scores.sequences) == ["train"] and scores.means()["J&F-Mean"] == 1


def test_a_missing_split_names_those_that_are_there(davis: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"DAVIS has no split test; it has val$"):
        score(davis, tmp_path, split="test")


def test_a_split_without_truth_is_checked_for_size_frames_and_labels(davis: Path, tmp_path: Path) -> None:
    (davis / "ImageSets" / "2017" / "test-dev.txt").write_text("new\n")
    write(davis / "Annotations" / "480p" / "new", [square(1)])
    images = davis / "JPEGImages" / "480p" / "new"
    images.mkdir(parents=True)
    for t in range(3):
        Image.new("RGB", (20, 20)).save(images / f"{t:05d}.jpg")
    out = write(tmp_path / "out" / "new", [square(1)] * 3).parent
    scores = score(davis, out, split="test-dev")
    assert not scores.sequences and as_json(scores)["J&F-Mean"] is None
    assert any("checked and not scored: new" in note for note in scores.notes)
    (out / "new" / "00000.png").unlink()
    write(out / "new", {"00001": square(2), "00002": np.ones((20, 30), np.uint8)})
    with pytest.raises(UserError) as error:
        score(davis, out, split="test-dev")
    for problem in (
        "1 frame is missing: 00000",
        "00002 is 30x20 but its truth 20x20",
        "label 2, no object of the truth, in frame 00001",
    ):
        assert f"new: {problem}" in str(error.value)


def test_db_info_stands_in_for_lists(davis: Path, tmp_path: Path) -> None:
    shutil.rmtree(davis / "ImageSets")
    (davis / "db_info.yaml").write_text("sequences: [{name: swan, set: val, year: 2017}]\n")
    write(tmp_path / "out" / "swan", [square(1)] * 4)
    scores = score(davis, tmp_path / "out")
    assert (list(scores.sequences), scores.split) == (["swan"], "val")


def test_long_videos_scores_the_frames_that_have_truth(tmp_path: Path) -> None:
    root = tmp_path / "Long"
    write(root / "Annotations" / "rat", {"00000": square(1), "00030": square(1), "00099": square(1)})
    images = root / "JPEGImages" / "rat"
    images.mkdir(parents=True)
    for t in range(100):
        (images / f"{t:05d}.jpg").touch()
    out = write(tmp_path / "out" / "rat", {f"{t:05d}": square(1, x=2 + t // 99) for t in range(100)}).parent
    scores = score(root, out)
    assert scores.protocol == "longvideos"
    assert scores.sequences["rat"][1].frames == ("00030", "00099")
    assert scores.sequences["rat"][1].j.tolist() == [1, 56 / 72]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    truth, out = tmp_path / "truth", tmp_path / "out"
    for name in ("a", "b", "c", "d"):
        write(truth / name, [square(1)] * 6)
    write(out / "a", {f"{t:05d}": square(1) for t in (1, 3)})
    write(out / "b", [square(1)] * 6)
    write(out / "b", {"00002": np.ones((20, 30), np.uint8), "00003": square(7)})
    write(out / "d", [square(1)] * 6)
    (out / "d" / "00004.png").write_bytes((out / "d" / "00003.png").read_bytes()[:60])
    write(out / "cc", [square(1)] * 6)
    with pytest.raises(UserError) as error:
        score(truth, out)
    first, *listed = str(error.value).split("\n")
    assert first == f"{out} does not fit the truth in 5 places; correct what is listed and score again:"
    assert listed[:4] == [
        "  a: 2 frames are missing: 00002, 00004",
        "  b: 00002 is 30x20 but its truth 20x20",
        "  b: label 7, no object of the truth, in frame 00003",
        "  c: the sequence is missing",
    ]
    assert listed[4].startswith(f"  d: mask {out / 'd' / '00004.png'} is damaged")
    assert listed[5:] == [f"  besides, {out} has 1 folder that is not in the set: cc"]


def test_problems_are_told_in_order_by_several_processes(tmp_path: Path) -> None:
    truth, out = tmp_path / "truth", tmp_path / "out"
    for name in ("a", "b", "c"):
        write(truth / name, [square(1)] * 4)
        write(out / name, [square(2)] * 4)
    with pytest.raises(UserError, match=r"in 3 places[^|]*a: label 2[^|]*b: label 2[^|]*c: label 2"):
        score(truth, out, processes=2)


def test_several_processes_find_what_one_finds(tmp_path: Path) -> None:
    truth, out = tmp_path / "truth", tmp_path / "out"
    rng = np.random.default_rng(0)
    for name, frames in (("a", 4), ("b", 9), ("c", 3)):
        write(truth / name, [square(1) for _ in range(frames)])
        write(out / name, [square(1, x=int(rng.integers(0, 9))) for _ in range(frames)])
    one, two = (as_json(score(truth, out, processes=n)) for n in (1, 2))
    assert one == two and list(two["sequences"]) == ["a", "b", "c"]


def test_folders_that_are_not_in_the_set_are_mentioned(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth" / "a", [square(1)] * 4).parent
    out = write(tmp_path / "out" / "a", [square(1)] * 4).parent
    write(out / "extra", [square(1)])
    assert any("1 folder that is not in the set: extra" in note for note in score(truth, out).notes)


def test_truth_that_a_protocol_does_not_score_is_mentioned(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth" / "a", [square(1), bar(2, onto=square(1)), square(1), square(1)]).parent
    out = write(tmp_path / "out" / "a", [square(1)] * 4).parent
    scores = score(truth, out, protocol="davis2017")
    assert any(
        "the truth of a shows labels that this protocol does not score: 2" in note for note in scores.notes
    )


def test_one_folder_of_masks_is_one_sequence(tmp_path: Path) -> None:
    truth, out = write(tmp_path / "truth", [square(1)] * 4), write(tmp_path / "out", [square(1)] * 4)
    assert score(truth, out).means()["J&F-Mean"] == 1


def test_an_evaluation_folder_has_its_masks_in_masks(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth" / "a", [square(1)] * 4).parent
    write(tmp_path / "run" / "masks" / "a", [square(1)] * 4)
    assert score(truth, tmp_path / "run").means()["J&F-Mean"] == 1


def test_davis_2016_masks_of_0_and_255_score_against_labels(tmp_path: Path) -> None:
    truth, out = tmp_path / "truth" / "a", tmp_path / "out" / "a"
    truth.mkdir(parents=True)
    for t in range(4):
        Image.fromarray(square(255)).save(truth / f"{t:05d}.png")
    write(out, [square(1)] * 4)
    scores = score(truth.parent, out.parent)
    assert (scores.protocol, scores.means()["J&F-Mean"]) == ("davis2016", 1)
    with pytest.raises(UserError, match="score DAVIS-2016 masks with --protocol davis2016"):
        score(truth.parent, out.parent, protocol="davis2017")


@pytest.mark.parametrize(
    ("missing", "message"), [("truth", "truth .* is not a folder"), ("out", "predictions .* is not a folder")]
)
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, missing: str, message: str) -> None:
    for name in {"truth", "out"} - {missing}:
        write(tmp_path / name / "a", [square(1)] * 4)
    with pytest.raises(UserError, match=message):
        score(tmp_path / "truth", tmp_path / "out")


def test_truth_without_masks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "truth" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no folder with PNG masks"):
        score(tmp_path / "truth", tmp_path)


def test_a_damaged_truth_is_named_and_nothing_else(tmp_path: Path) -> None:
    truth = write(tmp_path / "truth" / "a", [square(1)] * 4)
    write(tmp_path / "out" / "a", [square(1)] * 4)
    (truth / "00000.png").write_bytes(b"no image")
    for protocol in ("davis2016", "davis2017", "folder"):
        with pytest.raises(UserError, match=r"in 1 place;[^|]*a: mask .*00000.png is damaged"):
            score(truth.parent, tmp_path / "out", protocol=protocol)


def test_seen_categories_mean_nothing_outside_youtube_vos(tmp_path: Path) -> None:
    folder = write(tmp_path / "truth" / "a", [square(1)] * 4).parent
    with pytest.raises(UserError, match="seen categories are for the protocol youtubevos, not for davis2017"):
        score(folder, folder, seen=tmp_path / "seen.txt")


@pytest.mark.parametrize("name", ["..", "../a", "a/b", ""])
def test_meta_json_cannot_name_files_elsewhere(holdout: Path, answers: Path, name: str) -> None:
    meta = holdout / "holdout" / "meta.json"
    meta.write_text(meta.read_text().replace('"b"', json.dumps(name)))
    with pytest.raises(UserError, match="meta.json names .* which is no name of a folder"):
        score(holdout, answers, split="holdout")


# ---------------------------------------------------------------- which protocol


@pytest.mark.parametrize(
    ("maps", "protocol", "why"),
    [
        ({"00000": square(1), "00001": square(1)}, "davis2017", "shows objects from 1 on"),
        ({"00005": square(1), "00010": square(1)}, "folder", "not of frames numbered one by one"),
        ({"a": square(1), "b": square(1)}, "folder", "not of frames numbered one by one"),
        ({"00000": square(3), "00001": square(3)}, "folder", "not numbered from 1"),
        ({"00000": square(1), "00001": bar(2, onto=square(1))}, "folder", "not numbered from 1"),
    ],
)
def test_the_protocol_of_a_plain_folder_is_read_off_its_masks(
    tmp_path: Path, maps: dict[str, np.ndarray], protocol: str, why: str
) -> None:
    for name in ("a", "b"):
        write(tmp_path / "truth" / name, maps)
        write(tmp_path / "out" / name, maps)
    scores = score(tmp_path / "truth", tmp_path / "out")
    assert scores.protocol == protocol
    assert scores.notes[0].startswith(f"the protocol is {protocol}: ") and why in scores.notes[0]


def test_jpegs_beside_missing_pngs_are_named(holdout: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    shutil.copytree(holdout / "holdout" / "Annotations", masks)
    Image.open(masks / "a/00010.png").convert("RGB").save(masks / "a/00010.jpg")
    note = "is no mask of a frame and not scored: a/00010.jpg"
    assert any(note in told for told in score(holdout, masks, split="holdout").notes)
    (masks / "a/00010.png").unlink()
    with pytest.raises(UserError) as caught:
        score(holdout, masks, split="holdout")
    assert "in their place: 00010.jpg; masks are PNGs, as JPEG blurs labels" in str(caught.value)
