"""On a real SLURM: mamp itself packs video, shares an evaluation among jobs, and scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cluster_jobs import ended, events
from PIL import Image

pytestmark = pytest.mark.slurm
NAMES = ("ant", "bee", "cat", "dog")


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """Four sequences of three frames, in which nothing moves, with masks."""
    frame, mask = np.full((32, 48, 3), 90, np.uint8), np.zeros((32, 48), np.uint8)
    frame[8:20, 10:30], mask[8:20, 10:30] = 200, 1
    for name in NAMES:
        for kind, pixels, suffix in (("JPEGImages", frame, "jpg"), ("Annotations", mask, "png")):
            folder = tmp_path / "footage" / kind / name
            folder.mkdir(parents=True)
            for index in range(3):
                Image.fromarray(pixels).save(folder / f"{index:05d}.{suffix}")
    return tmp_path / "footage"


def score(run: Path) -> float:
    return json.loads((run / "scores.json").read_text())["J&F-Mean"]


def test_jobs_share_an_evaluation_one_behind_them_scores_and_a_last_one_scores_again(
    sent, recipe: Path, footage: Path, tmp_path: Path
):
    words = ("folder", footage, "--baseline", "copy", "slurm.array=2")
    run = sent("evaluate", recipe, *words, run=tmp_path / "evaluated")
    end = ended(run)
    assert (end.state, end.step, len(end.jobs)) == ("FINISHED", "4", 3), end.reason
    told = events(run, "part") + events(run, "finished")
    assert [event["job"] for event in told][-1] == end.jobs[-1]
    assert len(told) == 3
    assert sorted(path.name for path in (run / "masks").iterdir()) == list(NAMES)
    assert score(run) == 1.0

    scored = sent("score", recipe, footage, run / "masks", run=tmp_path / "scored")
    assert ended(scored).state == "FINISHED", ended(scored).reason
    assert score(scored) == score(run)


def test_packing_makes_what_training_reads(sent, recipe: Path, footage: Path, tmp_path: Path):
    run = sent("pack", recipe, footage, "--size", "32", run=tmp_path / "run")
    end = ended(run)
    assert (end.state, end.step) == ("FINISHED", "4"), end.reason
