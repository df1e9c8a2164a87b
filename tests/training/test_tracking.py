from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import offline
import pytest
import wandb_server
from runs import finish, start

from mamp.training.engine import train
from mamp.training.tracking import Tracker
from mamp.training.wandb_run import run_id

OFFLINE = ["tracking.mode=offline", "tracking.pictures_every=4", "tracking.tags=[small, test]"]


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


def test_a_run_that_was_killed_goes_on_as_the_same_run_with_curves_and_pictures(tmp_path, arguments):
    run = tmp_path / "run"
    asked = [*arguments, *OFFLINE]
    killed = start("fake_task", tmp_path, run, *asked, FAKE_SIGNAL="SIGKILL", FAKE_SIGNAL_AFTER="8")
    assert finish(killed)[0][0] == -signal.SIGKILL
    [(status, told)] = finish(start("fake_task", tmp_path, run, *asked))
    assert status == 0, told

    first, second = offline.folders(run)
    assert first.name.endswith(run_id(run)) and second.name.endswith(run_id(run))
    begun = offline.begun_as(second)
    assert (begun.run_id, begun.project, begun.display_name) == (run_id(run), "mamp", "run")
    assert list(begun.tags) == ["small", "test"]
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert config["train"]["steps"] == 12 and "commit" in config["code"]

    history = offline.history(second)
    steps = [row["_step"] for row in history]
    assert steps == sorted(set(steps)), "no step twice, none backwards"
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [(r["_step"], r["loss"]) for r in history if "loss" in r] == [
        (line["step"], line["loss"]) for line in lines
    ]
    assert {"loss", "lr", "grad_norm", "clips_per_s", "wait", "memory"} <= history[0].keys()
    assert [row["_step"] for row in history if "preview" in row] == [4, 8, 12]
    assert len(list((second / "files" / "media" / "images").glob("preview_*.png"))) == 3


ONLINE = "tracking.mode=online"
DEAD = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}  # a key, and no server


def test_with_a_key_and_no_server_the_curves_are_kept_for_wandb_sync(tmp_path, arguments):
    run = tmp_path / "run"
    asked = [*arguments, ONLINE, "tracking.pictures_every=4"]
    stopped = {"FAKE_SIGNAL": "SIGTERM", "FAKE_SIGNAL_AFTER": "5"}
    [(status, told)] = finish(start("impatient_task", tmp_path, run, *asked, **DEAD, **stopped))
    assert status == 130, told
    assert "wandb cannot be reached" in told and "`wandb sync` of the newest offline folder" in told
    [first] = offline.folders(run)
    assert [row["_step"] for row in offline.history(first)] == [1, 2, 4]
    [(status, told)] = finish(start("impatient_task", tmp_path, run, *asked, **DEAD))
    assert status == 0, told
    _, second = offline.folders(run)
    assert offline.begun_as(second).run_id == offline.begun_as(first).run_id == run_id(run)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rows = [row for row in offline.history(second) if "loss" in row]
    assert [(row["_step"], row["loss"]) for row in rows] == [(line["step"], line["loss"]) for line in lines]
    assert [row["_timestamp"] for row in rows] == [line["time"] for line in lines], (
        "when it was, not when sent"
    )
    assert [row["_step"] for row in offline.history(second) if "preview" in row] == [4, 8, 12]
    assert offline.ended(second)


def test_a_server_that_dies_on_the_way_loses_no_curve(tmp_path, arguments):
    run = tmp_path / "run"
    server = wandb_server.start(dies_after="file_stream")
    alive = {**DEAD, "WANDB_BASE_URL": server.url}
    [(status, told)] = finish(start("impatient_task", tmp_path, run, *arguments, ONLINE, **alive))
    assert status == 0, told
    assert server.dead.is_set()
    [folder] = [path for path in (run / "wandb").glob("run-*") if path.is_dir()]
    rows = [(row["_step"], row["loss"]) for row in offline.history(folder) if "loss" in row]
    assert rows == [(line["step"], line["loss"]) for line in map(json.loads, (run / "log.jsonl").open())]
    assert offline.ended(folder)


def test_group_job_type_and_notes_are_wandb_s_and_the_diff_goes_with_the_run(tmp_path, settings):
    code = {"commit": "abc", "diff": "diff --git a/x b/x\n+new line"}
    asked = ["tracking.group=rates", "tracking.job_type=pretrain", "tracking.notes=a first try"]
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path; from mamp import config\n"
        "from mamp.training.wandb_run import open_run\n"
        f"run = open_run(Path(sys.argv[1]), config.load(None, sys.argv[2:]), {code!r}, seconds=60)\n"
        "run.log({'step': 1, 'loss': 0.5}); run.close(well=True)\n"
    )
    words = [sys.executable, script, tmp_path, "tracking.mode=offline", *asked]
    ran = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    [folder] = offline.folders(tmp_path)
    begun = offline.begun_as(folder)
    assert (begun.run_group, begun.job_type, begun.notes) == ("rates", "pretrain", "a first try")
    assert (folder / "files" / "diff.patch").read_text() == code["diff"] + "\n"
    assert "diff.patch" in offline.files(folder)


class Broken(types.ModuleType):
    """A wandb that works for a while."""

    class Settings:
        model_fields: dict = {}

    def __init__(self, *, begins=True, modes=("online", "offline"), logs=1):
        super().__init__("wandb")
        self.asked, self.logs, self.modes, self.step, self.url = [], logs, modes, 0, "there"

    def init(self, **settings):
        random.random(), np.random.rand()
        self.asked.append(settings["mode"])
        assert not sys.stdin.isatty()
        if settings["mode"] not in self.modes:
            raise RuntimeError("no key\nand more")
        return self

    def log(self, figures, step):
        random.random(), np.random.rand()
        self.logs -= 1
        if self.logs < 0:
            raise OSError("the service is gone")

    def Image(self, picture):  # noqa: N802
        return picture

    def finish(self, exit_code):
        raise OSError("cannot end")


@pytest.mark.parametrize("logs", [0, 1, 100])
def test_a_failure_of_wandb_is_one_warning_and_changes_no_bit(
    tmp_path, settings, fake_method, monkeypatch, capsys, logs
):
    train(settings(), tmp_path / "plain", quiet=True)
    monkeypatch.setitem(sys.modules, "wandb", Broken(logs=logs))
    train(settings("tracking.mode=offline"), tmp_path / "told", quiet=True)
    assert capsys.readouterr().err.count("warning: wandb fails") == 1
    assert losses(tmp_path / "told") == losses(tmp_path / "plain")


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("modes", "asked", "words"),
    [
        (("offline",), ["online", "offline"], "wandb cannot be reached (no key); the run is kept in"),
        ((), ["online", "offline"], "does not begin (no key; offline: no key); the run goes on without it"),
        (("online",), ["online"], "wandb: there"),
    ],
)
def test_what_cannot_be_online_is_offline_or_nothing(
    tmp_path, settings, fake_method, monkeypatch, capsys, modes, asked, words
):
    wandb = Broken(modes=modes, logs=100)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    train(settings("tracking.mode=online", "train.steps=2"), tmp_path)
    err = capsys.readouterr().err
    assert wandb.asked == asked
    assert words in err and "and more" not in err


def test_a_wandb_that_is_not_there_stops_nothing(tmp_path, settings, fake_method, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    train(settings("tracking.mode=offline", "train.steps=2"), tmp_path, quiet=True)
    assert capsys.readouterr().err.count("warning:") == 1


def test_disabled_imports_no_wandb_and_makes_no_folder(tmp_path, settings, fake_method, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    train(settings("train.steps=2"), tmp_path, quiet=True)
    assert not (tmp_path / "wandb").exists()


def test_the_id_of_a_run_stays_and_a_damaged_one_is_made_anew(tmp_path):
    made = run_id(tmp_path)
    assert run_id(tmp_path) == made
    (tmp_path / "wandb" / "id").write_text("../../x")
    assert run_id(tmp_path) not in (made, "../../x")


def test_only_what_wandb_lacks_is_told_when_a_run_goes_on(tmp_path, settings, monkeypatch):
    from mamp.training.folder import RunFolder

    class Kept(Broken):
        def log(self, figures, step):
            told.append((step, sorted(figures)))

        def finish(self, exit_code):
            ended.append(exit_code)

    told, ended = [], []
    wandb = Kept()
    wandb.step = 5
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with RunFolder(tmp_path) as folder:
        (tmp_path / "log.jsonl").write_text(
            "".join(f'{{"step": {n}, "loss": {n}, "lr": null}}\n' for n in (2, 4, 6, 8))
        )
        folder.begin(settings(), {}, step=6)
        folder.write_picture(np.zeros((8, 8, 3), np.uint8), step=6)
        folder.write_picture(np.zeros((8, 8, 3), np.uint8), step=7, name="carried")
        with Tracker(folder, settings("tracking.mode=online"), {}, step=6, quiet=True) as tracker:
            tracker.log({"step": 7, "loss": 1.0})
            tracker.log({"step": 4, "loss": 1.0})
    assert told == [(6, ["loss"]), (6, ["preview"]), (7, ["loss"])]
    assert ended == [0]
