"""What a run remembers of itself: its starts, its settings, when each line was logged."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import datetime

import pytest
import yaml
from runs import log

from mamp import config
from mamp.core.errors import UserError
from mamp.training.checkpoints import listed
from mamp.training.engine import train
from mamp.training.history import start_of

pytestmark = pytest.mark.usefixtures("fake_method")


@pytest.fixture
def stopped(tmp_path, settings, monkeypatch):
    """stopped(*overrides) -> a run that a signal ended after step 5."""

    def run(*overrides):
        monkeypatch.setenv("FAKE_SIGNAL", "SIGTERM")
        monkeypatch.setenv("FAKE_SIGNAL_AFTER", "5")
        with pytest.raises(KeyboardInterrupt):
            train(settings(*overrides), tmp_path / "run", quiet=True)
        monkeypatch.delenv("FAKE_SIGNAL_AFTER")
        return tmp_path / "run"

    return run


def code(run):
    return json.loads((run / "code.json").read_text())


# ---------------------------------------------------------------- lines of the log


def test_every_line_says_when_it_was_and_how_many_epochs_and_clips_were_seen(tmp_path, settings):
    before = time.time()
    train(settings("validation.share=0.25", "validation.every=4"), tmp_path, quiet=True)
    lines = log(tmp_path)
    assert [line["clips"] for line in lines] == [2 * line["step"] for line in lines]
    # six videos are left to train on: three steps make an epoch
    assert [line["epoch"] for line in lines] == [round(line["step"] / 3, 4) for line in lines]
    times = [line["time"] for line in lines]
    assert times == sorted(times) and before - 1 < times[0] and times[-1] < time.time() + 1


def test_epochs_that_differ_in_length_are_counted_by_their_own_steps(settings):
    from mamp.loading.census import Census
    from mamp.loading.clips import ClipPlan

    census = Census(counts=(30, 40, 50), rates=(30.0,) * 3, digest="", roots=(0, 0, 0))
    data = settings("data.sampling=published").data
    plan = ClipPlan(census, data, frames=2, batch=4, seed=0)
    ends = [plan.steps_for(epochs) for epochs in range(6)]
    assert len({b - a for a, b in zip(ends, ends[1:], strict=False)}) > 1
    assert [plan.epochs_after(step) for step in ends] == list(range(6))
    found = [plan.epochs_after(step) for step in range(ends[-1])]
    assert found == sorted(set(found))


# ---------------------------------------------------------------- starts


def test_code_json_says_where_and_when_each_start_was(stopped, settings, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "812")
    run = stopped()
    first = code(run)
    assert (first["host"], first["job"], "resumed" in first) == (os.uname().nodename, "812", False)
    assert abs(datetime.fromisoformat(first["date"]).timestamp() - time.time()) < 60
    monkeypatch.setenv("SLURM_JOB_ID", "901")
    train(settings(), run, quiet=True)
    now = code(run)
    [again] = now.pop("resumed")
    assert now == first
    assert (again["step"], again["job"], again["host"]) == (5, "901", first["host"])
    assert "diff" not in again and "versions" not in again, "what is as before is not said twice"


def test_what_differs_from_the_start_before_is_kept_with_the_start(stopped, settings, monkeypatch):
    from mamp.training import engine

    run = stopped()
    describe = engine.describe_code
    monkeypatch.setattr(engine, "describe_code", lambda device: describe(device) | {"commit": "other"})
    monkeypatch.setenv("FAKE_SIGNAL_AFTER", "1")
    with pytest.raises(KeyboardInterrupt):
        train(settings(), run, quiet=True)
    monkeypatch.delenv("FAKE_SIGNAL_AFTER")
    train(settings(), run, quiet=True)
    one, two = code(run)["resumed"]
    assert one["commit"] == "other" and "commit" not in two and two["step"] == 6


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "0"}, "8_0"),
        ({"PBS_JOBID": "12.server"}, "12.server"),
    ],
)
def test_the_job_is_what_the_scheduler_calls_it(environment, job):
    assert start_of(environment)["job"] == job


# ---------------------------------------------------------------- settings


def test_settings_that_change_on_the_way_are_kept_and_said(stopped, settings, capsys):
    run = stopped("train.checkpoint_every=4")
    train(settings("train.checkpoint_every=2", "train.steps=14", "tracking.tags=[late]"), run)
    [again] = code(run)["resumed"]
    assert again["settings"] == {
        "train.steps": {"before": 12, "now": 14},
        "train.checkpoint_every": {"before": 4, "now": 2},
        "tracking.tags": {"before": [], "now": ["late"]},
    }
    assert yaml.safe_load((run / "config.yaml").read_text())["train"]["steps"] == 14
    told = capsys.readouterr().err
    assert (
        "going on after step 5 of 14, with train.steps=14 (was 12), train.checkpoint_every=2 (was 4)" in told
    )


def test_settings_that_stay_are_not_mentioned(stopped, settings, capsys):
    run = stopped()
    train(settings(), run)
    assert "going on after step 5 of 12\n" in capsys.readouterr().err
    assert "settings" not in code(run)["resumed"][0]


@pytest.mark.parametrize("length", ["train.steps=4", "train.epochs=0.5"])
def test_a_run_is_not_made_shorter_than_it_is(stopped, settings, arguments, length):
    run = stopped()
    asked = config.load(None, [*(a for a in arguments if "train.steps" not in a), length])
    files = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
    with pytest.raises(UserError, match=rf"is at step 5 already, and {length} ends it after"):
        train(asked, run, quiet=True)
    assert all(path.read_bytes() == content for path, content in files.items())


def test_a_run_may_end_at_the_step_it_is_at(stopped, settings):
    run = stopped()
    train(settings("train.steps=5"), run, quiet=True)
    assert (run / "weights.safetensors").exists()


def test_a_finished_run_says_which_settings_it_did_not_use(settings, undisturbed, capsys):
    train(settings("data.workers=1", "train.keep=9"), undisturbed)
    told = capsys.readouterr().err
    assert "finished after 12 steps" in told
    assert "not used, since the run is finished: data.workers=1 (was 0), train.keep=9 (was 3)" in told
    train(settings(), undisturbed)
    assert "not used" not in capsys.readouterr().err


def test_other_videos_are_noticed_on_a_finished_run_too(
    tmp_path, settings, arguments, undisturbed, videos, capsys
):
    (tmp_path / "names.txt").write_text("video3\n")
    with pytest.raises(UserError, match="begun on 8 videos .* now gives 7"):
        train(settings(f"data.leave_out={tmp_path / 'names.txt'}"), undisturbed, quiet=True)
    with pytest.raises(UserError, match="is no file"):
        train(settings("data.leave_out=/nowhere.txt"), undisturbed, quiet=True)
    shutil.copytree(videos, tmp_path / "moved")
    others = [a for a in arguments if not a.startswith("data.root=")]
    moved = config.load(None, [f"data.root={tmp_path / 'moved'}", *others])
    train(moved, undisturbed)
    assert f"data.root={tmp_path / 'moved'} (was {videos})" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "moved" / "video1")
    with pytest.raises(UserError, match="begun on 8 videos .* now gives 7"):
        train(moved, undisturbed, quiet=True)


# ---------------------------------------------------------------- checkpoints that stay


def test_checkpoints_of_named_steps_are_written_and_stay(tmp_path, settings):
    train(settings("train.keep=1", "train.keep_at=[2,7,99]"), tmp_path, quiet=True)
    assert [path.name for path in listed(tmp_path / "checkpoints")] == [
        f"step-{n:08d}.pt" for n in (2, 7, 12)
    ]


def test_choosing_by_val_is_said(tmp_path, settings, write_clip, capsys):
    for name in ("ant", "bee"):
        write_clip(tmp_path, name, seed=1, frames=4, size=(36, 36))
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    for split in ("val", "tune"):
        (tmp_path / "ImageSets" / "2017" / f"{split}.txt").write_text("ant\nbee\n")
    asked = ["train.steps=1", "validation.dataset=davis2017", f"validation.root={tmp_path}"]
    words = "chooses the checkpoint on the set that is usually reported"
    for number, (more, said) in enumerate(
        [(["train.keep_best=1"], True), ([], False), (["train.keep_best=1", "validation.split=tune"], False)]
    ):
        train(settings(*asked, *more), tmp_path / f"run{number}")
        assert (words in capsys.readouterr().err) == said


# ---------------------------------------------------------------- what is there already


@pytest.mark.parametrize("content", ['["a"]', '{"resumed": 5}', "{", '{"a": -1e400}', "[" * 200])
def test_a_code_json_that_no_run_wrote_is_kept_beside_the_new_one(stopped, settings, capsys, content):
    run = stopped()
    (run / "code.json").write_text(content)
    train(settings(), run, quiet=True)
    assert (run / "code.json.damaged-1").read_text() == content
    assert code(run)["step"] == 5
    assert "it is kept as code.json.damaged-1" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_keeps_the_history_of_the_start_before(stopped, settings, capsys):
    run = stopped()
    shutil.rmtree(run / "checkpoints")
    kept = {name: (run / name).read_bytes() for name in ("log.jsonl", "code.json", "config.yaml")}
    train(settings(), run, quiet=True)
    assert {name: (run / "before-1" / name).read_bytes() for name in kept} == kept
    assert "has no checkpoint, so the run begins anew" in capsys.readouterr().err


def test_something_else_in_place_of_a_runs_files_is_refused(tmp_path, settings):
    for name in ("previews", "checkpoints"):
        run = tmp_path / name
        run.mkdir()
        (run / name).write_text("a file")
        with pytest.raises(UserError, match=f"{name} is not a folder, where the run keeps its {name}"):
            train(settings(), run, quiet=True)
    for name in ("log.jsonl", "code.json", "config.yaml"):
        run = tmp_path / f"fifo-{name}"
        run.mkdir()
        os.mkfifo(run / name)
        with pytest.raises(UserError, match=f"{name} is a pipe, socket or device"):
            train(settings(), run, quiet=True)
