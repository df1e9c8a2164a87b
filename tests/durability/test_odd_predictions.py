"""Masks of other programs beside the truth. Two hundred seeded ones; fuzz.py makes more."""

from odd import lists
from odd.contract import breaches


def test_odd_predictions_are_scored_or_named(tmp_path):
    assert breaches(lists.KINDS["predictions"], "predictions", tmp_path) == []
