"""On a real SLURM, with a stand-in for mamp: what the scheduler does to jobs, and what becomes of their
runs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_jobs import TINY, cancel, ended, events, job, signal, until

from launch import snapshot, submit

pytestmark = pytest.mark.slurm


def steps(run: Path) -> list[str]:
    return [line.split()[1].rstrip(",") for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def limited(slurm: None, stand_in_package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of longer than its time limit. It takes a minute, so it is sent first and looked at last."""
    folder = tmp_path_factory.mktemp("limited")
    (folder / "tiny.yaml").write_text(TINY)
    words = ["train.steps=450", "slurm.time=1m", "slurm.signal_s=35", "--run", str(folder / "run")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "PACKAGE", stand_in_package)
        assert submit.main(["train", str(folder / "tiny.yaml"), *words]) == 0
    yield folder / "run"
    cancel(folder / "run")


def test_scontrol_requeue_which_calls_no_checkpoint_does_no_harm(
    sent, stand_in, recipe: Path, tmp_path: Path
):
    stand_in("")
    run = sent("train", recipe, "train.steps=80", run=tmp_path / "run")
    until(lambda: (run / "log.jsonl").exists() and len(steps(run)) > 5)
    subprocess.run(["scontrol", "requeue", job(run)], check=True)
    status = ended(run)
    assert (status.state, status.starts) == ("FINISHED", 2)
    assert steps(run) == [str(n) for n in range(1, 81)]


def test_a_job_that_brings_nothing_stops(sent, stand_in, recipe: Path, tmp_path: Path):
    stand_in("no progress")
    run = sent("train", recipe, run=tmp_path / "run")
    for start in (1, 2):
        until(lambda start=start: len(events(run, "started")) == start)
        signal(run)
        until(lambda start=start: len(events(run, "requeued")) == start)
    status = ended(run)
    assert status.state == "FAILED"
    assert "no progress in 2 starts in a row" in status.reason


def test_a_task_that_dies_ends_the_job_with_the_reason(sent, stand_in, recipe: Path, tmp_path: Path):
    stand_in("a task dies")
    run = sent("train", recipe, "slurm.nodes=2", "train.steps=9999", run=tmp_path / "run")
    status = ended(run, seconds=40)
    assert status.state == "FAILED"
    assert "task 1 on" in status.reason
    assert "killed by SIGKILL" in status.reason


def test_two_jobs_never_write_one_run(sent, stand_in, recipe: Path, tmp_path: Path, capsys):
    stand_in("")
    run = sent("train", recipe, run=tmp_path / "run")
    assert submit.main(["train", str(recipe), "--run", str(run)]) == 2
    assert f"belongs to job {job(run)}" in capsys.readouterr().err
    assert ended(run).state == "FINISHED"
    before = (run / "launch.jsonl").read_bytes()
    assert submit.main(["train", str(recipe), "--run", str(run)]) == 0
    assert "is finished; nothing is submitted" in capsys.readouterr().out
    assert (run / "launch.jsonl").read_bytes() == before


def test_what_sbatch_refuses_is_told_in_its_own_words(slurm, recipe: Path, tmp_path: Path, capsys):
    assert submit.main(["train", str(recipe), "slurm.partition=nowhere", "--run", str(tmp_path / "run")]) == 2
    assert "invalid partition" in capsys.readouterr().err


def test_a_time_limit_does_not_end_a_run(limited: Path):
    status = ended(limited)
    assert (status.state, status.starts >= 2) == ("FINISHED", True), status.reason
    assert steps(limited) == [str(n) for n in range(1, 451)]
