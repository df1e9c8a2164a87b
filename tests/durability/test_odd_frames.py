"""Folders of frames. Two hundred seeded ones; fuzz.py makes more."""

from odd import pictures
from odd.contract import breaches


def test_odd_frames_are_read_or_refused(tmp_path):
    assert breaches(pictures.KINDS["frames"], "frames", tmp_path) == []
