"""Talking to SLURM: what is asked for, what is in the queue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mamp.config import Config
from mamp.core.errors import UserError

LOCAL = "local-"  # how the ids of jobs on this machine begin; a process number follows
DEFAULT_LARGEST = 1001  # jobs of an array, where a site has not set MaxArraySize
ENDLESS = 10**6  # submitit's own limit of time-outs; the job looks for progress instead


def largest_array() -> int:
    """How many jobs one array may have: SLURM's MaxArraySize, or its default where it cannot be asked."""
    if shutil.which("scontrol") is None:
        return DEFAULT_LARGEST
    try:
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    except UserError:
        return DEFAULT_LARGEST
    return int(found[1]) if found else DEFAULT_LARGEST


def executor(config: Config, folder: Path, *, local: bool, name: str, tasks: int, after: str = "") -> Any:
    """Return submitit's executor with what `config.slurm` asks for. Logs go to `folder`.

    after: an array that must have ended first.
    """
    import submitit

    if not local and not all(shutil.which(program) for program in ("sbatch", "srun", "squeue")):
        raise UserError(
            "sbatch, srun and squeue are not on this machine; log in to the cluster, or pass --local"
        )
    slurm = config.slurm
    shared: dict[str, Any] = {
        "name": name, "timeout_min": slurm.minutes(), "nodes": slurm.nodes, "tasks_per_node": tasks,
        "gpus_per_node": slurm.gpus_per_node or None,
    }  # fmt: skip
    if local:
        if slurm.nodes > 1:
            raise UserError(f"slurm.nodes={slurm.nodes} cannot be had with --local; pass slurm.nodes=1")
        made = submitit.AutoExecutor(folder, cluster="local", local_max_num_timeout=ENDLESS)
        made.update_parameters(**shared, local_setup=list(slurm.setup))
        return made
    made = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=ENDLESS)
    made.update_parameters(**shared, **{f"slurm_{k}": v for k, v in options(config, after=after).items()})
    return made


def cpus(config: Config) -> int:
    """Return the processors of a task: slurm.cpus_per_task, or one, and one for each loader process."""
    return config.slurm.cpus_per_task or 1 + config.data.workers


def options(config: Config, *, after: str = "") -> dict[str, Any]:
    """What submitit's SLURM executor takes besides the size of the job."""
    slurm = config.slurm
    extra = {"requeue": True, **slurm.extra, **({"mem": slurm.mem} if slurm.mem else {})}
    asked = {
        "cpus_per_task": cpus(config),
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "dependency": f"afterany:{after}" if after else None,
        "signal_delay_s": slurm.signal_s,
        "array_parallelism": slurm.array_parallelism,
        "setup": list(slurm.setup) or None,
        "additional_parameters": extra,
        # a task that dies ends the job; SLURM 22.05 and later do not hand --cpus-per-task on to srun
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cpus(config)}"],
    }
    return {key: value for key, value in asked.items() if value is not None}


def send(executor: Any, jobs: Sequence[Any]) -> list[Any]:
    """submitit's jobs, one array; UserError with the scheduler's own words where it refuses."""
    import cloudpickle
    from submitit.core import utils

    from launch import job, journal

    for module in (job, journal):
        cloudpickle.register_pickle_by_value(module)  # a node needs no copy of launch
    try:
        return executor.submit_array(jobs)
    except (utils.FailedJobError, utils.FailedSubmissionError, OSError) as error:
        words = " ".join(str(error).split())[-300:]
        raise UserError(
            f"sbatch refused: {words}; correct slurm.* and submit again, or run it here with --local"
        ) from None


def script(executor: Any, jobs: int) -> str:
    """The sbatch file that would be sent for so many jobs.

    submitit shows it by names of its own alone: setup.cfg keeps its version, and tests/launch/test_cluster.py
    fails where they are gone.
    """
    inner = executor._executor
    if jobs > 1:
        inner.parameters["map_count"] = jobs
    return inner._make_submission_file_text(inner._submitit_command_str, "")


def queued(jobs: Sequence[str]) -> dict[str, tuple[str, str]]:
    """id -> (state, why or where) of those of `jobs` that wait or run; jobs of an array by their own ids.

    Raises UserError where the queue cannot be asked.
    """
    here = {job: ("RUNNING", "here") for job in jobs if job.startswith(LOCAL) and _lives(job)}
    wanted = [job for job in jobs if job[:1].isdigit()]
    if not wanted or shutil.which("squeue") is None:
        return here
    heads = ",".join(sorted({job.split("_")[0] for job in wanted}))
    answer = _ask("squeue", "-h", "-r", "-j", heads, "-o", "%i|%T|%R")
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") >= 2]
    return here | {row[0]: (row[1], row[2]) for row in rows if row[0] in wanted}


def ended(jobs: Sequence[str]) -> dict[str, str]:
    """id -> state of those of `jobs` that the accounts know; empty where a site keeps none."""
    wanted = [job for job in jobs if job[:1].isdigit()]
    if not wanted or shutil.which("sacct") is None:
        return {}
    heads = ",".join(sorted({job.split("_")[0] for job in wanted}))
    try:
        answer = _ask("sacct", "-n", "-X", "-P", "-j", heads, "-o", "JobID,State")
    except UserError:
        return {}
    rows = [line.split("|") for line in answer.splitlines() if "|" in line]
    return {row[0]: row[1].split()[0] for row in rows if row[0] in wanted}


def _lives(job: str) -> bool:
    try:
        os.kill(int(job.removeprefix(LOCAL)), 0)
    except (OSError, ValueError):
        return False
    return True


def _ask(*command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"{command[0]} does not answer ({error}); try again") from None
    if ran.returncode and "Invalid job id" not in ran.stderr:  # so it calls a job that is long over
        lines = ran.stderr.strip().splitlines() or [f"status {ran.returncode}"]
        raise UserError(f"{command[0]}: {lines[-1]}; try again")
    return ran.stdout
