"""Files of weights, for every command that takes them. Two hundred seeded ones; fuzz.py makes more."""

from odd import networks
from odd.contract import breaches


def test_odd_weights_are_refused_or_used_whole(tmp_path):
    assert breaches(networks.KINDS["weights"], "weights", tmp_path) == []
