"""The job itself, run by submitit's local executor, with a stand-in for mamp."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from submitit.core.utils import FailedJobError

from launch import cluster, journal
from launch.job import Job, done
from mamp import config

Start = Callable[..., object]


@pytest.fixture
def run(tmp_path: Path, stand_in) -> Path:
    """A run of ten steps, a second in all."""
    stand_in("")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "launch.yaml").write_text("train: {steps: 10}")
    journal.add(folder, "submitted", token="a", arguments=[])
    return folder


def make(run: Path, **other: object) -> Job:
    from launch import snapshot

    arguments = ["train", str(run / "launch.yaml"), "--run", str(run)]
    known = {
        "code": snapshot.PACKAGE.parent,
        "token": "a",
        "stalls": 2,
        "patience_s": 10.0,
        "each_gpu": False,
    }
    return Job(arguments, run, **{**known, **other})  # type: ignore[arg-type]


@pytest.fixture
def start(run: Path) -> Iterator[Start]:
    """start(job, tasks=1) -> submitit's job, on this machine."""
    begun = []

    def begin(job: Job, *, tasks: int = 1) -> object:
        executor = cluster.executor(config.load(), run / "launch", local=True, name="test", tasks=tasks)
        (made,) = cluster.send(executor, [job])
        begun.append(made)
        return made

    yield begin
    for made in begun:
        made.cancel()


def told(run: Path) -> list[str]:
    return [event["event"] for event in journal.read(run)]


def interrupt(run: Path) -> None:
    """What SLURM sends before a time limit."""
    os.kill([event["pid"] for event in journal.read(run) if event["event"] == "started"][-1], signal.SIGUSR2)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_runs_the_command_with_the_kept_code(run: Path, start: Start):
    start(make(run)).result()
    assert (run / "weights.safetensors").exists()
    assert told(run) == ["submitted", "started", "finished"]


def test_a_signal_queues_it_again_and_it_goes_on(run: Path, start: Start):
    made = start(make(run))
    until(lambda: done("train", run) >= 2)
    interrupt(run)
    made.result()
    assert told(run) == ["submitted", "started", "requeued", "started", "finished"]
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 11))


def test_two_tasks_know_their_places(run: Path, start: Start):
    start(make(run), tasks=2).results()
    assert sorted((run / "places").read_text().split()) == ["0/2", "1/2"]


def test_part_of_shared_work_does_not_finish_the_run(run: Path, start: Start):
    start(make(run, last=False)).result()
    assert told(run)[-1] == "part"


def test_a_command_that_fails_says_so(run: Path, start: Start, stand_in):
    stand_in("a mistake")
    with pytest.raises(FailedJobError, match="that is wrong; correct it"):
        start(make(run)).result()
    assert "that is wrong; correct it" in journal.reason(run)


def test_a_newer_submission_owns_the_run(run: Path, start: Start):
    journal.add(run, "submitted", token="b")
    journal.add(run, "queued", token="b", jobs=["77"])
    with pytest.raises(FailedJobError, match="submitted anew as job 77"):
        start(make(run)).result()
    assert "started" not in told(run)


def test_starts_that_bring_nothing_come_to_an_end(run: Path, start: Start, stand_in):
    stand_in("no progress")
    made = start(make(run))
    for requeues in (1, 2):
        until(lambda count=requeues: told(run).count("started") == count)
        time.sleep(0.5)
        interrupt(run)
        until(lambda count=requeues: told(run).count("requeued") == count)
    with pytest.raises(FailedJobError, match="no progress in 2 starts"):
        made.result()
    assert told(run).count("started") == 2


def test_each_task_of_shared_work_has_a_gpu_of_its_own(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    place = SimpleNamespace(cluster="slurm", num_tasks=2, local_rank=1)
    assert make(run, each_gpu=True)._environment(place)["CUDA_VISIBLE_DEVICES"] == "5"
    assert make(run)._environment(place)["CUDA_VISIBLE_DEVICES"] == "4,5"


def test_what_is_done_is_counted_on_disk(tmp_path: Path):
    for name in (
        "checkpoints/step-00000005.pt",
        "checkpoints/step-00000010.pt",
        "checkpoints/step-7.pt.damaged",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert done("train", tmp_path) == 10
    assert done("evaluate", tmp_path) == 0
    (tmp_path / "sequences").mkdir()
    (tmp_path / "sequences" / "bear.json").touch()
    assert done("evaluate", tmp_path) == 1


def test_what_a_kill_left_half_written_is_removed(run: Path):
    leftover = run / "9_0_result.pkl.save_tmp"
    leftover.touch()
    paths = SimpleNamespace(submitted_pickle=run / "9_submitted.pkl", result_pickle=run / "9_0_result.pkl")
    make(run)._clean(SimpleNamespace(paths=paths))
    assert not leftover.exists()
