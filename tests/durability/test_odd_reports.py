"""Folders of runs, for a report. Two hundred seeded ones; fuzz.py makes more."""

from odd import results
from odd.contract import breaches


def test_a_report_of_odd_files_is_whole_or_refused(tmp_path):
    assert breaches(results.KINDS["reports"], "reports", tmp_path) == []
