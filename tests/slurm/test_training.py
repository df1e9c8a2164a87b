"""On a real SLURM: mamp itself, trained by two tasks on two nodes, preempted, tracked and swept."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import offline
import pytest
from cluster_jobs import ended, events, job, signal, until
from PIL import Image
from safetensors.numpy import load_file

from launch import status

pytestmark = pytest.mark.slurm
SETTINGS = """
method: {encoder: {width: 0.125}}
data: {size: 32, load_size: 36, sampling: random, workers: 0, intervals: [1], interval_chances: [1.0]}
train: {batch: 2, steps: 60, log_every: 1, checkpoint_every: 10, lr: 0.01, schedule: constant}
slurm: {time: 60m, signal_s: 30, cpus_per_task: 1, setup: [export OMP_NUM_THREADS=1]}
"""


@pytest.fixture
def trained_on(tmp_path: Path) -> Path:
    """A recipe, with eight videos of noise."""
    rng = np.random.default_rng(0)
    for video in range(8):
        folder = tmp_path / "videos" / f"video{video}"
        folder.mkdir(parents=True)
        for frame in range(4):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((36, 36)).save(folder / f"{frame:05d}.png")
    path = tmp_path / "tiny.yaml"
    path.write_text(SETTINGS.replace("data: {", f"data: {{root: {tmp_path / 'videos'}, "))
    return path


def logged(run: Path) -> list[dict[str, Any]]:
    log = run / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_two_tasks_preempted_twice_end_as_if_nothing_had_been(sent, trained_on: Path, tmp_path: Path):
    calm = sent("train", trained_on, "slurm.nodes=2", run=tmp_path / "calm")
    interrupted = ("slurm.nodes=2", "slurm.partition=low", "tracking.mode=offline")
    run = sent("train", trained_on, *interrupted, run=tmp_path / "run")
    until(lambda: len(logged(run)) > 3)
    signal(run)
    assert ended(calm).state == "FINISHED", ended(calm).reason
    until(lambda: len(events(run, "started")) == 2)
    before = len(logged(run))
    until(lambda: len(logged(run)) > before + 3)
    hog = ["sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    subprocess.run(hog, check=True, capture_output=True)
    end = ended(run)
    assert (end.state, end.starts, len(events(run, "requeued"))) == ("FINISHED", 3, 2), end.reason

    weights, undisturbed = (load_file(folder / "weights.safetensors") for folder in (run, calm))
    assert weights.keys() == undisturbed.keys()
    assert all(np.array_equal(weights[name], undisturbed[name]) for name in weights)
    losses = [(line["step"], line["loss"]) for line in logged(run)]
    assert [step for step, _ in losses] == list(range(1, 61))
    assert losses == [(line["step"], line["loss"]) for line in logged(calm)]
    assert_one_run_in_wandb(run, losses)


def assert_one_run_in_wandb(run: Path, losses: list[tuple[int, float]]) -> None:
    """Every start has the same id, and the newest folder is the whole curve."""
    folders = offline.folders(run)
    assert len(folders) == 3
    assert {offline.begun_as(folder).run_id for folder in folders} == {
        (run / "wandb" / "id").read_text().strip()
    }
    assert [(row["_step"], row["loss"]) for row in offline.history(folders[-1]) if "loss" in row] == losses


def test_a_sweep_of_four_points_one_of_which_fails(sent, trained_on: Path, tmp_path: Path, capsys):
    for name in ("one", "two", "three"):
        (tmp_path / name).symlink_to(tmp_path / "videos")
    (tmp_path / "none").mkdir()
    roots = ",".join(str(tmp_path / name) for name in ("one", "two", "three", "none"))
    run = sent("train", trained_on, "train.steps=2", f"data.root={roots}", run=tmp_path / "sweep")
    runs = status.find([run])
    assert len({job(point).split("_")[0] for point in runs}) == 1
    capsys.readouterr()
    assert status.main([str(run), "--wait"]) == 1
    shown = capsys.readouterr().out
    assert sorted(point.state for point in status.read(runs)) == ["FAILED", *["FINISHED"] * 3]
    assert "none holds no frames or video files" in shown
