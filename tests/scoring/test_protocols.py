"""Which frames and objects count under each protocol, on label maps."""

from __future__ import annotations

import numpy as np
import pytest
from small_masks import EMPTY, square

from mamp.core.errors import UserError
from mamp.scoring import score_sequence
from mamp.scoring.protocols import SequenceScorer, get_protocol


@pytest.mark.parametrize(
    ("protocol", "frames"),
    [
        ("davis2016", ("00001", "00002")),
        ("davis2017", ("00001", "00002")),
        ("longvideos", ("00001", "00002", "00003")),
        ("youtubevos", ("00001", "00002", "00003")),
        ("folder", ("00001", "00002", "00003")),
    ],
)
def test_the_given_frame_is_not_scored_and_davis_drops_the_last(
    protocol: str, frames: tuple[str, ...]
) -> None:
    scores = score_sequence([square(1)] * 4, [EMPTY, square(1), square(1, x=3), EMPTY], protocol)
    assert scores[1].frames == frames
    assert scores[1].j.tolist() == [1, 56 / 72, 0][: len(frames)]
    assert scores[1].f.tolist() == [1, 1, 0][: len(frames)]


def test_frames_that_are_not_scored_need_no_masks() -> None:
    scores = score_sequence([square(1), square(1), None], [None, square(1), None], "davis2017")
    assert scores[1].j.tolist() == [1]


def test_masks_are_read_one_frame_at_a_time() -> None:
    alive = []

    def frames() -> object:
        for t in range(6):
            alive.append(t)
            yield square(1)

    def watched() -> object:
        for t in range(6):
            assert len(alive) == t + 1
            yield square(1)

    assert len(score_sequence(frames(), watched(), "folder")[1].j) == 5


def test_davis_2016_merges_all_labels() -> None:
    truth, result = square(1), square(7, x=3)
    truth[2:10, 2:4] = 3
    scores = score_sequence([truth] * 3, [result] * 3, "davis2016")
    assert list(scores) == [1] and scores[1].j.tolist() == [56 / 72]


def test_davis_2016_takes_255_for_the_object_where_nothing_else_is_labelled() -> None:
    scores = score_sequence([square(255)] * 3, [square(255)] * 3, "davis2016")
    assert scores[1].j.tolist() == [1]


def test_davis_2016_takes_255_for_void_beside_other_labels() -> None:
    truth = square(1)
    truth[15:] = 255
    assert score_sequence([truth] * 3, [square(1)] * 3, "davis2016")[1].j.tolist() == [1]


def test_davis_2016_scores_an_object_that_is_not_there_at_first() -> None:
    maps = [EMPTY, square(1), EMPTY]
    assert score_sequence(maps, maps, "davis2016")[1].j.tolist() == [1]


def test_davis_2017_void_is_background_and_not_left_out() -> None:
    truth, result = square(1), square(1)
    truth[12:14, 2:10] = 255
    result[12:14, 2:10] = 1
    assert score_sequence([truth] * 3, [result] * 3, "davis2017")[1].j.tolist() == [64 / 80]


def test_davis_2017_counts_objects_up_to_the_highest_label_of_the_first_truth() -> None:
    first = square(1)
    first[15:18, 15:18] = 3
    scores = score_sequence([first, first, first], [first, square(1), first], "davis2017")
    assert {k: s.j.tolist() for k, s in scores.items()} == {1: [1], 2: [1], 3: [0]}


def test_labels_that_the_truth_does_not_have_are_listed_with_their_frames() -> None:
    results = [square(1), square(2), square(9), square(9), square(1)]
    with pytest.raises(UserError) as error:
        score_sequence([square(1)] * 5, results, "davis2017")
    assert "label 2, no object of the truth, in frame 00001" in str(error.value)
    assert "label 9, no object of the truth, in frames 00002, 00003" in str(error.value)


def test_a_result_of_another_size_is_named() -> None:
    with pytest.raises(UserError, match="b is 30x20 but its truth 20x20"):
        score_sequence(
            [square(1)] * 3, [EMPTY, np.zeros((20, 30), np.uint8), EMPTY], "davis2017", names=["a", "b", "c"]
        )


def test_truth_without_an_object_is_refused() -> None:
    for protocol, reason in (
        ("davis2017", "the first truth shows no object"),
        ("folder", "the truth shows no object"),
    ):
        with pytest.raises(UserError, match=reason):
            score_sequence([EMPTY] * 3, [EMPTY] * 3, protocol)


def test_long_videos_reads_a_highest_255_of_the_result_as_object_1() -> None:
    result = [EMPTY, square(255), square(1)]
    assert score_sequence([square(1)] * 3, result, "longvideos")[1].j.tolist() == [1, 1]


def test_long_videos_truth_loses_its_void() -> None:
    truth = square(1)
    truth[15:] = 255
    assert list(score_sequence([truth] * 3, [square(1)] * 3, "longvideos")) == [1]


@pytest.mark.parametrize("protocol", ["youtubevos", "folder"])
def test_a_late_object_is_scored_after_the_frame_it_begins_in(protocol: str) -> None:
    both = square(4)
    both[14:18, 14:18] = 44
    truth = [square(4), square(4), both, both, square(4)]
    result = [EMPTY, both, square(4), square(4), square(4)]  # object 44 too early, then never
    scores = score_sequence(truth, result, protocol)
    assert {k: s.frames for k, s in scores.items()} == {
        4: ("00001", "00002", "00003", "00004"),
        44: ("00003", "00004"),
    }
    assert scores[4].j.tolist() == [1, 1, 1, 1]
    assert scores[44].j.tolist() == [0, 1]  # gone in the last frame, on both sides


def test_where_objects_begin_can_be_told() -> None:
    scores = score_sequence([square(1)] * 4, [square(1)] * 4, "youtubevos", first={1: 2, 2: 0})
    assert {k: s.frames for k, s in scores.items()} == {1: ("00003",), 2: ("00001", "00002", "00003")}


def test_an_object_that_begins_in_the_last_frame_has_no_scores() -> None:
    scores = score_sequence([square(1), square(1), square(2)], [square(1)] * 3, "folder")
    assert scores[2].frames == () and len(scores[2].j) == 0


def test_ids_above_255_are_kept() -> None:
    truth = square(1).astype(np.uint16) * 40000
    assert score_sequence([truth] * 2, [truth] * 2, "folder")[40000].j.tolist() == [1]


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UserError, match="protocol davis2018 is not known; use one of davis2016, davis2017"):
        score_sequence([], [], "davis2018")


def test_truth_whose_first_frame_shows_a_far_number_is_named_at_once():
    truth = np.zeros((24, 32), np.uint16)
    truth[2:9, 3:11] = 57_000
    scorer = SequenceScorer(get_protocol("davis2017"))
    for index in range(3):
        scorer.add(index, f"{index:05d}", truth, truth)
    scorer.finish()
    assert any("shows object 57000" in problem for problem in scorer.problems)
