"""Settings of jobs on a SLURM cluster, for `python -m launch.submit`. No result depends on them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mamp.core.section import MANY, Section

MINUTES = {"m": 1, "h": 60, "d": 24 * 60}
Word = Annotated[
    str, Field(pattern=r"^[^\r\n\x85\u2028\u2029]*$", max_length=1000)
]  # of one line of a script
Option = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=100)]


class SlurmConfig(Section):
    """What a job asks of the cluster, and when it gives up."""

    partition: Word | None = Field(None, description="where jobs run; null: the site's default")
    account: Word | None = Field(None, description="who is charged; null: the user's default")
    qos: Word | None = Field(None, description="quality of service; null: the site's default")
    constraint: Word | None = Field(None, description="features that nodes must have, for example a100")
    nodes: int = Field(1, ge=1, le=1024, description="nodes of a job")
    gpus_per_node: int = Field(0, ge=0, le=64, description="GPUs on each node; 0: the job runs on processors")
    tasks_per_node: int | None = Field(
        None, ge=1, le=256, description="processes on each node; null: one for each GPU, or one"
    )
    cpus_per_task: int | None = Field(
        None, ge=1, le=1024, description="processors for each process; null: one more than data.workers"
    )
    mem: str | None = Field(
        None,
        pattern=r"^\d{1,15}[KMGT]?$",
        description="memory on each node, for example 32G; null: the site's default",
    )
    time: str = Field(
        "1h",
        pattern=r"^[1-9]\d{0,5}[mhd]$",
        description=(
            "limit of one start, in minutes, hours or days: 90m, 4h, 2d; a run that needs more goes on in the"
            " next"
        ),
    )
    signal_s: int = Field(
        120,
        ge=1,
        le=3600,
        description="seconds before the limit at which the job is asked to save and is queued again",
    )
    array: int = Field(1, ge=1, le=1000, description="evaluate: how many jobs share the sequences of one run")
    array_parallelism: int = Field(
        256, ge=1, le=MANY, description="how many jobs of a sweep or of shared work run at a time"
    )
    setup: tuple[Word, ...] = Field(
        (), description="lines of shell before the run, for example [module load cuda]"
    )
    extra: dict[Option, Word | int | bool] = Field(
        {}, description="further options of sbatch, for example {reservation: cvpr, exclude: node7}"
    )
    stalls: int = Field(
        2, ge=1, le=100, description="starts in a row without progress after which a job stops"
    )

    def minutes(self) -> int:
        """`time` in minutes."""
        return int(self.time[:-1]) * MINUTES[self.time[-1]]

    def tasks(self) -> int:
        """Processes on each node."""
        return self.tasks_per_node or max(1, self.gpus_per_node)
