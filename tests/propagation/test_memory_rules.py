"""Which frames are read, and that what is dropped is never read again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mamp.propagation.memory import RULES, BudgetRule, DavisRule, RecentRule, YoutubeRule, memory_rule


def test_recent_reads_the_first_frame_and_the_last_ones():
    assert RecentRule(3).read(0, [0]) == [0]
    assert RecentRule(3).read(2, [0]) == [0, 1, 2]
    assert RecentRule(3).read(9, [0]) == [0, 7, 8, 9]


def test_recent_reads_frames_with_given_masks_up_to_its_length():
    assert RecentRule(2).read(9, [0, 2, 4, 6]) == [0, 4, 6, 8, 9]
    assert RecentRule(0).read(9, [0, 4]) == [0]


def test_davis_rule_is_as_published():
    sizes = [len(DavisRule(5).read(i, [0])) for i in range(12)]
    assert sizes == [1, 2, 2, 3, 3, 4, 5, 4, 5, 4, 5, 5]
    assert DavisRule(5).read(7, [0]) == [0, 3, 5, 7]
    assert DavisRule(2).read(6, [0]) == [0, 5]
    assert DavisRule(2).read(0, [0]) == [0]  # the published code reads the last frame of the video here


def test_youtube_rule_repeats_given_frames():
    assert YoutubeRule(4).read(4, [0, 4]) == [0, 2, 4, 4]
    assert YoutubeRule(4).read(6, [0, 4]) == [0, 4, 4, 6]
    assert YoutubeRule(4).read(20, [0, 1, 2, 3, 4]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", [*RULES, "budget"])
@given(length=st.integers(0, 9), given_at=st.sets(st.integers(1, 40), max_size=6))
@settings(max_examples=40)
def test_what_a_rule_drops_is_never_read_later(name, length, given_at):
    rule, held, given_frames = memory_rule(name, length, budget=1 + length), set(), [0]
    for last in range(60):
        if last in given_at:
            given_frames.append(last)
        held.add(last)
        rule.admit(last, given_frames, frame_bytes=1)
        reads = rule.read(last, given_frames)
        assert rule.read(last, given_frames) == reads
        assert set(reads) <= held
        held = {i for i in held if i in reads or rule.keeps(i, last, given_frames)}
        if name == "budget":
            assert len(held) <= 1 + length
        elif name != "youtube":
            assert len(held) <= 2 * length + 8


def budgeted(capacity, length, frames, given_frames=(0,)):
    rule = BudgetRule(length, budget=capacity)
    for last in range(frames):
        rule.admit(last, given_frames, frame_bytes=1)
    return rule.read(frames - 1, given_frames)


def test_budget_holds_the_first_frame_the_last_ones_and_older_ones_apart():
    held = budgeted(9, 3, 400)
    assert len(held) == 9 and held[0] == 0 and held[-3:] == [397, 398, 399]
    gaps = [b - a for a, b in zip(held[:-3], held[1:-3], strict=False)]
    assert min(gaps) > 20 and max(gaps) < 130


def test_budget_lets_go_of_given_frames_after_all_other_older_ones():
    assert {0, 5, 6, 7} < set(budgeted(8, 2, 300, (0, 5, 6, 7)))


def test_budget_too_small_for_the_last_frames_keeps_the_first_and_the_newest():
    assert budgeted(3, 7, 50) == [0, 48, 49]
    assert budgeted(1, 7, 50) == [0]


@given(capacities=st.lists(st.integers(1, 12), min_size=30, max_size=60), length=st.integers(0, 5))
@settings(max_examples=30)
def test_budget_never_takes_back_what_it_dropped(capacities, length):
    rule, held = BudgetRule(length, budget=12), set()
    for last, capacity in enumerate(capacities):
        rule.admit(last, [0], frame_bytes=12 // capacity)
        capacity = 12 // (12 // capacity)
        reads = set(rule.read(last, [0]))
        assert reads <= held | {last} and len(reads) <= capacity and 0 in reads
        held = reads
