"""Options of commands. Two hundred seeded ones; fuzz.py makes more."""

from odd import requests
from odd.contract import breaches


def test_odd_options_are_refused_or_taken(tmp_path):
    assert breaches(requests.KINDS["options"], "options", tmp_path) == []
