from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import curve, equal, finish, last_state, log, same_end, start, weights

from mamp import config as configs
from mamp.core import devices
from mamp.core.errors import TryAgain, UserError
from mamp.training.checkpoints import listed
from mamp.training.engine import train
from mamp.training.resume import refuse_other_config
from mamp.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("fake_method")


# ---------------------------------------------------------------- interruptions


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_and_ends_bit_for_bit_as_an_undisturbed_one(
    tmp_path, settings, arguments, undisturbed, workers
):
    run = tmp_path / "killed"
    overrides = [*arguments, f"data.workers={workers}"]
    [(status, _)] = finish(
        start("fake_task", tmp_path, run, *overrides, FAKE_SIGNAL="SIGKILL", FAKE_SIGNAL_AFTER="8")
    )
    assert status == -signal.SIGKILL
    assert last_state(run)["step"] == 6
    train(settings(f"data.workers={workers}"), run, quiet=True)
    assert same_end(run, undisturbed)
    assert equal(weights(run), weights(undisturbed))
    assert curve(run) == curve(undisturbed)


@pytest.mark.parametrize(("name", "expected"), [("SIGTERM", 130), ("SIGUSR2", 75)])
def test_the_exit_status_says_whether_to_try_again(tmp_path, arguments, name, expected):
    processes = start(
        "fake_task", tmp_path, tmp_path / "run", *arguments, FAKE_SIGNAL=name, FAKE_SIGNAL_AFTER="2"
    )
    [(status, told)] = finish(processes)
    assert status == expected and f"interrupted by {name}: step 2 is saved" in told


@pytest.mark.parametrize(("name", "workers"), [("SIGINT", 0), ("SIGTERM", 2), ("SIGUSR1", 0), ("SIGUSR2", 2)])
def test_a_signal_saves_the_step_at_hand_and_interrupts(
    tmp_path, settings, undisturbed, monkeypatch, name, workers, capsys
):
    run = tmp_path / "run"
    monkeypatch.setenv("FAKE_SIGNAL", name)
    monkeypatch.setenv("FAKE_SIGNAL_AFTER", "5")
    with pytest.raises(TryAgain if "USR" in name else KeyboardInterrupt):
        train(settings(f"data.workers={workers}"), run, quiet=True)
    assert last_state(run)["step"] == 5
    assert f"interrupted by {name}" in capsys.readouterr().err
    monkeypatch.delenv("FAKE_SIGNAL_AFTER")
    train(settings(), run, quiet=True)
    assert same_end(run, undisturbed)
    assert curve(run) == curve(undisturbed)


def test_signal_handlers_and_torch_are_left_as_they_were(tmp_path, settings):
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2
    before = [signal.getsignal(number) for number in signals]
    train(settings("train.steps=1"), tmp_path, quiet=True)
    assert [signal.getsignal(number) for number in signals] == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path, settings, undisturbed, monkeypatch, damage, capsys
):
    run = tmp_path / "run"
    monkeypatch.setenv("FAKE_SIGNAL", "SIGTERM")
    monkeypatch.setenv("FAKE_SIGNAL_AFTER", "8")
    with pytest.raises(KeyboardInterrupt):
        train(settings(), run, quiet=True)
    path = listed(run / "checkpoints")[-1]
    whole = path.read_bytes()
    place = whole.index(last_state(run)["model"]["0.bias"].numpy().tobytes())
    bit = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    path.write_bytes({"cut": whole[: len(whole) // 2], "bit": bit, "empty": b""}[damage])
    monkeypatch.delenv("FAKE_SIGNAL_AFTER")
    train(settings(), run, quiet=True)
    assert "step-00000008.pt is damaged" in capsys.readouterr().err
    assert same_end(run, undisturbed)


def test_when_every_checkpoint_is_damaged_the_run_is_not_begun_anew_in_silence(settings, undisturbed):
    for path in listed(undisturbed / "checkpoints"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the 3 checkpoints"):
        train(settings(), undisturbed, quiet=True)


# ---------------------------------------------------------------- sameness


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path, settings, undisturbed):
    np.random.rand(), torch.rand(1)
    train(
        settings("data.workers=2", "train.checkpoint_every=5", "train.log_every=3"),
        tmp_path / "again",
        quiet=True,
    )
    assert same_end(tmp_path / "again", undisturbed)
    train(settings("train.seed=1"), tmp_path / "other", quiet=True)
    assert not equal(weights(tmp_path / "other"), weights(undisturbed))


def test_a_finished_run_says_so_and_does_nothing(settings, undisturbed, capsys):
    before = {
        path: path.read_bytes() for path in undisturbed.rglob("*") if path.is_file() and path.name != ".lock"
    }
    assert train(settings(), undisturbed) == undisturbed / "weights.safetensors"
    assert "finished after 12 steps" in capsys.readouterr().err
    assert all(path.read_bytes() == content for path, content in before.items())


def test_weights_that_a_killed_process_did_not_write_any_more_are_written_later(
    tmp_path, settings, undisturbed
):
    expected = weights(undisturbed)
    (undisturbed / "weights.safetensors").unlink()
    train(settings(), undisturbed, quiet=True)
    assert equal(weights(undisturbed), expected)


def test_a_finished_run_can_be_made_longer(tmp_path, settings, undisturbed):
    train(settings("train.steps=16"), undisturbed, quiet=True)
    train(settings("train.steps=16"), tmp_path / "long", quiet=True)
    assert same_end(undisturbed, tmp_path / "long")


def test_a_run_does_not_go_on_with_another_config(settings, undisturbed):
    with pytest.raises(UserError, match=r"begun with train\.lr=0\.01, and this config says 0\.02"):
        train(settings("train.lr=0.02"), undisturbed, quiet=True)
    with pytest.raises(UserError, match=r"begun with train\.schedule=halving"):
        train(settings("train.schedule=cosine", "train.steps=16"), undisturbed, quiet=True)


@pytest.mark.parametrize("ahead", ["train.schedule=cosine", "train.plateaus=4"])
def test_a_schedule_that_looks_ahead_keeps_a_run_to_its_length(settings, ahead):
    begun = settings(ahead, "train.steps=8").model_dump(mode="json")
    with pytest.raises(UserError, match=r"begun with train\.steps=8 \(its schedule of rates ends there\)"):
        refuse_other_config(begun, settings(ahead, "train.steps=16"), Path("run"))


def test_knobs_that_a_run_is_older_than_do_not_keep_it_from_going_on(settings):
    begun = settings().model_dump(mode="json")
    del begun["train"]["warmup"], begun["data"]["fit"], begun["tracking"]
    refuse_other_config(begun, settings(), Path("run"))
    with pytest.raises(UserError, match=r"begun with train\.warmup=0"):
        refuse_other_config(begun, settings("train.warmup=3"), Path("run"))


def test_a_run_does_not_go_on_with_other_videos(tmp_path, settings, undisturbed, videos):
    def at(root, *more):
        data = settings().data.model_copy(update={"root": (configs.Root(path=root),)})
        return settings(*more).model_copy(update={"data": data})

    moved, fewer = tmp_path / "moved", tmp_path / "fewer"
    moved.symlink_to(videos)
    train(at(moved, "train.steps=13"), undisturbed, quiet=True)
    fewer.mkdir()
    for video in sorted(videos.iterdir())[:7]:
        (fewer / video.name).symlink_to(video)
    with pytest.raises(UserError, match="begun on 8 videos .* now gives 7"):
        train(at(fewer, "train.steps=14"), undisturbed, quiet=True)


def test_names_that_are_to_be_left_out_and_are_not_there_are_told(tmp_path, settings, capsys):
    (tmp_path / "names.txt").write_text("video3\nvideo9\n")
    train(settings(f"data.leave_out={tmp_path}/names.txt", "train.steps=1"), tmp_path / "run")
    told = capsys.readouterr().err
    assert "1 video of data.root is left out, as" in told
    assert (
        "names.txt but of no video of data.root (video9 first)" in told and "training video: 7 videos" in told
    )


# ---------------------------------------------------------------- the run folder


def test_the_run_folder_holds_config_log_code_checkpoints_and_pictures(settings, undisturbed):
    assert configs.load(undisturbed / "config.yaml") == settings()
    assert [line["step"] for line in log(undisturbed)] == [1, 2, 4, 6, 8, 10, 12]
    assert {"loss", "lr", "grad_norm", "clips_per_s", "wait", "memory"} <= log(undisturbed)[0].keys()
    code = json.loads((undisturbed / "code.json").read_text())
    assert (
        code["versions"]["torch"] == torch.__version__.partition("+")[0]
        and {"commit", "diff", "hardware"} <= code.keys()
    )
    assert [path.name for path in listed(undisturbed / "checkpoints")] == [
        f"step-{n:08d}.pt" for n in (6, 9, 12)
    ]
    assert Image.open(undisturbed / "previews" / "step-00000012.png").size == (32, 32)
    assert not [path for path in undisturbed.rglob(".*") if path.name != ".lock"], (
        "nothing half written stays"
    )


def test_a_checkpoint_holds_what_weights_are_made_of(undisturbed):
    state = last_state(undisturbed)
    assert equal(dict(state["model"]), weights(undisturbed))
    assert state["method"]["name"] == "mamp"
    assert state["provenance"]["data"]["videos"] == 8 and state["provenance"]["step"] == 12


def test_lines_logged_after_the_last_checkpoint_are_dropped_on_resume(
    tmp_path, settings, undisturbed, monkeypatch
):
    run = tmp_path / "run"
    monkeypatch.setenv("FAKE_SIGNAL", "SIGTERM")
    monkeypatch.setenv("FAKE_SIGNAL_AFTER", "7")
    with pytest.raises(KeyboardInterrupt):
        train(settings(), run, quiet=True)
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 8, "loss": 9}\n{"step": 1')
    monkeypatch.delenv("FAKE_SIGNAL_AFTER")
    train(settings(), run, quiet=True)
    assert curve(run) == curve(undisturbed)


def test_two_processes_do_not_write_one_run(tmp_path, settings):
    run = tmp_path / "run"
    run.mkdir()
    hold = (
        "import fcntl,sys; f=open(sys.argv[1],'a+'); fcntl.lockf(f,fcntl.LOCK_EX); print('held',flush=True);"
        " input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, run / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="is being written by"):
            train(settings(), run, quiet=True)
        other.communicate("\n")
    train(settings("train.steps=1"), run, quiet=True)


# ---------------------------------------------------------------- learning


def test_training_learns(settings, tmp_path):
    train(settings("train.steps=60", "train.log_every=20"), tmp_path, quiet=True)
    losses = [line["loss"] for line in log(tmp_path)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_logged_rate_is_the_schedule_s(tmp_path, settings):
    train(settings("train.milestones=[6,12]", "train.log_every=1"), tmp_path, quiet=True)
    assert [line["lr"] for line in log(tmp_path)] == [0.01] * 4 + [0.005] * 3 + [0.0025] * 5


def test_epochs_are_counted_in_clips(tmp_path, settings, arguments):
    config = configs.load(None, [*(a for a in arguments if "steps" not in a), "train.epochs=2.5"])
    train(config, tmp_path, quiet=True)
    assert log(tmp_path)[-1]["step"] == 10  # eight clips an epoch, two in a step


def test_the_gradient_is_clipped_after_its_norm_is_logged(tmp_path, settings):
    train(settings("train.clip_norm=0.001", "train.steps=2"), tmp_path, quiet=True)
    assert log(tmp_path)[0]["grad_norm"] > 0.001


def test_bf16_trains_in_32_bit_weights(tmp_path, settings):
    train(settings("train.amp=bf16", "train.steps=2"), tmp_path, device="cpu", quiet=True)
    assert all(value.dtype != torch.bfloat16 for value in weights(tmp_path).values())
    assert json.loads((tmp_path / "code.json").read_text())["precision"] == "bfloat16"


# ---------------------------------------------------------------- a user's mistakes


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    tmp_path, settings, monkeypatch
):
    monkeypatch.setenv("FAKE_NAN_AT", "8")
    with pytest.raises(UserError, match="broke down at step 8: loss nan"):
        train(settings("train.max_skipped=0"), tmp_path, quiet=True)
    assert last_state(tmp_path)["step"] == 6


def test_mistakes_are_told_in_one_sentence(tmp_path, settings, videos):
    no_root = settings().model_copy(update={"data": settings().data.model_copy(update={"root": ()})})
    for config, device, words in (
        (no_root, "cpu", "pass data.root=PATH"),
        (settings("train.amp=fp16"), "cpu", "amp=fp16 needs"),
        (settings("train.batch=100"), "cpu", "train.batch=100"),
        (settings(), "toaster", "toaster"),
    ):
        with pytest.raises(UserError) as caught:
            train(config, tmp_path / "run", device=device, quiet=True)
        assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("run", ["file", "file/run"])
def test_a_run_folder_that_is_a_file_is_named(tmp_path, settings, run):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file where a folder should be; choose another folder"):
        train(settings(), tmp_path / run, quiet=True)


def test_a_lock_that_cannot_be_opened_is_named(tmp_path, settings):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UserError, match=r"\.lock cannot be written \(Is a directory\); give another folder"):
        train(settings(), tmp_path, quiet=True)


def test_a_start_that_fails_leaves_nothing_behind(tmp_path, settings):
    with pytest.raises(UserError):
        train(settings("train.batch=100"), tmp_path / "runs" / "run", quiet=True)
    assert not (tmp_path / "runs").exists()


def test_quiet_prints_nothing_and_otherwise_the_census_comes_first(tmp_path, settings, capsys):
    train(settings("train.steps=2"), tmp_path / "quiet", quiet=True)
    assert capsys.readouterr() == ("", "")
    train(settings("train.steps=2"), tmp_path / "told")
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("training video: 8 videos, 64 frames")
    assert "8 videos do not say their rate" in err and "training: 2 of 2 steps" in err


# ---------------------------------------------------------------- devices


def test_a_full_memory_ends_training_with_what_to_lower(tmp_path, settings, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has less")

    monkeypatch.setattr(Trainer, "learn", full)
    with pytest.raises(UserError, match=r"2\.50 GiB more.*train\.accumulate=1.*train\.batch"):
        train(settings("train.steps=1"), tmp_path / "run", device="cpu", quiet=True)


def test_bf16_on_a_processor_without_it_is_warned_of(tmp_path, settings, monkeypatch, capsys):
    monkeypatch.setattr(devices, "fast_bf16", lambda device: False)
    train(settings("train.steps=1", "train.amp=bf16"), tmp_path / "run", device="cpu", quiet=True)
    assert "train.amp=bf16 makes it up to ten times slower" in capsys.readouterr().err
