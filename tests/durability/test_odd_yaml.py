"""YAML files: recipes, site files, lists of DAVIS. Two hundred seeded ones; fuzz.py makes more."""

from odd import settings
from odd.contract import breaches


def test_odd_yaml_is_read_or_refused(tmp_path):
    assert breaches(settings.KINDS["yaml"], "yaml", tmp_path) == []
