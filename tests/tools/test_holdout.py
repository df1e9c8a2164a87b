"""From a YouTube-VOS train folder to a hold-out that training leaves out and evaluation scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mamp import config
from mamp.cli import main
from mamp.config import DataConfig, Root
from mamp.core.errors import UserError
from mamp.datasets.lists import read_holdout, read_names
from mamp.datasets.sequences import open_dataset, training_sequences
from mamp.loading.census import survey
from mamp.tools.holdout import cut, write_holdout
from mamp.video.masks import write_mask

SIZE = (32, 48)


def many_videos(count: int = 400) -> dict[str, set[str]]:
    """Categories c0, c1, ... ever rarer, and a common one beside them in every third video."""
    videos = {}
    for i in range(count):
        number = 0
        while i % 2 ** (number + 1) == 0 and number < 8:
            number += 1
        videos[f"v{i:04d}"] = {f"c{number}"} | ({"person"} if i % 3 == 0 else set())
    return videos


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ROOT/train (every fifth frame with masks) and ROOT/train_all_frames; a rare category in one of 60
    videos.
    """
    root = tmp_path_factory.mktemp("youtube")
    videos = {}
    for i in range(60):
        name, rare = f"{i:010x}", i == 7
        frames = ["00000", "00005", "00010"]
        late = {"2": {"category": "dog", "frames": frames[1:]}} if i % 4 == 0 else {}
        videos[name] = {
            "objects": {
                "1": {"category": "okapi" if rare else "cat" if i % 2 else "cow", "frames": frames},
                **late,
            }
        }
        write_video(root, name, late=bool(late), seed=i)
    (root / "train" / "meta.json").write_text(json.dumps({"videos": videos}))
    return root


def write_video(root: Path, name: str, *, late: bool, seed: int) -> None:
    """A bright block moves right; a second one is there from the second listed frame on."""
    still = np.random.default_rng(seed).integers(0, 90, (*SIZE, 3), dtype=np.uint8)
    for kind in ("train/JPEGImages", "train/Annotations", "train_all_frames/JPEGImages"):
        (root / kind / name).mkdir(parents=True)
    for frame in range(11):
        labels = np.zeros(SIZE, np.uint8)
        labels[4:16, 4 + frame : 20 + frame] = 1
        if late and frame >= 5:
            labels[20:30, 4:20] = 2
        pixels = np.where(labels[..., None] == 1, 220, np.where(labels[..., None] == 2, (20, 220, 20), still))
        image = Image.fromarray(pixels.astype(np.uint8))
        image.save(root / "train_all_frames/JPEGImages" / name / f"{frame:05d}.jpg")
        if frame % 5 == 0:
            image.save(root / "train/JPEGImages" / name / f"{frame:05d}.jpg")
            write_mask(root / "train/Annotations" / name / f"{frame:05d}.png", labels)


@pytest.fixture
def held(tree: Path, tmp_path: Path) -> Path:
    write_holdout(tree, tmp_path / "holdout.json", share=0.1, unseen=1)
    return tmp_path / "holdout.json"


# ---------------------------------------------------------------- the list


def test_the_list_depends_on_names_and_categories_alone() -> None:
    videos = many_videos()
    backwards = dict(reversed(list(videos.items())))
    assert cut(videos, share=0.05, unseen=3) == cut(backwards, share=0.05, unseen=3)


def test_the_list_is_the_same_on_every_machine() -> None:
    found = cut(many_videos(), share=0.02, unseen=2)
    assert found["categories"]["unseen"] == ["c6", "c8"]
    assert found["videos"]["seen"] == ["v0097", "v0105", "v0185", "v0190", "v0284", "v0314", "v0337", "v0344"]
    assert found["train"]["sha256"].startswith("fdbb1bb69a1c")


def test_a_category_held_out_whole_is_in_no_video_of_training() -> None:
    videos = many_videos()
    found = cut(videos, share=0.05, unseen=3)
    held = {*found["videos"]["seen"], *found["videos"]["unseen"]}
    trained = set().union(*(c for name, c in videos.items() if name not in held))
    assert len(found["categories"]["unseen"]) == 3
    assert trained == set(found["categories"]["seen"])
    assert not trained & set(found["categories"]["unseen"])
    for name in found["videos"]["unseen"]:
        assert videos[name] & set(found["categories"]["unseen"])


def test_every_common_category_gives_its_share() -> None:
    videos = many_videos()
    found = cut(videos, share=0.1, unseen=0)
    for category, count in {"c0": 200, "c1": 100, "c2": 50}.items():
        drawn = sum(category in videos[name] for name in found["videos"]["seen"])
        assert drawn == pytest.approx(count / 10, abs=5)


def test_a_common_category_is_not_held_out_whole() -> None:
    found = cut(many_videos(), share=0, unseen=3)
    assert not {"person", "c0", "c1", "c2", "c3", "c4"} & set(found["categories"]["unseen"])
    with pytest.raises(UserError, match="only 4 of 10 categories can be held out whole"):
        cut(many_videos(), share=0.1, unseen=7)


def test_no_category_is_emptied_by_the_share() -> None:
    videos = {**many_videos(), "lonely": {"okapi"}, "two": {"okapi", "c0"}}
    found = cut(videos, share=0.5, unseen=0)
    left = set().union(*(c for name, c in videos.items() if name not in found["videos"]["seen"]))
    assert left == set().union(*videos.values())


def test_a_frozen_list_stays(tree: Path, held: Path) -> None:
    before = held.read_bytes()
    write_holdout(tree, held, share=0.1, unseen=1)
    with pytest.raises(UserError, match="holds another list, and a hold-out stays as it is"):
        write_holdout(tree, held, share=0.2, unseen=1)
    assert held.read_bytes() == before
    write_holdout(tree / "train", held, share=0.1, unseen=1)


def test_what_is_no_hold_out_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"videos": {"seen": ["../x"]}, "categories": {"seen": []}}')
    with pytest.raises(UserError, match="names '../x', which is not the name"):
        read_holdout(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(UserError, match="is not a list of `mamp data holdout`"):
        read_holdout(tmp_path / "a.json")
    with pytest.raises(UserError, match="has no train/meta.json"):
        write_holdout(tmp_path, tmp_path / "b.json", share=0.1, unseen=1)
    with pytest.raises(UserError, match="is to be a .json file"):
        write_holdout(tree, tmp_path / "b.txt", share=0.1, unseen=1)
    with pytest.raises(UserError, match="--share is 0.9"):
        write_holdout(tree, tmp_path / "b.json", share=0.9, unseen=1)


# ---------------------------------------------------------------- training leaves it out


def test_training_leaves_the_hold_out_out(tree: Path, held: Path) -> None:
    names = read_names(held)
    videos, census = survey(DataConfig(root=(Root(path=tree),), leave_out=held))
    assert {v.name for v in videos} == {s.name for s in training_sequences([Root(path=tree)])} - names
    assert census.left_out == len(names) and len(census.counts) == 60 - len(names)
    assert (
        census.frames == 11 * (60 - len(names))
        and census.digest != survey(DataConfig(root=(Root(path=tree),)))[1].digest
    )


def test_names_in_a_text_are_left_out_of_any_folder(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(f"{7:010x}\nzebra\nant\n")
    data = DataConfig(
        root=(Root(path=tree), Root(path=tree, split="train")), leave_out=tmp_path / "names.txt"
    )
    videos, census = survey(data)
    assert census.left_out == 2 and len(videos) == 118 and census.unknown == ("ant", "zebra")


def test_a_list_of_other_videos_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("bear\n")
    with pytest.raises(UserError, match="names none of the 60 videos of data.root"):
        survey(DataConfig(root=(Root(path=tree),), leave_out=tmp_path / "names.txt"))
    with pytest.raises(UserError, match="data.leave_out=.*other.txt is not a file"):
        survey(DataConfig(root=(Root(path=tree),), leave_out=tmp_path / "other.txt"))


@pytest.mark.parametrize(("key", "value"), [("videos", 61), ("frames", 1), ("digest", "abc")])
def test_a_run_on_other_data_than_expected_is_refused(tree: Path, key: str, value: object) -> None:
    with pytest.raises(
        UserError, match=rf"data.expect.{key} is {value}, and data.root gives .*data.expect.{key}=null"
    ):
        survey(DataConfig.model_validate({"root": [str(tree)], "expect": {key: value}}))


def test_data_that_is_as_expected_is_taken_whatever_is_left_out(tree: Path, held: Path) -> None:
    _, census = survey(DataConfig(root=(Root(path=tree),)))
    expected = {"videos": 60, "frames": 660, "digest": census.digest}
    _, found = survey(DataConfig.model_validate({"root": [str(tree)], "expect": expected, "leave_out": held}))
    assert found.left_out


def test_the_published_recipe_expects_all_of_youtubevos(
    repository: Path, tree: Path, tmp_path: Path, capsys
) -> None:
    recipe = str(repository / "configs" / "mamp_youtube.yaml")
    assert config.load(recipe).data.expect.videos == 3471
    assert main(["train", recipe, f"data.root={tree}", "--run", str(tmp_path / "run"), "--quiet"]) == 2
    assert "data.expect.videos is 3471, and data.root gives 60" in capsys.readouterr().err
    assert config.load(recipe, ["data.expect.videos=null"]).data.expect.videos is None


def test_a_home_folder_is_found(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree.parent))
    data = config.load(None, [f"data.root=~/{tree.name}@15", f"data.leave_out=~/{tree.name}/x.txt"]).data
    assert (data.root[0].path, data.root[0].fps) == (tree, 15) and data.leave_out == tree / "x.txt"


# ---------------------------------------------------------------- evaluation scores it


def test_evaluation_scores_seen_and_unseen_categories(tree: Path, tmp_path: Path, capsys) -> None:
    file, out = str(tmp_path / "holdout.json"), tmp_path / "out"
    cut_ = ["data", "holdout", "youtubevos", str(tree), "--out", file, "--share", "0.1", "--unseen", "1"]
    assert main(cut_) == 0
    assert "of 60 videos" in capsys.readouterr().out
    evaluate = ["evaluate", "youtubevos", str(tree), "--split", file, "--baseline", "copy", "--quiet"]
    assert main([*evaluate, "--out", str(out), "--device", "cpu"]) == 0
    scores = json.loads((out / "scores.json").read_text())
    assert set(scores["sequences"]) == read_names(Path(file))
    assert all(0 < scores[key] < 1 for key in ("J-Seen", "F-Seen", "J-Unseen", "F-Unseen"))
    assert (out / "masks" / f"{7:010x}" / "00010.png").exists()
    assert (
        main(["score", str(tree), str(out / "masks"), "--split", file, "--json", str(tmp_path / "s.json")])
        == 0
    )
    again = json.loads((tmp_path / "s.json").read_text())
    assert again["J-Unseen"] == scores["J-Unseen"] and again["J-Seen"] == scores["J-Seen"]


def test_late_objects_are_given_where_they_begin(tree: Path, held: Path) -> None:
    sequences = open_dataset("youtubevos", tree, str(held))
    assert [s.name for s in sequences] == sorted(read_names(held))
    late = [s for s in sequences if 2 in s.first_frame]
    assert late
    for sequence in late:
        assert dict(sequence.first_frame) == {1: 0, 2: 1} and list(sequence.given) == [0, 1]
        assert set(np.unique(sequence.read_given(1))) == {0, 2}
        assert list(sequence.truth) == [0, 1, 2] and sequence.frame_names == ("00000", "00005", "00010")


def test_a_tree_without_the_held_out_videos_is_told(tree: Path, held: Path, tmp_path: Path) -> None:
    other = tmp_path / "train"
    (other / "JPEGImages").mkdir(parents=True)
    (other / "meta.json").write_text('{"videos": {}}')
    with pytest.raises(UserError, match="add the train folder it was cut from"):
        open_dataset("youtubevos", tmp_path, str(held))
