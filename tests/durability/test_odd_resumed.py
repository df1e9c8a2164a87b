"""Results that another process began. Two hundred seeded ones; fuzz.py makes more."""

from odd import results
from odd.contract import breaches


def test_odd_results_are_gone_on_from_or_refused(tmp_path):
    assert breaches(results.KINDS["resumed"], "resumed", tmp_path) == []
