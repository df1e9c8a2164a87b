"""Projects of the page. Two hundred seeded ones; fuzz.py makes more."""

from odd import results
from odd.contract import breaches


def test_an_odd_project_opens_or_is_refused(tmp_path):
    assert breaches(results.KINDS["projects"], "projects", tmp_path) == []
