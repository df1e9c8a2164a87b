"""meta.json, hold-outs, indices, packed folders. Two hundred seeded ones; fuzz.py makes more."""

from odd import files
from odd.contract import breaches


def test_odd_metadata_are_read_or_refused(tmp_path):
    assert breaches(files.KINDS["metadata"], "metadata", tmp_path) == []
