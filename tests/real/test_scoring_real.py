"""Real masks score as recorded with the official functions."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mamp.scoring import guess_protocol, open_truth, score


@pytest.mark.parametrize("protocol", [None, "davis2016", "davis2017"])
def test_the_published_masks_of_osvos_score_as_recorded(shared: Path, protocol: str | None) -> None:
    golden = shared / "golden"
    recorded = {row["Sequence"]: row for row in csv.DictReader((golden / "metrics_real_dev.csv").open())}
    scores = score(golden / "osvos_dev_truth", golden / "osvos_dev", protocol=protocol, processes=2)
    found = {name: row for name, _, row in scores.objects()}
    assert found.keys() == recorded.keys()
    for name, row in found.items():
        for key, value in row.items():
            assert abs(value - float(recorded[name][key])) < 1e-9, (name, key)


@pytest.mark.parametrize(
    ("root", "split", "protocol", "scored"),
    [
        ("DAVIS2016", "val", "davis2016", 15),
        ("DAVIS2016", "tune", "davis2016", 6),
        ("DAVIS2017", "val", "davis2017", 2),  # two of four have the first mask only
        ("DAVIS2017", "composed_val", "davis2017", 3),
        ("YouTubeVOS", "valid", "youtubevos", 0),
    ],
)
def test_real_roots_are_recognised(shared: Path, root: str, split: str, protocol: str, scored: int) -> None:
    truth = open_truth(shared / "data" / root, split=split)
    assert truth.protocol == protocol == guess_protocol(shared / "data" / root, split=split)
    assert sum(video.has_truth(protocol) for video in truth.videos) == scored
