from __future__ import annotations

import pytest

from mamp.config import TrainConfig
from mamp.training.schedule import learning_rate


def test_the_published_rate_halves_once_more_than_each_number_of_clips_was_seen():
    train = TrainConfig(epochs=33)
    for step, divisor in (
        (0, 1),
        (16_666, 1),
        (16_667, 2),
        (25_000, 2),
        (25_001, 4),
        (33_334, 8),
        (41_667, 16),
        (126_000, 16),
    ):
        assert learning_rate(train, step, 126_000) == 1e-3 / divisor


def test_exactly_a_milestone_is_not_past_it():
    train = TrainConfig(steps=10, batch=2, milestones=(4,), lr=1.0)
    assert [learning_rate(train, step, 10) for step in range(5)] == [1, 1, 1, 0.5, 0.5]


def test_plateaus_cut_the_run_into_equal_parts():
    train = TrainConfig(steps=8, plateaus=4, lr=1.0)
    assert [learning_rate(train, step, 8) for step in range(8)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]


def test_cosine_falls_from_the_full_rate_to_almost_nothing():
    train = TrainConfig(steps=100, schedule="cosine", lr=1.0, warmup=10)
    rates = [learning_rate(train, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1 and rates[55] == pytest.approx(0.5) and 0 < rates[99] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_constant_stays():
    train = TrainConfig(steps=100, schedule="constant", lr=0.3)
    assert {learning_rate(train, step, 100) for step in (0, 50, 99)} == {0.3}


def test_steps_are_equally_long():
    train = TrainConfig(steps=100, schedule="steps", lr=1.0, decay=0.5, decay_every=3)
    assert [learning_rate(train, step, 100) for step in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
