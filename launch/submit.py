"""`python -m launch.submit train|evaluate|pack|score CONFIG ... key=value`: runs of `mamp` on SLURM.

One submission is one array of jobs: the points of a sweep, or jobs that share one evaluation. Runs go on
after preemption, time limits and lost nodes. Submitting one that is finished does nothing.
docs/cluster.md explains it from the start.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch import cluster, commands, journal, plan, snapshot
from mamp.core.errors import UserError, refused_by_system
from mamp.core.files import make_folder
from mamp.core.terminal import plain_output, printable

Sent = list[tuple[Any, plan.Run]]  # submitit's job, and what it is for


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.submit", description="Runs of mamp on a SLURM cluster."
    )
    kinds = parser.add_subparsers(dest="command", required=True, metavar="train|evaluate|pack|score")
    for command in commands.OPTIONS:
        kind = kinds.add_parser(command, help=f"jobs that run `mamp {' '.join(commands.WORDS[command])}`")
        kind.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file; its slurm: says how")
        commands.add_arguments(kind, command)
        kind.add_argument("overrides", nargs="*", metavar="key=value", help="settings; a,b,c makes a sweep")
        kind.add_argument(
            "--run", type=Path, help="folder of the run, or of the sweep (default runs/CONFIG-NAME)"
        )
        kind.add_argument(
            "--site", type=Path, help="a YAML file of the site's settings, below CONFIG (default $MAMP_SITE)"
        )
        kind.add_argument("--local", action="store_true", help="the same jobs on this machine, waited for")
        kind.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Submit; the exit status: 0 sent (with --local: done), 1 a local job failed, 2 a user's mistake."""
    parser = build_parser()
    args, surplus = parser.parse_known_args(words)  # settings after an option are left over
    if any("=" not in word or word.startswith("-") for word in surplus):
        parser.error(f"unrecognized arguments: {' '.join(surplus)}")
    args.overrides += surplus
    try:
        with plain_output():
            return submit(args)
    except UserError as error:
        print(f"launch: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        if (sentence := refused_by_system(error)) is None:
            raise
        print(f"launch: {printable(sentence)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("launch: interrupted", file=sys.stderr)
        return 130


def submit(args: argparse.Namespace) -> int:
    """Check everything, then send one array for all runs that are not finished."""
    runs, folder = plan.plan(args), plan.folder_of(args) / "launch"
    if args.dry_run:
        return _show(args, runs, folder)
    _allow_open_files(len(runs))
    with contextlib.ExitStack() as held:
        runs = [run for run in runs if plan.may_begin(run, held)]
        if not runs:
            return 0
        make_folder(folder)
        code, token = snapshot.keep(folder), uuid.uuid4().hex
        for run in runs:
            run.begin(token=token, code=code, logs=folder)
        sent = _send(args, runs, folder, code=code, token=token)
    return _wait(sent) if args.local else _print_sent(sent, folder)


def _allow_open_files(count: int) -> None:
    """Each run has an open lock while it is sent; systems allow 1,024 files unless more are asked for."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _send(args: argparse.Namespace, runs: list[plan.Run], folder: Path, *, code: Path, token: str) -> Sent:
    sent: Sent = []
    after = ""
    for part, last in _rounds(runs):
        jobs = [run.job(code=code, token=token, last=last) for run in part]
        executor = _executor(args, runs[0], folder, after=after)
        for made, run in zip(cluster.send(executor, jobs), part, strict=True):
            name = f"{cluster.LOCAL}{made.job_id}" if args.local else made.job_id
            journal.add(run.folder, "queued", token=token, jobs=[name])
            sent.append((made, run))
        after = sent[-1][0].job_id.split("_")[0]
    return sent


def _rounds(runs: list[plan.Run]) -> list[tuple[list[plan.Run], bool]]:
    """Arrays, each with the runs of its jobs and whether it is the last.

    One; for shared work one of helpers, and one behind it that takes up what is left and scores.
    """
    count = runs[0].config.slurm.array
    return [(runs * count, False), (runs, True)] if count > 1 else [(runs, True)]


def _executor(args: argparse.Namespace, run: plan.Run, folder: Path, *, after: str = "") -> Any:
    tasks = run.config.slurm.tasks() if args.command in commands.SEVERAL_TASKS else 1
    name = f"mamp-{folder.parent.name}"
    return cluster.executor(run.config, folder, local=args.local, name=name, tasks=tasks, after=after)


def _print_sent(sent: Sent, folder: Path) -> int:
    for made, run in sent:
        print(f"job {made.job_id}: {run.folder}")
    heads = dict.fromkeys(made.job_id.split("_")[0] for made, _ in sent)
    print(f"logs    {sent[0][0].paths.stderr}" + (f" and {len(sent) - 1} more" if len(sent) > 1 else ""))
    print(f"watch   python -m launch.status {shlex.quote(str(folder.parent))}")
    print(f"cancel  scancel {' '.join(heads)}")
    return 0


def _show(args: argparse.Namespace, runs: list[plan.Run], folder: Path) -> int:
    """--dry-run."""
    for run in runs:
        print(f"{run.folder}: mamp {shlex.join(run.arguments)}")
    after = ""
    for part, _ in [] if args.local else _rounds(runs):
        print(cluster.script(_executor(args, runs[0], folder, after=after), len(part)))
        after = "JOB"
    return 0


def _wait(sent: Sent) -> int:
    """--local: until the jobs are done."""
    for made, run in sent:
        print(f"{run.folder}: log {made.paths.stderr}", flush=True)
    try:
        failed = [run for made, run in sent if made.exception() is not None]
    except BaseException:
        for made, _ in sent:
            made.cancel()
        raise
    for run in failed:
        print(printable(f"launch: {run.folder}: {journal.reason(run.folder)}"), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
