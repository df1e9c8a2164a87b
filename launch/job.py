"""What runs on the cluster, once in each task: a `mamp` command, queued again when it was cut short.

It is sent by value (with journal.py), so it stands on the standard library and submitit alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import submitit

from launch import journal

# the code kept with the run comes before the working directory's
START = (
    "import runpy, sys; sys.path[0] = sys.argv.pop(1); runpy.run_module('mamp', run_name='__main__',"
    " alter_sys=True)"
)
POLL_S = 0.1


class Job:
    """A run of `mamp ARGUMENTS` in the folder `run`, with the code in `code`.

    State: the signals that came, and in a task its rank and log. What is done is on disk, and the same
    command goes on from there. So a start needs nothing from the one before. A node's failure or `scontrol
    requeue`, which call nothing here, do no harm.

    token: of the submission; when the run has a newer one, this job leaves it alone.
    stalls: after this number of starts in a row without progress, it gives up. patience_s: how long a
    signalled process may save.
    each_gpu: tasks work apart, each on one GPU of its node. last: the run is finished when this job is.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        run: Path,
        *,
        code: Path,
        token: str,
        stalls: int,
        patience_s: float,
        each_gpu: bool,
        last: bool = True,
    ):
        self.arguments = list(arguments)
        self.run, self.code, self.token = run, code, token
        self.stalls, self.patience_s, self.each_gpu, self.last = stalls, patience_s, each_gpu, last
        self.caught: list[int] = []

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit queues again: the same."""
        self.caught = []
        return submitit.helpers.DelayedSubmission(self)

    def __call__(self) -> None:
        """Run the command; returns when it is done, raises RuntimeError with the reason when it failed."""
        place = submitit.JobEnvironment()
        self.rank, self.name = place.global_rank, place.job_id
        self._clean(place)
        self.log = place.paths.stderr
        self.log_begins = self.log.stat().st_size if self.log.exists() else 0
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's own; it acts once the process has saved
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, self._catch)
        if self.rank == 0:
            self._begin(place)
        child = subprocess.Popen(
            [sys.executable, "-c", START, str(self.code), *self.arguments], env=self._environment(place)
        )
        status = self._wait(child, forward=place.cluster == "local")
        if status == 0:
            if self.rank == 0:
                self._record("finished" if self.last else "part")
        elif self.caught:
            self._leave(status, requeue)
        else:
            self._fail(status)

    def _begin(self, place: Any) -> None:
        """See that this job may write the run, and that starting it again has brought something."""
        events = journal.read(self.run)
        owner = journal.submission(events)
        if owner is not None and owner["token"] != self.token:
            raise RuntimeError(
                f"{self.run} was submitted anew as job {', '.join(owner['jobs'])}; this job leaves it alone"
            )
        now = done(self.arguments[0], self.run)
        if journal.stalled(events, self.name, progress=now) >= self.stalls:
            reason = (
                f"no progress in {self.stalls} starts in a row ({now} done before and after); look into the"
                " log, remove the cause or raise slurm.time, train.checkpoint_every or slurm.stalls, and"
                " submit again"
            )
            self._record("failed", reason=reason)
            raise RuntimeError(reason)
        self._record("started", progress=now, node=_node(), pid=os.getpid())

    def _environment(self, place: Any) -> dict[str, str]:
        environment = dict(os.environ)
        gpus = environment.get("CUDA_VISIBLE_DEVICES", "")
        if self.each_gpu and gpus:
            own = gpus.split(",")
            environment["CUDA_VISIBLE_DEVICES"] = own[place.local_rank % len(own)]
        if place.cluster == "local" and place.num_tasks > 1:  # SLURM sets these for its tasks
            port = 15_000 + int(self.name) % 15_000
            ranks = {"RANK": place.global_rank, "LOCAL_RANK": place.local_rank, "WORLD_SIZE": place.num_tasks}
            ranks |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment |= {name: str(value) for name, value in ranks.items()}
        return environment

    def _catch(self, number: int, _: FrameType | None) -> None:
        self.caught.append(number)

    def _wait(self, child: subprocess.Popen[bytes], *, forward: bool) -> int:
        """The exit status of `child`. SLURM signals every process of a task; elsewhere pass signals on."""
        passed, until = 0, float("inf")
        while (status := child.poll()) is None:
            if len(self.caught) > passed:
                if forward and not passed:
                    child.send_signal(self.caught[0])
                passed, until = len(self.caught), min(until, time.monotonic() + self.patience_s)
            if time.monotonic() > until:
                child.kill()
            time.sleep(POLL_S)
        return status

    def _leave(self, status: int, requeue: Any) -> None:
        """A signal cut the process short: queue the job again, or wait for the announced end."""
        until = time.monotonic() + self.patience_s
        # SIGTERM alone comes before KILL: who sent it queues the job again, or ends it
        while signal.SIGUSR2 not in self.caught and time.monotonic() < until:
            time.sleep(POLL_S)
        if self.rank != 0:
            return  # the first task speaks for all
        if signal.SIGUSR2 not in self.caught:
            self._record("stopped", reason="ended by SIGTERM; the same submission goes on from what is done")
            raise RuntimeError("ended by SIGTERM")
        self._record("requeued", status=status, progress=done(self.arguments[0], self.run))
        try:
            requeue(signal.SIGUSR2, None)
        except subprocess.SubprocessError as error:
            self._fail(status, f"the job could not be queued again ({error}); submit again to go on")

    def _fail(self, status: int, reason: str = "") -> None:
        if not reason:
            reason = self._last_words() or f"ended with status {status}"
            if status < 0:
                reason = f"killed by {signal.Signals(-status).name}"
                reason += " (out of memory, or by hand)" if status == -signal.SIGKILL else ""
        where = f"task {self.rank} on {_node()}"
        self._record("failed", status=status, reason=f"{where}: {reason}")
        raise RuntimeError(f"mamp {self.arguments[0]}, {where}: {reason}")

    def _last_words(self) -> str:
        """The sentence with which `mamp` ended, or the last line of a traceback."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(max(self.log_begins, self.log.stat().st_size - 65536))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
            own = [line.removeprefix("mamp: ") for line in lines if line.startswith("mamp: ")]
            return next(reversed(own or [line for line in lines if line]), "")
        return ""

    def _record(self, event: str, **values: Any) -> None:
        journal.add(self.run, event, token=self.token, job=self.name, rank=self.rank, **values)

    def _clean(self, place: Any) -> None:
        """What a kill left half written would make submitit fail at the end."""
        for path in (place.paths.submitted_pickle, place.paths.result_pickle):
            with contextlib.suppress(OSError):
                path.with_suffix(f"{path.suffix}.save_tmp").unlink()


def _node() -> str:
    """This machine as SLURM calls it."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def done(command: str, run: Path) -> int:
    """Return how far a run is: the step of its newest checkpoint, or how many files are finished."""
    if command == "train":
        names = [path.stem.removeprefix("step-") for path in (run / "checkpoints").glob("step-*.pt")]
        return max((int(name) for name in names if name.isdigit()), default=0)
    if command == "evaluate":
        return len(list((run / "sequences").glob("*.json")))
    return sum(path.is_file() for path in (run / "packed").rglob("*.mp4"))
