from __future__ import annotations

import pytest
from scenes import write_video

from mamp.datasets.sequences import open_dataset
from mamp.segmentation.baseline import CopySegmenter
from mamp.segmentation.evaluate import evaluate
from mamp.segmentation.scored import score_sequences, segmented


@pytest.fixture
def sequences(tmp_path):
    for name in ("ant", "bee"):
        write_video(tmp_path / "data", name=name)
    return open_dataset("folder", tmp_path / "data")


@pytest.mark.parametrize("protocol", ["folder", "davis2017", "davis2016", "youtubevos"])
def test_scores_in_memory_are_those_of_an_evaluation(tmp_path, sequences, protocol):
    there = evaluate(sequences, CopySegmenter, tmp_path / "out", protocol=protocol, run_info={}, quiet=True)
    here = score_sequences(sequences, CopySegmenter, protocol)
    assert here.means()["J&F-Mean"] == there.means()["J&F-Mean"] < 1
    assert list(here.objects()) == list(there.objects())


def test_only_the_first_frames_are_read_and_scored(sequences):
    scores = score_sequences(sequences, CopySegmenter, "folder", frames=3)
    assert scores.sequences["ant"][1].frames == ("00001", "00002")
    (sequences[0].source / "00003.jpg").write_bytes(b"")
    assert len(list(segmented(sequences[0], CopySegmenter(), frames=3))) == 3


def test_an_object_that_comes_after_them_is_left_out(tmp_path):
    write_video(tmp_path, name="late", ids=(1,))
    from scenes import scene

    from mamp.video.masks import write_mask

    for t in (3, 4, 5):
        write_mask(tmp_path / "Annotations" / "late" / f"{t:05d}.png", scene(t)[1])
    (late,) = open_dataset("folder", tmp_path)
    assert list(score_sequences([late], CopySegmenter, "folder", frames=3).sequences["late"]) == [1]
    assert list(score_sequences([late], CopySegmenter, "folder").sequences["late"]) == [1, 2]


def test_a_sequence_without_truth_in_them_is_left_out(tmp_path):
    write_video(tmp_path, name="bare", truth=False)
    assert score_sequences(open_dataset("folder", tmp_path), CopySegmenter, "folder").sequences == {}
