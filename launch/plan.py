"""What a submission would do, checked before anything is sent: the runs, their configs, their folders."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch import cluster, commands, journal, sweep
from launch.job import Job
from mamp import config as configs
from mamp.config import Config
from mamp.core.errors import UserError
from mamp.core.files import Locks, make_folder, write_text
from mamp.core.layers import merge, read_overrides, read_yaml
from mamp.core.terminal import printable


@dataclass(frozen=True)
class Run:
    """One run: train, evaluate, pack or score; its folder, its whole config, and the arguments of `mamp`."""

    command: str
    folder: Path
    config: Config
    arguments: list[str]

    def begin(self, *, token: str, code: Path, logs: Path) -> None:
        """Make the run this submission's. It keeps the config, so that later edits change nothing."""
        if self.command == "train":
            write_text(commands.recipe(self.folder), configs.dump(self.config))
        submitted = {
            "arguments": self.arguments,
            "length": _length(self.config),
            "code": str(code),
            "logs": str(logs),
        }
        journal.add(self.folder, "submitted", token=token, **submitted)

    def job(self, *, code: Path, token: str, last: bool) -> Job:
        """What runs in each task. last: the run is finished when this job is."""
        slurm = self.config.slurm
        patience, apart = 0.75 * slurm.signal_s, self.command in commands.SHARED
        return Job(
            self.arguments, self.folder, code=code, token=token, stalls=slurm.stalls, patience_s=patience,
            each_gpu=apart, last=last,
        )  # fmt: skip


def plan(args: argparse.Namespace) -> list[Run]:
    """Return the runs of a command line, one for each point of a sweep.

    Raises UserError for whatever is wrong with any of them.
    """
    site = args.site or os.environ.get("MAMP_SITE")
    base = folder_of(args)
    _refuse_large(args)
    runs = []
    for name, settings in sweep.points(args.overrides).items():
        config, given = _load(args, site, settings)
        _refuse(args, config)
        if name and config.tracking.group is None:  # the points of a sweep are shown together
            config = config.model_copy(
                update={"tracking": config.tracking.model_copy(update={"group": base.name})}
            )
        runs.append(
            Run(
                args.command,
                base / name,
                config,
                commands.arguments(args, base / name, given=given, cpus=cluster.cpus(config)),
            )
        )
    return runs


def folder_of(args: argparse.Namespace) -> Path:
    """The folder of the run or of the sweep, from the root: jobs may start elsewhere."""
    folder = Path(args.run or Path("runs") / args.config.stem).absolute()
    if printable(str(folder)) != str(folder) or "\n" in str(folder) or "%" in str(folder):
        raise UserError(
            f"--run {str(folder)!r} has control characters or %, which SLURM takes for its own; give"
            " another name"
        )
    return folder


def may_begin(run: Run, held: contextlib.ExitStack) -> bool:
    """Return False where the run is finished. `held` keeps other submissions off meanwhile.

    Raises UserError where another submission is at work on it.
    """
    make_folder(run.folder)
    if not held.enter_context(Locks(run.folder / ".launch.lock")).take(0):
        raise UserError(f"{run.folder} is being submitted by another process; wait for it")
    events = journal.read(run.folder)
    before = journal.submission(events)
    if before is None:
        return True
    alive = cluster.queued(before["jobs"])
    if alive:
        job, (state, _) = next(iter(alive.items()))
        raise UserError(
            f"{run.folder} belongs to job {job} ({state.lower()}); wait for it, `scancel {job}`, or give"
            " another --run"
        )
    over = any(event["event"] == "finished" for event in journal.of(events, before["token"]))
    same = [before["arguments"], before["length"]] == [run.arguments, _length(run.config)]
    if over and same and commands.product(run.command, run.folder).exists():
        print(f"{run.folder} is finished; nothing is submitted for it (give another --run for a new one)")
        return False
    return True


def _length(config: Config) -> list[Any]:
    """What may ask a finished run for more."""
    return [config.train.steps, config.train.epochs]


def _load(args: argparse.Namespace, site: Any, settings: list[str]) -> tuple[Config, dict[str, Any]]:
    """The config of one run, checked, and the settings as they were given."""
    below: dict[str, Any] = {}
    if site:
        configs.load(site)  # a message then names the site's own lines
        below = read_yaml(Path(site), {}) or {}
    config = configs.load(args.config, settings, dataset=vars(args).get("dataset", ""), base=below)
    given = below
    merge(given, read_yaml(args.config, {}) or {})
    merge(given, read_overrides(settings, {}))
    return config, given


def _refuse_large(args: argparse.Namespace) -> None:
    """UserError for a sweep of more points than one array may have; before a config is read for each."""
    count = sweep.count(args.overrides)
    most = cluster.DEFAULT_LARGEST if args.local else cluster.largest_array()
    if count > most:
        where = "--local" if args.local else "an array of this cluster (MaxArraySize)"
        raise UserError(
            f"this sweep has {count:,} points, and {where} takes {most:,} at most; sweep fewer values at a"
            " time, with the same --run"
        )


def _refuse(args: argparse.Namespace, config: Config) -> None:
    if args.command == "train" and not config.data.root:
        raise UserError("there is no training video: data.root is empty; pass data.root=PATH")
    slurm = config.slurm
    if slurm.array > 1 and (args.command not in commands.SHARED or args.local):
        what = "--local" if args.local else args.command
        raise UserError(f"slurm.array={slurm.array} does not go with {what}; pass slurm.array=1")
    if slurm.nodes > 1 and args.command not in commands.SEVERAL_TASKS:
        raise UserError(
            f"{args.command} works on one node, not on slurm.nodes={slurm.nodes}; pass slurm.nodes=1"
        )
