from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from mamp.config import Root
from mamp.datasets.sequences import open_dataset, training_sequences
from mamp.video import decoding as video
from mamp.video.frames import open_frames
from mamp.video.masks import object_ids, read_mask


@pytest.fixture
def data(shared: Path) -> Path:
    return shared / "data"


@pytest.mark.parametrize(
    ("split", "sequences", "frames"), [("train", 24, 768), ("tune", 6, 286), ("val", 15, 972)]
)
def test_davis2016_has_the_sequences_and_frames_its_readme_tells(
    data: Path, split: str, sequences: int, frames: int
) -> None:
    found = open_dataset("davis2016", data / "DAVIS2016", split)
    assert len(found) == sequences and sum(len(s.frame_names) for s in found) == frames
    assert {s.labels for s in found} == {"all"} and all(len(s.truth) == len(s.frame_names) for s in found)
    for sequence in found:
        assert np.unique(sequence.read_given(0)).tolist() == [0, 1]
        assert sequence.read_given(0).shape == sequence.open()[0].shape[:2]


def test_davis2017_gives_first_masks_and_truth_where_there_is_truth(data: Path) -> None:
    dog, drift, fish, horse = open_dataset("davis2017", data / "DAVIS2017", "val")
    assert (dog.labels, drift.labels, fish.labels, horse.labels) == ("all", "all", "first", "first")
    assert object_ids(fish.read_given(0)) == [1, 2, 3, 4, 5] and object_ids(horse.read_given(0)) == [1, 2]
    truth = read_mask(data / "DAVIS2016/Annotations/480p/horsejump-high/00000.png")
    assert np.array_equal(horse.read_given(0) > 0, truth > 0)
    composed = [
        s
        for split in ("composed_tune", "composed_val")
        for s in open_dataset("davis2017", data / "DAVIS2017", split)
    ]
    assert len(composed) == 5 and {s.labels for s in composed} == {"all"}


def test_youtube_clips_give_their_objects(data: Path) -> None:
    found = {s.name: s for s in open_dataset("youtubevos", data / "YouTubeVOS", "valid")}
    assert {name: (len(s.frame_names), len(s.first_frame), s.labels) for name, s in found.items()} == {
        "19904980af": (19, 3, "first"),
        "4df42f72c9": (29, 1, "first"),
    }
    assert object_ids(found["19904980af"].read_given(0)) == [1, 2, 3]


def test_training_roots_are_recognised(data: Path) -> None:
    roots = [Root(path=data / "DAVIS2016"), Root(path=data / "clips", fps=8), Root(path=data / "clips_video")]
    found = training_sequences(roots)
    assert len(found) == 24 + 80 + 101 == len({s.name for s in found})
    assert [s.fps for s in (found[0], found[24], found[-1])] == [24, 8, None]
    assert sum(len(s.frame_names) for s in found) == 768 + 1082 and not any(s.given or s.truth for s in found)


def test_video_files_have_the_frames_rate_and_size_of_their_table(data: Path) -> None:
    with (data / "clips_video/clips_video.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        source = open_frames(data / "clips_video" / row["file"])
        assert len(source) == int(row["frames"]) and source.fps == pytest.approx(float(row["fps"]), abs=0.01)
    for row in rows[::20]:
        with open_frames(data / "clips_video" / row["file"]) as source:
            sizes = {frame.shape for _, frame in source.stream()}
        assert sizes == {(int(row["height"]), int(row["width"]), 3)} and not source.bad


def test_both_decoders_see_the_same_pictures(data: Path) -> None:
    pytest.importorskip("decord")
    for path in sorted((data / "clips_video").glob("*.mp4"))[::25]:
        index = video.index_video(path)
        readers = video.DecordReader(path, index), video.PyavReader(path, index)
        for number in range(40):
            one, other = (reader.frame(number).astype(int) for reader in readers)
            assert np.abs(one - other).mean() < 1
