"""Lists of videos. Two hundred seeded ones; fuzz.py makes more."""

from odd import lists
from odd.contract import breaches


def test_an_odd_list_is_read_or_refused_by_its_cause(tmp_path):
    assert breaches(lists.KINDS["lists"], "lists", tmp_path) == []
