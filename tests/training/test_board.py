"""TensorBoard's files of a run: all of its steps, once, and nothing that goes wrong there reaches the
training.
"""

from __future__ import annotations

import json
import signal
import sys

import pytest
from runs import finish, start

from mamp.core.errors import UserError
from mamp.training import board
from mamp.training.engine import train

ASKED = ["tracking.tensorboard=true", "tracking.pictures_every=4"]


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")


def read(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def lines(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_that_was_killed_goes_on_with_every_step_once(tmp_path, arguments):
    run = tmp_path / "run"
    asked = [*arguments, *ASKED]
    killed = start("fake_task", tmp_path, run, *asked, FAKE_SIGNAL="SIGKILL", FAKE_SIGNAL_AFTER="8")
    assert finish(killed)[0][0] == -signal.SIGKILL
    before = {event.step for event in read(run).Scalars("loss")}
    assert before == {1, 2, 4, 6}, "what was told before is in the file at once"
    [(status, told)] = finish(start("fake_task", tmp_path, run, *asked))
    assert status == 0, told

    events = read(run)
    assert len(list((run / "tensorboard").iterdir())) == 1
    logged = [(line["step"], line["loss"]) for line in lines(run)]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (step, pytest.approx(loss)) for step, loss in logged
    ]
    assert {"lr", "grad_norm", "clips_per_s"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Images("preview")] == [4, 8, 12]
    assert "config/text_summary" in events.Tags()["tensors"]


def test_a_run_that_had_none_tells_all_of_its_past(tmp_path, settings, fake_method):
    train(settings("train.steps=6"), tmp_path, quiet=True)
    train(settings("train.steps=12", *ASKED), tmp_path, quiet=True)
    assert [event.step for event in read(tmp_path).Scalars("loss")] == [
        line["step"] for line in lines(tmp_path)
    ]


def test_without_the_package_the_run_does_not_begin(tmp_path, settings, fake_method, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"pip install mamp\[tensorboard\]"):
        train(settings(*ASKED), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_failure_is_one_warning_and_changes_no_bit(tmp_path, settings, fake_method, monkeypatch, capsys):
    train(settings(), tmp_path / "plain", quiet=True)

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(board.Board, "log", full)
    train(settings(*ASKED), tmp_path / "told", quiet=True)
    assert capsys.readouterr().err.count("warning: TensorBoard fails (no space left)") == 1
    assert [line["loss"] for line in lines(tmp_path / "told")] == [
        line["loss"] for line in lines(tmp_path / "plain")
    ]


def test_a_package_that_does_not_begin_is_one_warning(tmp_path, settings, fake_method, monkeypatch, capsys):
    def broken(*_):
        raise TypeError("descriptors cannot be created")

    monkeypatch.setattr(board.Board, "__init__", broken)
    train(settings("train.steps=2", *ASKED), tmp_path, quiet=True)
    assert capsys.readouterr().err.count("warning: TensorBoard fails (descriptors") == 1


def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path, settings, fake_method, capsys):
    (tmp_path / "tensorboard").write_text("in the way")
    train(settings("train.steps=2", *ASKED), tmp_path, quiet=True)
    assert capsys.readouterr().err.count("warning: TensorBoard fails") == 1


def test_unless_it_is_asked_for_nothing_is_imported_or_made(tmp_path, settings, fake_method, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    train(settings("train.steps=2"), tmp_path, quiet=True)
    assert not (tmp_path / "tensorboard").exists()
