from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from layouts import numbers, write_frames, write_masks, write_text, write_video

from mamp.config import Root
from mamp.core.errors import UserError
from mamp.datasets.sequences import open_dataset, training_sequences
from mamp.video.masks import object_ids

# ---------------------------------------------------------------- DAVIS


def test_davis2017_lists_its_splits_in_the_order_of_the_file(davis2017: Path) -> None:
    dog, goat = open_dataset("davis2017", davis2017, "val")
    assert (dog.name, dog.fps, dog.labels, list(dog.given), list(dog.truth)) == (
        "dog",
        24,
        "all",
        [0],
        [0, 1, 2, 3, 4],
    )
    assert (goat.name, goat.labels, list(goat.given), dict(goat.truth)) == ("goat", "first", [0], {})
    assert dog.frame_names == tuple(numbers(5)) and len(dog.open()) == 5
    assert [s.name for s in open_dataset("davis2017", davis2017, "test-dev")] == ["goat"]


def test_davis2017_reads_255_as_background(davis2017: Path) -> None:
    dog, goat = open_dataset("davis2017", davis2017, "val")
    assert object_ids(dog.read_given(0)) == [1, 2] and object_ids(dog.read_truth(3)) == [1, 2]
    assert object_ids(goat.read_given(0)) == [1, 2, 3]


def test_davis2016_reads_two_column_lists_and_one_object(davis2016: Path) -> None:
    dog, bear = open_dataset("davis2016", davis2016, "val")
    assert (dog.name, bear.name) == ("dog", "bear")
    assert dog.frame_names == tuple(numbers(3)) and dog.labels == "all"
    assert np.unique(dog.read_given(0)).tolist() == [0, 1] == np.unique(dog.read_truth(2)).tolist()
    assert [s.name for s in open_dataset("davis2016", davis2016, "tune")] == ["bear"]


def test_davis2016_joins_all_objects_and_reads_lists_of_names(davis2017: Path) -> None:
    write_text(davis2017 / "ImageSets/2016/val.txt", "dog\n")
    (dog,) = open_dataset("davis2016", davis2017)
    assert dog.read_given(0)[0, :4].tolist() == [1, 1, 1, 0]


def test_db_info_stands_in_for_lists(davis2017: Path) -> None:
    for file in (davis2017 / "ImageSets/2017").iterdir():
        file.unlink()
    write_text(
        davis2017 / "db_info.yaml",
        "attributes: [AC, BC]\nsequences:\n"
        "- {name: bear, set: train, year: 2016, num_frames: 4, attributes: [AC]}\n"
        "- {name: dog, set: val, year: 2016}\n- {name: goat, set: val, years: [2017]}\n",
    )
    assert [s.name for s in open_dataset("davis2017", davis2017)] == ["dog", "goat"]
    assert [s.name for s in open_dataset("davis2016", davis2017)] == ["dog"]
    assert [s.name for s in training_sequences([Root(path=davis2017)])] == ["bear"]
    write_text(davis2017 / "db_info.yaml", "sequences: [bear, dog]\n")
    with pytest.raises(UserError, match=r"db_info.yaml is not DAVIS's list of sequences .*fetch it again"):
        open_dataset("davis2017", davis2017)


def test_full_resolution_is_read_where_there_is_no_480p(davis2017: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        (davis2017 / kind / "480p").rename(davis2017 / kind / "Full-Resolution")
    assert open_dataset("davis2017", davis2017)[0].source == davis2017 / "JPEGImages/Full-Resolution/dog"


def test_truth_of_some_frames_is_sparse(davis2017: Path) -> None:
    (davis2017 / "Annotations/480p/dog/00003.png").unlink()
    dog = open_dataset("davis2017", davis2017)[0]
    assert dog.labels == "sparse" and list(dog.truth) == [0, 1, 2, 4]


def test_a_split_that_is_not_there_names_those_that_are(davis2017: Path, youtube: Path) -> None:
    with pytest.raises(UserError, match=r"DAVIS has no split vall; it has test-dev, train, val$"):
        open_dataset("davis2017", davis2017, "vall")
    with pytest.raises(
        UserError, match=r"has no split val; it has neither lists in ImageSets nor db_info.yaml"
    ):
        open_dataset("davis2016", youtube)
    with pytest.raises(
        UserError, match=r"has no split test \(a folder test/JPEGImages\); it has valid, valid_all_frames"
    ):
        open_dataset("youtubevos", youtube, "test")
    with pytest.raises(UserError, match="davis17 is not known; use one of davis2016, davis2017, youtubevos"):
        open_dataset("davis17", davis2017)
    with pytest.raises(UserError, match="nowhere does not exist"):
        open_dataset("davis2017", davis2017 / "nowhere")


def test_missing_frames_and_masks_are_named(davis2017: Path, davis2016: Path) -> None:
    (davis2016 / "JPEGImages/480p/dog/00001.jpg").unlink()
    with pytest.raises(UserError, match=r"JPEGImages/480p/dog lacks frame 00001 \(1 of 3 are missing\)"):
        open_dataset("davis2016", davis2016)
    (davis2017 / "Annotations/480p/goat/00000.png").unlink()
    with pytest.raises(UserError, match=r"Annotations/480p/goat holds no mask named like a frame"):
        open_dataset("davis2017", davis2017)
    (davis2017 / "Annotations/480p/goat").rmdir()
    with pytest.raises(UserError, match=r"Annotations/480p/goat does not exist; add the masks"):
        open_dataset("davis2017", davis2017)
    write_text(davis2017 / "ImageSets/2017/val.txt", "\n")
    with pytest.raises(UserError, match=r"DAVIS has a split val whose list is empty; write one sequence"):
        open_dataset("davis2017", davis2017)
    write_text(davis2017 / "ImageSets/2017/val.txt", "unicorn")
    with pytest.raises(UserError, match=r"JPEGImages/480p/unicorn does not exist; add the frames"):
        open_dataset("davis2017", davis2017)


@pytest.mark.parametrize("name", ["../bear", "/etc", "a/../../b", ".."])
def test_a_list_cannot_lead_out_of_the_data_set(davis2017: Path, youtube: Path, name: str) -> None:
    write_text(davis2017 / "ImageSets/2017/val.txt", name)
    with pytest.raises(UserError, match="not the name of a folder"):
        open_dataset("davis2017", davis2017)
    objects = {"1": {"frames": ["00005"]}}
    write_text(youtube / "valid/meta.json", json.dumps({"videos": {name: {"objects": objects}}}))
    with pytest.raises(UserError, match="not the name of a folder"):
        open_dataset("youtubevos", youtube)


def test_a_first_mask_may_be_empty_since_objects_may_come_later(davis2017: Path) -> None:
    write_masks(davis2017 / "Annotations/480p/goat", {"00000": ()})
    goat = open_dataset("davis2017", davis2017)[1]
    assert not goat.read_given(0).any()


# ---------------------------------------------------------------- YouTube-VOS


def test_youtube_reads_the_listed_frames_and_gives_objects_where_they_begin(youtube: Path) -> None:
    for split in ("valid", "val"):
        (video,) = open_dataset("youtubevos", youtube, split)
        assert video.frame_names == ("00005", "00010", "00015", "00020") and video.fps == 6
        assert video.labels == "first" and dict(video.truth) == {}
        assert dict(video.first_frame) == {1: 0, 2: 2} and list(video.given) == [0, 2]
        assert video.categories == {1: "cat", 2: "dog"}
        assert object_ids(video.read_given(0)) == [1]
        assert object_ids(video.read_given(2)) == [2]  # the file shows object 1, too


def test_the_all_frames_variant_reads_every_frame_with_the_masks_of_valid(youtube: Path) -> None:
    (video,) = open_dataset("youtubevos", youtube, "valid_all_frames")
    assert len(video.frame_names) == 23 and video.fps == 30
    assert dict(video.first_frame) == {1: 5, 2: 15}
    assert video.given[15] == youtube / "valid/Annotations/0a1b/00015.png"


def test_the_folder_of_a_split_may_be_the_root(youtube: Path) -> None:
    assert open_dataset("youtubevos", youtube / "valid")[0].name == "0a1b"
    assert open_dataset("youtubevos", youtube / "valid", "valid")[0].name == "0a1b"


def test_masks_beyond_the_first_ones_are_truth(youtube: Path) -> None:
    write_masks(youtube / "valid/Annotations/0a1b", dict.fromkeys(numbers(4, 5, 5), (1, 2)))
    (video,) = open_dataset("youtubevos", youtube, "valid")
    assert video.labels == "all" and list(video.truth) == [0, 1, 2, 3] and list(video.given) == [0, 2]
    assert open_dataset("youtubevos", youtube, "valid_all_frames")[0].labels == "sparse"


def test_damage_in_youtube_is_named(youtube: Path) -> None:
    (youtube / "valid/Annotations/0a1b/00015.png").unlink()
    with pytest.raises(UserError, match=r"0a1b/00015.png is missing, where object 2 begins"):
        open_dataset("youtubevos", youtube)
    for text in (
        "{",
        "[]",
        '{"videos": {"0a1b": {}}}',
        '{"videos": {"0a1b": {"objects": {"x": {"frames": []}}}}}',
    ):
        write_text(youtube / "valid/meta.json", text)
        with pytest.raises(UserError, match=r"meta.json is not a meta.json of YouTube-VOS"):
            open_dataset("youtubevos", youtube)
    write_text(youtube / "valid/meta.json", '{"videos": {"0a1b": {"objects": {}}}}')
    with pytest.raises(UserError, match=r"meta.json lists no frames of 0a1b"):
        open_dataset("youtubevos", youtube)
    (youtube / "valid/meta.json").unlink()
    with pytest.raises(UserError, match=r"valid/meta.json does not exist"):
        open_dataset("youtubevos", youtube)


# ---------------------------------------------------------------- Long Videos


@pytest.mark.parametrize("layout", ["ImageSets/val.txt", "ImageSets/480p/val.txt", "val.txt", None])
@pytest.mark.parametrize("resolution", ["480p", "."])
def test_long_videos_have_sparse_truth(tmp_path: Path, layout: str | None, resolution: str) -> None:
    write_frames(tmp_path / "JPEGImages" / resolution / "rat", numbers(9))
    write_masks(
        tmp_path / "Annotations" / resolution / "rat", {"00000": (1, 255), "00004": (1,), "00008": (1,)}
    )
    if layout is not None:
        write_text(tmp_path / layout, "rat\n")
    (rat,) = open_dataset("longvideos", tmp_path)
    assert (
        rat.labels == "sparse"
        and list(rat.truth) == [0, 4, 8]
        and list(rat.given) == [0]
        and len(rat.frame_names) == 9
    )
    assert object_ids(rat.read_given(0)) == [1]


def test_all_of_long_videos_is_val_where_no_list_says_so(tmp_path: Path) -> None:
    for name in ("rat", "boy"):
        write_frames(tmp_path / "JPEGImages" / name, numbers(3))
        write_masks(tmp_path / "Annotations" / name, {"00000": (1,)})
    write_text(tmp_path / "README.txt", "about the videos\n")
    assert [video.name for video in open_dataset("longvideos", tmp_path)] == ["boy", "rat"]


# ---------------------------------------------------------------- plain folders


def test_the_demo_layout_starts_at_the_first_mask_and_gives_late_objects(tmp_path: Path) -> None:
    demo = tmp_path / "demo" / "valid_demo"
    write_frames(demo / "JPEGImages/cat", numbers(8))
    write_masks(demo / "Annotations/cat", {"00002": (1, 2), "00005": (7,)})
    for root in (demo, demo.parent):
        (cat,) = open_dataset("folder", root)
        assert cat.frame_names == tuple(numbers(6, start=2)) and cat.open().names[0] == "00002"
        assert list(cat.given) == [0, 3] and dict(cat.first_frame) == {1: 0, 2: 0, 7: 3}
        assert (cat.labels, dict(cat.truth)) == ("first", {})


def test_full_masks_in_a_folder_are_truth_and_give_each_object_once(tmp_path: Path) -> None:
    write_frames(tmp_path / "JPEGImages/cat", numbers(4))
    write_masks(tmp_path / "Annotations/cat", {"00000": (1,), "00001": (1,), "00002": (1, 4), "00003": (4,)})
    (cat,) = open_dataset("folder", tmp_path)
    assert cat.labels == "all" and list(cat.truth) == [0, 1, 2, 3] and list(cat.given) == [0, 2]
    assert object_ids(cat.read_given(2)) == [4] and object_ids(cat.read_truth(2)) == [1, 4]


@pytest.mark.parametrize("place", ["clip/Annotations/00000.png", "Annotations/clip/00000.png", "clip.png"])
def test_ones_own_folder_of_frames_with_a_first_mask(tmp_path: Path, place: str) -> None:
    write_frames(tmp_path / "clip", numbers(3))
    write_masks((tmp_path / place).parent, {Path(place).stem: (1,)})
    (clip,) = open_dataset("folder", tmp_path / "clip")
    assert clip.name == "clip" and clip.labels == "first" and object_ids(clip.read_given(0)) == [1]


def test_video_files_with_masks_beside_them(tmp_path: Path) -> None:
    write_video(tmp_path / "b.mp4")
    write_video(tmp_path / "a.avi")
    write_masks(tmp_path, {"b": (1,)})
    write_masks(tmp_path / "Annotations/a", {"00002": (3,), "00004": (3,)})
    a, b = open_dataset("folder", tmp_path)
    assert (a.name, a.frame_names, list(a.given), a.labels) == (
        "a",
        ("00002", "00003", "00004"),
        [0],
        "sparse",
    )
    assert (b.name, len(b.open()), b.open().fps, b.labels) == ("b", 5, 10, "first")
    assert [s.name for s in open_dataset("folder", tmp_path / "b.mp4")] == ["b"]


def test_a_folder_may_have_lists_and_needs_masks(tmp_path: Path) -> None:
    for name in ("cat", "my dog"):
        write_frames(tmp_path / "JPEGImages" / name, numbers(2))
        write_masks(tmp_path / "Annotations" / name, {"00000": (1,)})
    write_text(tmp_path / "mine.txt", "my dog\n")
    assert [s.name for s in open_dataset("folder", tmp_path, "mine")] == ["my dog"]
    assert [s.name for s in open_dataset("folder", tmp_path)] == ["cat", "my dog"]
    with pytest.raises(UserError, match=r"has no split yours \(a list yours.txt\); it has mine"):
        open_dataset("folder", tmp_path, "yours")
    write_frames(tmp_path / "JPEGImages/bare", numbers(2))
    with pytest.raises(UserError, match=r"Annotations/bare does not exist; add the masks"):
        open_dataset("folder", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no sequences"):
        open_dataset("folder", tmp_path / "empty")
