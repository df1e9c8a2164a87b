from __future__ import annotations

import json
from pathlib import Path

import pytest

from launch import journal, status


@pytest.fixture
def run(tmp_path: Path, scheduler: Path) -> Path:
    """A training of 100 steps that was sent as job 701."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    journal.add(folder, "submitted", token="a", arguments=["train"], logs=str(tmp_path / "logs"))
    journal.add(folder, "queued", token="a", jobs=["701"])
    (folder / "config.yaml").write_text("train: {steps: 100, batch: 4}")
    return folder


def log(run: Path, *entries: dict[str, object]) -> None:
    (run / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"step": 9')


def only(run: Path) -> status.Status:
    (found,) = status.read(status.find([run.parent]))
    return found


def test_a_job_that_waits_says_why(run: Path, scheduler: Path):
    (scheduler / "queue").write_text("701|PENDING|(Priority)\n")
    assert (only(run).state, only(run).reason, only(run).live) == ("PENDING", "Priority", True)


def test_a_job_that_runs_shows_step_loss_score_and_time_left(run: Path, scheduler: Path):
    (scheduler / "queue").write_text("701|RUNNING|node1\n")
    journal.add(run, "started", token="a", job="701", rank=0, progress=0)
    entries = [{"step": 40, "loss": 2.0, "clips_per_s": 0.5}, {"step": 40, "val_jf": 0.6543}]
    log(run, *entries, {"step": 50, "loss": 1.25, "clips_per_s": 0.5})
    shown = only(run)
    assert shown.row() == ("RUNNING", "701", "1", "50/100", "1.2500", "65.4", "0:07", shown.row()[-1])


def test_what_failed_says_why(run: Path):
    journal.add(run, "failed", token="a", job="701", rank=1, reason="task 1 on node2: killed by SIGKILL")
    assert only(run).state == "FAILED"
    assert "node2: killed by SIGKILL" in status.table([only(run)])


def test_what_ended_unheard_is_told_by_the_accounts_and_the_log(run: Path, scheduler: Path, tmp_path: Path):
    (scheduler / "accounts").write_text("701|CANCELLED by 0\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "701_0_log.err").write_text("loading\nsrun: error: node1: task 0: Killed\nbye\n")
    assert (only(run).state, only(run).reason) == ("CANCELLED", "srun: error: node1: task 0: Killed")


def test_a_run_that_is_finished_is_not_live(run: Path, capsys):
    journal.add(run, "finished", token="a", job="701", rank=0)
    assert (only(run).state, only(run).live) == ("FINISHED", False)
    assert status.main([str(run), "--wait"]) == 0
    assert capsys.readouterr().out.startswith("STATE ")


def test_a_job_that_ends_while_the_queue_is_asked_is_finished(run: Path, scheduler: Path):
    event = json.dumps({"event": "finished", "time": 1.0, "token": "a", "job": "701", "rank": 0})
    (scheduler.parent / "programs" / "squeue").write_text(
        f"#!/bin/sh\necho '{event}' >> '{run / journal.NAME}'\n"
    )
    assert only(run).state == "FINISHED"


@pytest.mark.parametrize(("event", "state"), [("finished", "FINISHED"), ("failed", "FAILED")])
def test_a_job_that_said_how_it_ended_is_over_though_the_queue_still_has_it(
    run: Path, scheduler: Path, event: str, state: str
):
    (scheduler / "queue").write_text("701|COMPLETING|node1\n")
    journal.add(run, "started", token="a", job="701", rank=0, progress=0)
    journal.add(run, event, token="a", job="701", rank=0, reason="" if event == "finished" else "why")
    assert (only(run).state, only(run).live) == (state, True), "--wait waits until the queue is clear"
    (scheduler / "queue").unlink()
    assert (only(run).state, only(run).live) == (state, False)


def test_a_job_that_failed_and_starts_again_runs(run: Path, scheduler: Path):
    (scheduler / "queue").write_text("701|RUNNING|node1\n")
    for event in ("started", "failed", "started"):
        journal.add(run, event, token="a", job="701", rank=0, progress=0)
    assert only(run).state == "RUNNING"


def test_one_of_several_jobs_that_failed_does_not_end_the_others(run: Path, scheduler: Path):
    journal.add(run, "queued", token="a", jobs=["702"])
    journal.add(run, "failed", token="a", job="701", rank=0, reason="why")
    (scheduler / "queue").write_text("702|RUNNING|node1\n")
    assert only(run).state == "RUNNING"


def test_accounts_that_lag_behind_the_queue_are_not_taken_for_a_running_job(run: Path, scheduler: Path):
    (scheduler / "accounts").write_text("701|RUNNING\n")
    assert (only(run).state, only(run).live) == ("COMPLETING", True)


def test_a_job_that_the_accounts_call_completed_is_finished_if_it_left_its_product(
    run: Path, scheduler: Path
):
    (scheduler / "accounts").write_text("701|COMPLETED\n")
    assert only(run).state == "GONE"
    (run / "weights.safetensors").touch()
    assert only(run).state == "FINISHED"


def test_waiting_for_what_did_not_finish_ends_with_1(run: Path, capsys):
    journal.add(run, "failed", token="a", job="701", rank=0, reason="the loss is not finite")
    assert status.main([str(run), "--wait"]) == 1
    assert "the loss is not finite" in capsys.readouterr().out


def test_an_evaluation_shows_its_sequences_and_score(tmp_path: Path, scheduler: Path):
    run = tmp_path / "runs" / "evaluation"
    (run / "sequences").mkdir(parents=True)
    (run / "sequences" / "bear.json").touch()
    (run / "scores.json").write_text('{"J&F-Mean": 0.5}')
    journal.add(run, "submitted", token="a", arguments=["evaluate"])
    assert (only(run).step, only(run).score) == ("1", "50.0")


def test_a_folder_without_runs_is_named(tmp_path: Path, capsys):
    assert status.main([str(tmp_path)]) == 2
    assert "holds no run that was submitted" in capsys.readouterr().err


def test_a_queue_that_cannot_be_asked_is_told_in_its_own_words(run: Path, tmp_path: Path, capsys):
    words = "slurm_load_jobs error: Unable to contact slurm controller"
    (tmp_path / "programs" / "squeue").write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    assert status.main([str(run)]) == 2
    assert capsys.readouterr().err == f"launch: squeue: {words}; try again\n"
