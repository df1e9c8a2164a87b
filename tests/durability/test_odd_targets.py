"""Files written where something else is. Two hundred seeded ones; fuzz.py makes more."""

from odd import targets
from odd.contract import breaches


def test_what_is_no_file_is_never_replaced_by_one(tmp_path):
    assert breaches(targets.KINDS["targets"], "targets", tmp_path) == []
