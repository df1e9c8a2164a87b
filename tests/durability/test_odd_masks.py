"""Masks of persons: pictures, arrays, annotation files. Two hundred seeded ones; fuzz.py makes more."""

from odd import pictures
from odd.contract import breaches


def test_an_odd_mask_is_read_or_refused(tmp_path):
    assert breaches(pictures.KINDS["masks"], "masks", tmp_path) == []
