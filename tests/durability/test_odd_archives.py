"""Archives of data sets. Two hundred seeded ones; fuzz.py makes more."""

from odd import files
from odd.contract import breaches


def test_an_odd_archive_gives_a_whole_data_set_or_nothing(tmp_path):
    assert breaches(files.KINDS["archives"], "archives", tmp_path) == []
