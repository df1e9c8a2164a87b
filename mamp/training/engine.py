"""One training loop for every method; read `train` top to bottom. trainer.py has the step."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mamp import methods
from mamp.config import Config
from mamp.core.devices import out_of_memory, peak_memory_mb, slow_amp, whole_float32
from mamp.core.errors import UserError, plural
from mamp.core.progress import Progress, say, stay_silent
from mamp.core.provenance import describe_code
from mamp.datasets.sequences import Sequence
from mamp.loading.census import Census, survey
from mamp.loading.clips import ClipPlan
from mamp.loading.loader import ClipLoader
from mamp.methods.task import Batch, TrainingTask
from mamp.training import checkpoints, distributed, signals
from mamp.training.board import require_tensorboard
from mamp.training.distributed import Ranks
from mamp.training.expectation import compare_loss
from mamp.training.folder import RunFolder
from mamp.training.history import (
    changed_settings,
    describe_changes,
    moment,
    refuse_fewer_steps,
    start_of,
)
from mamp.training.provenance import begin_with, provenance
from mamp.training.randomness import reproducible, seed_everything
from mamp.training.resume import is_finished, refuse_other_config, refuse_other_videos
from mamp.training.signals import Signals
from mamp.training.tracking import SEQUENCES, Tracker
from mamp.training.trainer import Trainer
from mamp.training.validation import VALIDATED, Validator, best_figure, hold_aside, labelled_videos

CHOSEN_ON_VAL = (
    "validation.split=val: train.keep_best chooses the checkpoint on the set that is usually reported;"
    " docs/training.md says how to choose elsewhere"
)


def train(config: Config, run: Path, *, device: str = "auto", quiet: bool = False) -> Path:
    """Train `config.method` in the folder `run` and return the weights file.

    Goes on from the last whole checkpoint in `run`, bit for bit on the same hardware with as many ranks; a
    finished run stays as it is. With the variables of torchrun or SLURM in the environment it is one of the
    ranks of a run.
    device: auto, cpu, cuda or mps. quiet: nothing but warnings on standard error.
    SIGINT and SIGTERM, on any rank, save a checkpoint and raise KeyboardInterrupt; SIGUSR1 and SIGUSR2
    TryAgain.

    Raises UserError for settings, data or a run folder that do not fit, and when training breaks down.
    """
    knobs = config.train
    with (
        Signals() as stop,
        distributed.join(device, timeout=knobs.rank_timeout) as ranks,
        RunFolder(run, writes=ranks.first) as folder,
        reproducible(knobs.seed, deterministic=knobs.deterministic),
        whole_float32(ranks.device),
        out_of_memory(partial(_less_memory, config)),
    ):
        show = say if ranks.first and not quiet else stay_silent
        _refuse_at_once(config, ranks)
        _warn([line] if (line := slow_amp("train.amp", knobs.amp, ranks.device)) else [], ranks)
        saved = ranks.from_first(lambda: checkpoints.load_last(folder.checkpoints))
        if saved is not None:
            refuse_other_config(saved["config"], config, run)
            if is_finished(saved, config):
                _leave_finished(saved, config, run, show)
                return folder.write_weights(saved)
        labelled = labelled_videos(config)  # before all video is counted, which takes minutes
        if labelled and knobs.keep_best and config.validation.split == "val":
            show(CHOSEN_ON_VAL)
        task = methods.require(config.method.name, "task")(config)
        init = _begin(task, config, show) if saved is None else saved["provenance"].get("init")
        videos, aside, census, aside_census = _find_videos(config)
        plan = ClipPlan(census, config.data, frames=task.frames, batch=knobs.batch, seed=knobs.seed)
        steps = _count_steps(plan, config)
        _show_census(census, plan, config, show)
        if aside:
            names = ", ".join(video.name for video in aside)
            show(f"held aside for validation: {plural(len(aside), 'video')} ({names})")
        changed = {} if saved is None else changed_settings(saved["config"], config)
        if saved is not None:
            refuse_other_videos(saved["provenance"]["data"], census, run)
            refuse_fewer_steps(saved["step"], steps, config, run)
        code = ranks.from_first(lambda: describe_code(ranks.device))
        made_of = provenance(config, census, code, init)
        trainer = Trainer(task, config, ranks, steps=steps, provenance=made_of)
        if ranks.rank:  # all ranks have the same network up to here
            seed_everything(knobs.seed, ranks.rank)
        if saved is not None:
            trainer.load(saved)
            other = f", with {describe_changes(changed)}" if changed else ""
            show(f"going on after step {trainer.step} of {steps}{other}")
        validator = Validator(config, aside, labelled, census=aside_census, device=ranks.device)
        code |= {"precision": trainer.precision, "ranks": ranks.count, "step": trainer.step}
        code |= start_of(os.environ)
        folder.begin(config, code, step=trainer.step, changed=changed)
        share = ranks.rank, ranks.count
        loader = ClipLoader(videos, plan, config.data, pin=ranks.device.type == "cuda", share=share)
        with Tracker(folder, config, code, step=trainer.step, first=ranks.first, quiet=quiet) as tracker:
            if saved is not None and saved.get("owes_validation"):
                _make_up(trainer, plan, validator, tracker, show)
            _loop(trainer, loader, tracker, validator, stop, show)
        return folder.write_weights(trainer.state())


def _find_videos(config: Config) -> tuple[list[Sequence], list[Sequence], Census, Census]:
    """The videos to train on, those held aside for validation, and the census of each."""
    found, counted = survey(config.data, masks=methods.get(config.method.name).learns_from_masks)
    videos, aside = hold_aside(found, config.validation.share)
    return videos, aside, counted.of(videos, among=found), counted.of(aside, among=found)


def _leave_finished(saved: dict[str, Any], config: Config, run: Path, show: Callable[[str], None]) -> None:
    """Say that the run is finished, and what of `config` came too late; UserError for other videos."""
    changed = changed_settings(saved["config"], config)
    if {"data.root", "data.leave_out"} & changed.keys():
        _, _, census, _ = _find_videos(config)
        refuse_other_videos(saved["provenance"]["data"], census, run)
    show(f"run {run} is finished after {saved['step']} steps; a new run needs another --run")
    if changed:
        show(f"not used, since the run is finished: {describe_changes(changed)}")


def _loop(
    trainer: Trainer,
    loader: ClipLoader,
    tracker: Tracker,
    validator: Validator,
    stop: Signals,
    show: Callable[[str], None],
) -> None:
    """Steps until the last one, or until a signal on any rank; logs, measures and saves on the way."""
    knobs, ranks = trainer.config.train, trainer.ranks
    pictures_every = trainer.config.tracking.pictures_every or knobs.checkpoint_every
    since, waited, steps = time.perf_counter(), 0.0, 0
    stop.hold()
    with (
        contextlib.closing(loader.batches(trainer.step)) as batches,
        Progress(trainer.steps, unit="steps", done=trainer.step, quiet=show is stay_silent) as progress,
    ):
        progress.begin("training")
        while trainer.step < trainer.steps:
            asked = time.perf_counter()
            arrays = next(batches)
            waited += time.perf_counter() - asked
            trainer.learn(Batch(*arrays, first=ranks.rank * len(arrays[0]), total=knobs.batch))
            steps += 1
            step, last = trainer.step, trainer.step == trainer.steps
            signal = ranks.greatest(stop.came)  # all ranks stop at the same step
            logs = last or step == 1 or step % knobs.log_every == 0
            saves = last or step % knobs.checkpoint_every == 0 or step in knobs.keep_at
            due = validator.due(step, last=last, epoch=loader.plan.ended(step))
            measures = due and (last or not signal)  # else when the run goes on: a scheduler waits seconds
            if logs or saves or signal:
                _warn(trainer.settle(), ranks)
            if logs:
                seconds = time.perf_counter() - since
                speed = {"clips_per_s": steps * knobs.batch / seconds, "wait": waited / seconds}
                progress.note(_log(trainer, loader.plan, tracker, speed, show))
                since, waited, steps = time.perf_counter(), 0.0, 0
            progress.advance()
            paused = time.perf_counter()
            score = None
            if measures and ranks.first:
                score = _measure(trainer, loader.plan, validator, tracker, progress.print)
            if saves or signal or (measures and knobs.keep_best):
                _save(trainer, tracker, score=score, owes=due and not measures)
            if (last or step % pictures_every == 0) and ranks.first and not signal:
                _show(trainer, validator, tracker)
            since += time.perf_counter() - paused  # clips_per_s and wait are of the steps alone
            if signal and not last:
                _stop(signal, step, ranks)


def _log(
    trainer: Trainer,
    plan: ClipPlan,
    tracker: Tracker,
    speed: dict[str, float],
    show: Callable[[str], None],
) -> str:
    """Write a line of the log and compare its loss with the recipe's; a note for the progress bar."""
    means = trainer.summarise()
    state = {"skipped": trainer.skipped, "memory": peak_memory_mb(trainer.device)}
    tracker.log({**moment(plan, trainer.step), "lr": trainer.lr, **means, **speed, **state})
    _compare(trainer, means["loss"], show)
    return f"loss {means['loss'] or 0.0:.4f}, {speed['clips_per_s']:.1f} clips/s"


def _begin(task: TrainingTask, config: Config, show: Callable[[str], None]) -> dict[str, Any] | None:
    """Fill the network of a new run; return what is kept of train.init."""
    if line := task.begin():
        show(line)
    return begin_with(task.model, config)


def _make_up(
    trainer: Trainer,
    plan: ClipPlan,
    validator: Validator,
    tracker: Tracker,
    show: Callable[[str], None],
) -> None:
    """Measure what a signal left no time for, as if there had been no signal."""
    if validator.due(trainer.step, last=True):
        score = _measure(trainer, plan, validator, tracker, show) if trainer.ranks.first else None
        _save(trainer, tracker, score=score, owes=False)


def _save(trainer: Trainer, tracker: Tracker, *, score: float | None, owes: bool) -> None:
    """Save a checkpoint with every rank's random state. owes: validation is still to come for this step."""
    state = {**trainer.state(), "owes_validation": owes}
    tracker.folder.save(state, step=trainer.step, knobs=trainer.config.train, score=score)


def _measure(
    trainer: Trainer,
    plan: ClipPlan,
    validator: Validator,
    tracker: Tracker,
    show: Callable[[str], None],
) -> float | None:
    """Log and print what is measured beside the training; what checkpoints are compared by."""
    figures = validator.measure(trainer)
    by_sequence = {SEQUENCES: validator.by_sequence} if validator.by_sequence else {}
    tracker.log({**moment(plan, trainer.step), **figures, **by_sequence})
    shown = ", ".join(
        f"{VALIDATED.get(name, name)} {value:.3f}" for name, value in figures.items() if value is not None
    )
    show(f"validation after step {trainer.step}: {shown or 'no figure is finite'}")
    return best_figure(figures)


def _show(trainer: Trainer, validator: Validator, tracker: Tracker) -> None:
    """Pictures a person would look at."""
    tracker.picture("step", trainer.preview().permute(1, 2, 0).numpy(), step=trainer.step)
    if (carried := validator.carried(trainer)) is not None:
        tracker.picture("carried", carried, step=trainer.step)


def _compare(trainer: Trainer, loss: float | None, show: Callable[[str], None]) -> None:
    """The loss beside the one that the recipe expects; a warning is seen where all else is quiet, too."""
    for line in compare_loss(trainer.config.train, loss, step=trainer.step, steps=trainer.steps):
        warned = line.startswith("warning") and trainer.ranks.first
        (say if warned else show)(line)


def _less_memory(config: Config) -> str:
    """What takes less of the device's memory."""
    knobs = config.train
    return (
        f"raise train.accumulate={knobs.accumulate}, which takes a step's clips in more parts, or lower"
        f" train.batch={knobs.batch} or data.size={config.data.size}, or begin with train.amp=auto"
    )


def _warn(lines: list[str], ranks: Ranks) -> None:
    for line in lines if ranks.first else ():
        say(line)


def _stop(signal: int, step: int, ranks: Ranks) -> None:
    """End the run once rank 0 has saved `step`."""
    ranks.wait()
    if ranks.first:
        say(
            f"interrupted by {signals.name(signal)}: step {step} is saved, and the same command goes on from"
            " there"
        )
    signals.end(signal)


def _refuse_at_once(config: Config, ranks: Ranks) -> None:
    """UserError for what can be seen without looking at the video."""
    methods.require(config.method.name, "task")
    if not config.data.root:
        raise UserError(
            "there is no training video: data.root is empty; pass data.root=PATH, once for each place"
        )
    if config.tracking.tensorboard:
        require_tensorboard()
    ranks.share(config.train.batch, config.train.accumulate)


def _count_steps(plan: ClipPlan, config: Config) -> int:
    steps = config.train.steps or plan.steps_for(config.train.epochs)
    if steps < 1:
        raise UserError(
            f"train.epochs={config.train.epochs:g} makes no step of {config.train.batch} clips; raise it"
        )
    return steps


def _show_census(census: Census, plan: ClipPlan, config: Config, show: Callable[[str], None]) -> None:
    clips, frames = plan.clips_in(0), plan.frames
    for line in census.untaken:
        show(line)
    if census.left_out:
        count = plural(census.left_out, "video of data.root is", "videos of data.root are")
        show(f"{count} left out, as {config.data.leave_out} says")
    if census.unknown:
        count = plural(len(census.unknown), "name is", "names are")
        show(
            f"warning: {count} in {config.data.leave_out} but of no video of data.root ({census.unknown[0]}"
            " first)"
        )
    show(
        f"training video: {plural(len(census.counts), 'video')}, {census.frames} frames, list"
        f" {census.digest}; the first epoch has {clips} clips of {frames} frames, {clips // plan.batch} steps"
    )
    unknown = sum(rate is None for rate in census.rates)
    if unknown and config.data.interval_fps is not None and config.data.sampling in ("published", "random"):
        count = plural(unknown, "video does not say its rate", "videos do not say their rate")
        show(f"{count}: intervals are counted in stored frames; give the rate with data.root=PATH@FPS")
