"""One training loop for every method; read `train` top to bottom. trainer.py has the step."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamp import methods, weights
from mamp.config import Config
from mamp.data.census import Census, survey
from mamp.data.clips import ClipPlan
from mamp.data.loading import ClipLoader
from mamp.errors import UserError
from mamp.methods.base import Batch
from mamp.ops.devices import peak_memory_mb, pick_device
from mamp.progress import Progress, say
from mamp.provenance import describe_code
from mamp.training import checkpoints
from mamp.training.folder import RunFolder
from mamp.training.resume import is_finished, refuse_other_config, refuse_other_videos
from mamp.training.trainer import Trainer


def train(config: Config, run: Path, *, device: str = "auto", quiet: bool = False) -> Path:
    """Train `config.method` in the folder `run` and return the weights file.

    Goes on from the last whole checkpoint in `run`, bit for bit on the same hardware; a finished run stays as it is.
    device: auto, cpu, cuda or mps. quiet: nothing but warnings on standard error.
    SIGINT and SIGTERM save a checkpoint and raise KeyboardInterrupt.

    Raises UserError for settings, data or a run folder that do not fit, and for a loss that is no longer finite.
    """
    where = pick_device(device)
    if not config.data.root:
        raise UserError(
            "there is no training video: data.root is empty; pass data.root=PATH, once for each place"
        )
    tell = _silent if quiet else say
    with RunFolder(run) as folder, _reproducible(config.train.seed):
        saved = checkpoints.load_last(folder.checkpoints)
        if saved is not None:
            refuse_other_config(saved["config"], config, run)
            if is_finished(saved, config):
                tell(f"run {run} is finished after {saved['step']} steps; a new run wants another --run")
                return _write_weights(folder, saved)
        videos, census = survey(config.data)
        task = methods.get(config.method.name).build_task(config)
        plan = ClipPlan(
            census, config.data, frames=task.clip.frames, batch=config.train.batch, seed=config.train.seed
        )
        steps = config.train.steps or plan.steps_for(config.train.epochs)
        if steps < 1:
            raise UserError(
                f"train.epochs={config.train.epochs:g} makes no step of {config.train.batch} clips; raise it"
            )
        _tell_census(census, plan, config, tell)
        code = describe_code(where)
        trainer = Trainer(task, config, where, steps=steps, provenance=_provenance(config, census, code))
        if saved is not None:
            refuse_other_videos(saved["provenance"]["data"], census, run)
            trainer.load(saved)
            tell(f"going on after step {trainer.step} of {steps}")
        folder.begin(
            config, {**code, "precision": trainer.precision, "step": trainer.step}, step=trainer.step
        )
        _loop(trainer, ClipLoader(videos, plan, config.data, pin=where.type == "cuda"), folder, quiet=quiet)
        return _write_weights(folder, trainer.state())


def _loop(trainer: Trainer, loader: ClipLoader, folder: RunFolder, *, quiet: bool) -> None:
    """Steps until the last one, or until a signal; logs and saves on the way."""
    knobs = trainer.config.train
    since, waited, steps = time.perf_counter(), 0.0, 0
    with (
        _caught_signals() as caught,
        contextlib.closing(loader.batches(trainer.step)) as batches,
        Progress(trainer.steps, unit="steps", done=trainer.step, quiet=quiet) as progress,
    ):
        progress.begin("training")
        while trainer.step < trainer.steps:
            asked = time.perf_counter()
            arrays = next(batches)
            waited += time.perf_counter() - asked
            trainer.learn(Batch(*arrays))
            steps += 1
            step, last = trainer.step, trainer.step == trainer.steps
            if last or step == 1 or step % knobs.log_every == 0:
                seconds = time.perf_counter() - since
                means = trainer.summarise()
                speed = {"clips_per_s": steps * knobs.batch / seconds, "wait": waited / seconds}
                folder.log(
                    {
                        "step": step,
                        "lr": trainer.lr,
                        **means,
                        **speed,
                        "memory": peak_memory_mb(trainer.device),
                    }
                )
                progress.note(f"loss {means['loss'] or 0.0:.4f}, {speed['clips_per_s']:.1f} clips/s")
                since, waited, steps = time.perf_counter(), 0.0, 0
            progress.advance()
            if last or caught or step % knobs.checkpoint_every == 0:
                checkpoints.save(folder.checkpoints, trainer.state(), step=step, keep=knobs.keep)
            if last or step % knobs.checkpoint_every == 0:
                folder.write_picture(trainer.preview().permute(1, 2, 0).numpy(), step=step)
            if caught and not last:
                say(
                    f"interrupted by {caught[0]}: step {step} is saved, and the same command goes on from there"
                )
                raise KeyboardInterrupt


def _write_weights(folder: RunFolder, state: Mapping[str, Any]) -> Path:
    """weights.safetensors, of what the last checkpoint holds; one that is of it already stays as it is."""
    path = folder.path / "weights.safetensors"
    if not path.exists() or weights.read(path).provenance != state["provenance"]:
        weights.save(path, state["model"], method=state["method"], provenance=state["provenance"])
    return path


def _tell_census(census: Census, plan: ClipPlan, config: Config, tell: Callable[[str], None]) -> None:
    clips, frames = plan.clips_in(0), plan.frames
    if census.left_out:
        tell(f"{census.left_out} videos of data.root are left out, as {config.data.leave_out} says")
    tell(
        f"training video: {len(census.counts)} videos, {census.frames} frames, list {census.digest}; "
        f"the first epoch has {clips} clips of {frames} frames, {clips // plan.batch} steps"
    )
    unknown = sum(rate is None for rate in census.rates)
    if unknown and config.data.interval_fps is not None:
        tell(
            f"{unknown} videos do not say their rate: their intervals are counted in stored frames; data.root=PATH@FPS tells it"
        )


def _provenance(config: Config, census: Census, code: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values that go with checkpoints and weights; places on this machine are left out."""
    values = config.model_dump(mode="json")
    return {
        "mamp": code["mamp"],
        "commit": code["commit"],
        "changed": bool(code["diff"]),
        "data": {
            "videos": len(census.counts),
            "frames": census.frames,
            "digest": census.digest,
            "left_out": census.left_out,
        },
        "recipe": {
            "data": {k: v for k, v in values["data"].items() if k not in ("root", "leave_out")},
            "train": values["train"],
        },
    }


def _silent(line: str) -> None:
    """Where lines go with `quiet`."""


@contextlib.contextmanager
def _caught_signals() -> Iterator[list[str]]:
    """The names of the signals to stop that have come; a second one of a kind has its usual effect."""
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def catch(number: int, _: Any) -> None:
        caught.append(signal.Signals(number).name)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed every generator and ask for deterministic algorithms; what torch was set to comes back afterwards."""
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # cuBLAS is deterministic only with a fixed workspace
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    cudnn = torch.backends.cudnn
    fill: Any = torch.utils.deterministic
    before = cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory
    algorithms, warn = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory = True, False, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory = before
        torch.use_deterministic_algorithms(algorithms, warn_only=warn)
