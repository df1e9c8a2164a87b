"""What a cluster is asked for. Two hundred seeded ones; fuzz.py makes more."""

from odd import settings
from odd.contract import breaches


def test_no_value_and_no_name_adds_a_line_to_the_script_of_a_job(tmp_path):
    assert breaches(settings.KINDS["jobs"], "jobs", tmp_path) == []
