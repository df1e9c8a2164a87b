"""Checkpoints of a run that goes on. Two hundred seeded ones; fuzz.py makes more."""

from odd import networks
from odd.contract import breaches


def test_a_run_goes_on_from_an_odd_checkpoint_or_says_why_not(tmp_path):
    assert breaches(networks.KINDS["checkpoints"], "checkpoints", tmp_path) == []
