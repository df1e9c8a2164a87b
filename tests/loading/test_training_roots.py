"""What data.root gives to train on."""

import pickle
from pathlib import Path

import pytest
from layouts import numbers, write_frames, write_masks, write_text, write_video

from mamp.config import Root
from mamp.core.errors import UserError
from mamp.datasets.sequences import open_dataset, training_sequences
from mamp.loading.census import said_twice


def test_training_takes_the_train_list_of_davis_and_no_labels(davis2017: Path) -> None:
    (bear,) = training_sequences([Root(path=davis2017)])
    assert (bear.name, bear.fps, bear.labels, dict(bear.given), dict(bear.truth)) == (
        "bear",
        24,
        "none",
        {},
        {},
    )
    assert [s.name for s in training_sequences([Root(path=davis2017, split="val")])] == ["dog", "goat"]
    (davis2017 / "ImageSets/2017/train.txt").unlink()
    with pytest.raises(UserError, match="has no split train; it has test-dev, val"):
        training_sequences([Root(path=davis2017)])


def test_training_needs_no_masks(davis2016: Path) -> None:
    for folder in (davis2016 / "Annotations/480p").iterdir():
        for file in folder.iterdir():
            file.unlink()
    assert [s.name for s in training_sequences([Root(path=davis2016, split="val")])] == ["dog", "bear"]


def test_training_prefers_all_frames_of_youtube_and_never_takes_valid_unasked(youtube: Path) -> None:
    with pytest.raises(UserError, match="YouTubeVOS holds no frames or video files"):
        training_sequences([Root(path=youtube)])
    write_frames(youtube / "train/JPEGImages/aa", numbers(3, 5))
    write_text(youtube / "train/meta.json", "{}")
    assert [(s.name, s.fps, len(s.frame_names)) for s in training_sequences([Root(path=youtube)])] == [
        ("aa", 6, 3)
    ]
    write_frames(youtube / "train_all_frames/JPEGImages/aa", numbers(11))
    assert [(s.fps, len(s.frame_names)) for s in training_sequences([Root(path=youtube)])] == [(30, 11)]


def test_training_reads_listed_folders_plain_folders_and_video_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_frames(tmp_path / "clips/JPEGImages" / name, numbers(3))
    write_text(tmp_path / "clips/train.txt", "a\nc\n")
    write_frames(tmp_path / "folders/x", numbers(2))
    write_video(tmp_path / "videos/y.mp4")
    (tmp_path / "videos/y.csv").write_text("about y")
    roots = [
        Root(path=tmp_path / "clips", fps=8),
        Root(path=tmp_path / "folders"),
        Root(path=tmp_path / "videos"),
    ]
    found = training_sequences(roots)
    assert [(s.name, s.fps, len(s.frame_names)) for s in found] == [
        ("a", 8, 3),
        ("c", 8, 3),
        ("x", None, 2),
        ("y", None, 0),
    ]
    assert len(found[-1].open()) == 5
    write_text(tmp_path / "clips/other.txt", "b\nz\n")
    with pytest.raises(UserError, match=r"other.txt names z, which is not there \(1 of 2\)"):
        training_sequences([Root(path=tmp_path / "clips", split="other")])


def test_names_are_unique_among_roots(tmp_path: Path) -> None:
    for root in ("one", "two", "far/two"):
        write_frames(tmp_path / root / "x", numbers(2))
    found = training_sequences([Root(path=tmp_path / root) for root in ("one", "two", "far/two")])
    assert [s.name for s in found] == ["x", "two/x", "two-2/x"]


def test_a_root_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        training_sequences([Root(path=tmp_path / "nowhere")])
    with pytest.raises(UserError, match=f"{tmp_path} holds no frames or video files"):
        training_sequences([Root(path=tmp_path)])


def test_a_sequence_can_be_handed_to_another_process(davis2017: Path) -> None:
    dog = open_dataset("davis2017", davis2017)[0]
    assert pickle.loads(pickle.dumps(dog)) == dog


def test_two_videos_whose_masks_would_have_one_name_are_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    write_video(tmp_path / "a.avi")
    write_masks(tmp_path, {"a": (1,)})
    with pytest.raises(
        UserError, match=r"holds a.avi and a.mp4, whose masks would both be called a; rename one"
    ):
        open_dataset("folder", tmp_path)
    assert [s.name for s in training_sequences([Root(path=tmp_path)])] == ["a", f"{tmp_path.name}/a"]


def test_a_video_that_two_roots_give_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "one" / "x", numbers(2))
    write_frames(tmp_path / "one" / "y", numbers(2))
    (tmp_path / "link").symlink_to(tmp_path / "one" / "x")
    roots = (Root(path=tmp_path / "one"), Root(path=tmp_path / "link"))
    (line,) = said_twice(training_sequences(roots))
    assert line.startswith("warning: data.root gives 1 video more than once, which then weigh more: x and ")
    assert said_twice(training_sequences(roots[:1])) == []


def test_a_list_that_is_not_asked_for_may_be_bad(davis2017: Path) -> None:
    (davis2017 / "ImageSets/2017/other.txt").write_bytes(b"\xff\xfe\xff")
    assert [s.name for s in open_dataset("davis2017", davis2017, "val")] == ["dog", "goat"]
    with pytest.raises(UserError, match="other.txt cannot be read as text"):
        open_dataset("davis2017", davis2017, "other")


def test_a_split_without_a_name_is_refused(davis2017: Path) -> None:
    with pytest.raises(UserError, match="the name of the split is empty"):
        open_dataset("davis2017", davis2017, "")
