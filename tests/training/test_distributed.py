"""Several ranks: who they are, that they train as one process does, and what happens when one is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from one_step import CLIPS, step
from runs import curve, equal, finish, last_state, log, same_end, start, weights

from mamp import config as configs
from mamp.core.errors import UserError
from mamp.training.distributed import PORTS, Place, Ranks, find_place, first_host
from mamp.training.engine import train

ALONE = Ranks(Place(), torch.device("cpu"))
SMALL = [
    "method.encoder.width=0.125", "method.encoder.features=8", "data.size=32", "data.augment.crop=[0.3, 1]",
    "data.augment.flip=0.5", f"train.batch={CLIPS}",
]  # fmt: skip


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def port():
    return free_port()


# ---------------------------------------------------------------- who they are


def test_a_process_that_is_told_nothing_is_alone():
    assert find_place({}) == find_place({"RANK": "0", "WORLD_SIZE": "1"}) == Place()
    assert find_place({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) == Place()


def test_torchrun_tells_the_place_even_within_a_slurm_job():
    torchrun = {
        "RANK": "3",
        "WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "host",
        "MASTER_PORT": "1234",
    }
    slurm = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}
    assert find_place({**torchrun, **slurm}) == Place(3, 4, 1, "host", 1234)


SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_NODELIST": "gpu[07-09,12],big1",
}


def test_slurm_tells_the_place_and_its_first_host_is_the_meeting_point():
    place = find_place({**SLURM, "SLURM_JOB_ID": "81234"})
    assert (place.rank, place.count, place.local, place.address) == (5, 8, 1, "gpu07")
    assert place.port in PORTS


def test_two_jobs_on_one_node_meet_at_two_ports():
    ports = {find_place({**SLURM, "SLURM_JOB_ID": f"{job}"}).port for job in range(81234, 81334)}
    assert len(ports) == 100


def test_an_explicit_meeting_point_wins():
    place = find_place({**SLURM, "SLURM_JOB_ID": "1", "MASTER_ADDR": "here", "MASTER_PORT": "99"})
    assert (place.address, place.port) == ("here", 99)


def test_one_task_within_a_larger_allocation_is_alone():
    assert find_place({**SLURM, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}) == Place()


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[3-5]", "n3"),
        ("n[003,7]-ib,x", "n003-ib"),
        ("r[1-2]n[4-5]", "r1n4"),
        ("", "127.0.0.1"),
    ],
)
def test_the_first_host_of_a_list(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x", "WORLD_SIZE": "2"}, {"RANK": "0", "WORLD_SIZE": "-1"}],
)
def test_a_place_that_cannot_be_is_refused(environment):
    with pytest.raises(UserError, match="torchrun or srun"):
        find_place(environment)


def test_batch_norms_over_ranks_are_refused_without_a_gpu():
    with pytest.raises(UserError, match="train.sync_batch_norm=true needs CUDA GPUs; set it to false"):
        Ranks(Place(0, 2), torch.device("cpu")).wrap(torch.nn.BatchNorm2d(3), sync_batch_norm=True)


def test_a_batch_that_does_not_divide_among_ranks_is_refused():
    ranks = Ranks(Place(0, 3), torch.device("cpu"))
    assert ranks.share(12, 2) == 4
    with pytest.raises(UserError, match=r"train\.batch=8 does not divide into 3 ranks .* a multiple of 6"):
        ranks.share(8, 2)


# ---------------------------------------------------------------- as one process


def both(tmp_path, port, calm):
    """What each of two ranks with half the batch sees of one step."""
    ended = finish(start("one_step", tmp_path, tmp_path, calm, *SMALL, ranks=2, port=port))
    assert [status for status, _ in ended] == [0, 0], ended
    return [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]


def close(one, other):
    return all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-6) for name in one | other)


def test_two_ranks_have_the_loss_and_gradient_of_one_process(tmp_path, port):
    whole = step(ALONE, configs.load(None, SMALL), calm=True)
    halves = both(tmp_path, port, "calm")
    for half in halves:
        assert half["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        assert half["dropped"] == whole["dropped"]
        assert whole["gradient"] and close(half["gradient"], whole["gradient"])
    assert equal(halves[0]["gradient"], halves[1]["gradient"])
    assert torch.equal(torch.cat([half["frames"] for half in halves]), whole["frames"])


def test_with_batch_norm_in_training_each_rank_has_the_loss_of_one_process_on_its_half(tmp_path, port):
    for half, place in zip(both(tmp_path, port, "training"), (slice(0, 2), slice(2, 4)), strict=True):
        alone = step(ALONE, configs.load(None, SMALL), calm=False, keep=place)
        assert half["own"] == pytest.approx(alone["own"], rel=1e-6)


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_taken_in_parts_has_the_loss_and_gradient_of_the_whole(parts):
    whole = step(ALONE, configs.load(None, SMALL), calm=True)
    added = step(ALONE, configs.load(None, [*SMALL, f"train.accumulate={parts}"]), calm=True)
    assert added["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert close(added["gradient"], whole["gradient"])
    assert torch.equal(added["frames"], whole["frames"][-CLIPS // parts :])


# ---------------------------------------------------------------- interruptions


def two(run, arguments, port, **environment):
    return finish(start("fake_task", run.parent, run, *arguments, ranks=2, port=port, **environment))


@pytest.fixture(scope="session")
def finished_two(tmp_path_factory, arguments):
    run = tmp_path_factory.mktemp("two") / "run"
    ended = two(run, [*arguments, "train.ema=0.9"], free_port())
    assert [status for status, _ in ended] == [0, 0], ended
    return run


def same_run(one, other):
    return same_end(one, other) and equal(weights(one), weights(other)) and curve(one) == curve(other)


def test_two_ranks_write_one_run(finished_two):
    assert [line["step"] for line in log(finished_two)] == [1, 2, 4, 6, 8, 10, 12]
    assert len(last_state(finished_two)["rng_of_other_ranks"]) == 1


@pytest.mark.parametrize(
    ("name", "rank", "status", "workers"),
    [("SIGTERM", "1", 130, 0), ("SIGUSR1", "0", 75, 2), ("SIGUSR2", "1", 75, 0)],
)
def test_a_signal_to_one_rank_stops_both_and_the_run_ends_bit_for_bit(
    tmp_path, arguments, port, finished_two, name, rank, status, workers
):
    run, more = tmp_path / "run", [*arguments, "train.ema=0.9", f"data.workers={workers}"]
    stopped = two(run, more, port, FAKE_SIGNAL=name, FAKE_SIGNAL_AFTER="5", FAKE_RANK=rank)
    assert [code for code, _ in stopped] == [status, status], stopped
    assert last_state(run)["step"] == 5
    assert sum("step 5 is saved" in told for _, told in stopped) == 1
    assert [code for code, _ in two(run, more, port)] == [0, 0]
    assert same_run(run, finished_two)


@pytest.mark.parametrize(("rank", "workers"), [(0, 0), (1, 2)])
def test_a_killed_rank_ends_the_other_with_a_sentence_and_the_run_goes_on_bit_for_bit(
    tmp_path, arguments, port, finished_two, rank, workers
):
    run, more = tmp_path / "run", [*arguments, "train.ema=0.9", f"data.workers={workers}"]
    ended = two(run, more, port, FAKE_SIGNAL="SIGKILL", FAKE_SIGNAL_AFTER="8", FAKE_RANK=f"{rank}")
    assert ended[rank][0] == -signal.SIGKILL
    status, told = ended[1 - rank]
    assert status == 2 and "lost the others" in told and "Traceback" not in told
    assert last_state(run)["step"] == 6
    assert [code for code, _ in two(run, more, port)] == [0, 0]
    assert same_run(run, finished_two)


def test_a_rank_that_hangs_is_given_up_after_the_time_limit(tmp_path, arguments, port):
    more = [*arguments, "train.rank_timeout=5"]
    processes = start(
        "fake_task", tmp_path, tmp_path / "run", *more, ranks=2, port=port,
        FAKE_SIGNAL="SIGSTOP", FAKE_SIGNAL_AFTER="4", FAKE_RANK="1",
    )  # fmt: skip
    try:
        [(status, told)] = finish(processes[:1], within=60)
    finally:
        processes[1].kill()
    assert status == 2 and "lost the others" in told


def test_a_rank_that_does_not_come_is_told_of(tmp_path, arguments, port):
    more = [*arguments, "train.rank_timeout=2"]
    first, second = start("fake_task", tmp_path, tmp_path / "run", *more, ranks=2, port=port, FAKE_RANK="1")
    second.kill()
    [(status, told)] = finish([first], within=60)
    assert status == 2 and f"did not meet the other 1 at 127.0.0.1:{port}" in told


def test_a_step_that_one_rank_cannot_use_is_left_out_by_both(tmp_path, arguments, port):
    ended = two(tmp_path / "run", [*arguments, "train.max_skipped=1"], port, FAKE_NAN_AT="4", FAKE_RANK="1")
    assert [status for status, _ in ended] == [0, 0], ended
    assert log(tmp_path / "run")[-1]["skipped"] == 1
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run").values())


@pytest.mark.usefixtures("fake_method")
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path, settings, finished_two):
    run = shutil.copytree(finished_two, tmp_path / "run")
    train(settings("train.ema=0.9", "train.steps=14"), run, quiet=True)
    assert log(run)[-1]["step"] == 14


# ---------------------------------------------------------------- what a step draws, and how ranks are
# started


@pytest.mark.usefixtures("fake_method")
def test_two_ranks_and_a_run_that_was_interrupted_draw_the_augmentation_of_one_process(
    tmp_path, arguments, settings, port, monkeypatch
):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    monkeypatch.setenv("FAKE_DRAWS", str(one))
    train(settings(), tmp_path / "run", quiet=True)
    run, told = tmp_path / "two", {"FAKE_DRAWS": str(other)}
    stopped = two(run, arguments, port, FAKE_SIGNAL="SIGUSR1", FAKE_SIGNAL_AFTER="7", **told)
    assert [status for status, _ in stopped] == [75, 75] and len(drawn(other)) == 7
    assert [status for status, _ in two(run, arguments, port, **told)] == [0, 0]
    assert len(drawn(one)) == 12 and equal(drawn(one), drawn(other))


def drawn(folder):
    """Step -> the augmented frames of its whole batch."""
    steps = {path.name.partition("-")[0] for path in folder.iterdir()}
    return {step: torch.cat([torch.load(p) for p in sorted(folder.glob(f"{step}-*"))]) for step in steps}


# What each process tells last. A thread of gloo that is left when Python ends may abort it.
LAST_THREADS = """
import atexit, os, pathlib

def tell():
    names = [task.read_text() for task in pathlib.Path("/proc/self/task").glob("*/comm")]
    there = pathlib.Path(__file__).with_name("threads" + os.environ["RANK"])
    there.write_text(" ".join(name.strip() for name in names if "gloo" in name))

if "RANK" in os.environ:
    atexit.register(tell)
"""


def test_torchrun_starts_the_ranks_of_a_run_and_no_thread_of_theirs_is_left(tmp_path, arguments, port):
    (tmp_path / "sitecustomize.py").write_text(LAST_THREADS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    asked = [*arguments, *SMALL, "train.steps=2", "--run", tmp_path / "run", "--device", "cpu"]
    ended = subprocess.run(
        [*torchrun, "-m", "--", "mamp", "train", os.devnull, *asked],  # else --run is torchrun's
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert [(tmp_path / f"threads{rank}").read_text() for rank in (0, 1)] == ["", ""]
    assert ended.stderr.count("training video: 8 videos") == 1, "one rank speaks"
    assert json.loads((tmp_path / "run" / "code.json").read_text())["ranks"] == 2
    assert last_state(tmp_path / "run")["step"] == 2 and weights(tmp_path / "run")
