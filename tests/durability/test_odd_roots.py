"""Folders of anything. Two hundred seeded ones; fuzz.py makes more."""

from odd import roots
from odd.contract import breaches


def test_what_lies_in_a_root_is_taken_or_named(tmp_path):
    assert breaches(roots.KINDS["roots"], "roots", tmp_path) == []
