"""Several processes that train one run together: who they are, how they talk, what becomes of a lost one."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mamp.core.devices import pick_device
from mamp.core.errors import UserError, first_line

Value = TypeVar("Value")
MEETING = 300.0  # seconds until all ranks must have come
PORTS = range(15_000, 30_000)  # below those that systems give away by themselves


@dataclass(frozen=True)
class Place:
    """Which of `count` processes this is, on all machines and on its own (`local`); the first's address."""

    rank: int = 0
    count: int = 1
    local: int = 0
    address: str = "127.0.0.1"
    port: int = 29_500


def find_place(environment: Mapping[str, str]) -> Place:
    """Return the place by torchrun's variables, or else SLURM's, or else that of a process alone.

    torchrun: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT. SLURM: SLURM_PROCID, SLURM_NTASKS,
    SLURM_LOCALID; the first host of SLURM_JOB_NODELIST and a port made of SLURM_JOB_ID, unless MASTER_ADDR
    and MASTER_PORT say others. Raises UserError for values that are no place.
    """
    if {"RANK", "WORLD_SIZE"} <= environment.keys():
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif {"SLURM_PROCID", "SLURM_NTASKS"} <= environment.keys():
        tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        names = ("SLURM_PROCID", tasks, "SLURM_LOCALID")
    else:
        return Place()
    rank, count, local = (_number(environment, name) for name in names)
    if not 0 <= rank < count:
        raise UserError(
            f"{names[0]}={rank} does not go with {names[1]}={count}; start the run with torchrun or srun, or"
            " unset both"
        )
    if count == 1:
        return Place()
    slurm = names[0].startswith("SLURM")
    address = environment.get("MASTER_ADDR")
    if not address:
        address = first_host(environment.get("SLURM_JOB_NODELIST", "")) if slurm else Place.address
    if "MASTER_PORT" in environment:
        port = _number(environment, "MASTER_PORT")
    else:
        port = PORTS[_number(environment, "SLURM_JOB_ID") % len(PORTS)] if slurm else Place.port
    return Place(rank, count, local, address, port)


def first_host(nodes: str) -> str:
    """node[03-05,9],other -> node03; this machine where nothing is given."""
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", nodes).split(",")[0] or Place.address


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "0")
    if not text.isdigit():
        raise UserError(f"{name}={text} is not a whole number; start the run with torchrun or srun")
    return int(text)


class Ranks:
    """This process among those that train one run. State: none of its own; the process group is torch's.

    device: what it computes on. Every method but `share` is called by all ranks at the same point.
    """

    def __init__(self, place: Place, device: torch.device):
        self.rank, self.count, self.device = place.rank, place.count, device

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone writes, prints and tracks."""
        return self.rank == 0

    def share(self, batch: int, parts: int) -> int:
        """How many of the `batch` clips of a step are this rank's; UserError when they do not divide."""
        if batch % (self.count * parts):
            raise UserError(
                f"train.batch={batch} does not divide into {self.count} ranks with train.accumulate={parts}"
                f" each; give a multiple of {self.count * parts}"
            )
        return batch // self.count

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What `make` gives on rank 0."""
        if self.count == 1:
            return make()
        box: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        """The values of all ranks."""
        if self.count == 1:
            return [value]
        box: list[Any] = [None] * self.count
        dist.all_gather_object(box, value)
        return box

    def greatest(self, number: int) -> int:
        """The greatest of the ranks' numbers."""
        if self.count == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over ranks of a tensor on the CPU."""
        if self.count > 1:
            dist.all_reduce(values)
            values /= self.count
        return values

    def wait(self) -> None:
        """Until all ranks have come here."""
        self.greatest(0)

    def wrap(self, task: nn.Module, *, sync_batch_norm: bool) -> nn.Module:
        """`task` on its device, which gives every rank the mean gradient of all and the buffers of rank 0."""
        if self.count == 1:
            return task
        if sync_batch_norm:
            if self.device.type != "cuda":
                raise UserError("train.sync_batch_norm=true needs CUDA GPUs; set it to false")
            nn.SyncBatchNorm.convert_sync_batchnorm(task)  # its batch norms are replaced where they stand
        ids = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(task, device_ids=ids, gradient_as_bucket_view=True)


@contextlib.contextmanager
def join(device: str, *, timeout: float) -> Iterator[Ranks]:
    """Meet the other ranks that the environment speaks of: over NCCL between GPUs, over gloo between CPUs.

    device: auto, cpu, cuda or mps; each rank takes the GPU of its local number. timeout: seconds to wait for
    one another. Raises UserError when the ranks do not meet, or lose one another.
    """
    place = find_place(os.environ)
    where = _pick(device, place)
    alone = place.count == 1
    current = torch.cuda.device(where) if where.type == "cuda" else contextlib.nullcontext()
    with current, contextlib.nullcontext() if alone else _group(place, where, timeout):
        yield Ranks(place, where)


def _pick(name: str, place: Place) -> torch.device:
    """The device of this rank; a GPU has its number."""
    device = pick_device(name)
    if place.count > 1 and (device.type == "mps" or device.index is not None):
        raise UserError(f"device {name} cannot be shared by {place.count} ranks; use --device cuda or cpu")
    if device.type != "cuda" or device.index is not None:
        return device
    there = torch.cuda.device_count()
    if place.local >= there > 1:
        raise UserError(f"rank {place.rank} has no GPU: {there} are seen here; start one rank for each")
    return torch.device(
        "cuda", place.local % there
    )  # where each task sees its own GPU alone, all are number 0


@contextlib.contextmanager
def _group(place: Place, device: torch.device, timeout: float) -> Iterator[None]:
    """torch's process group. CPU tensors go over gloo on GPUs too, so that a lost rank is known at once."""
    # Its functions' defaults are the group of the moment it is imported, and DistributedDataParallel imports
    # it: the group would outlive its end, and threads of gloo that are there while Python ends may abort the
    # process.
    importlib.import_module("torch.distributed.nn")

    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store, _, _ = next(
            dist.rendezvous(
                f"tcp://{place.address}:{place.port}",
                place.rank,
                place.count,
                timeout=timedelta(seconds=min(timeout, MEETING)),
            )
        )
        dist.init_process_group(
            backend,
            store=store,
            rank=place.rank,
            world_size=place.count,
            timeout=timedelta(seconds=timeout),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"rank {place.rank} did not meet the other {place.count - 1} at {place.address}:{place.port}"
            f" ({first_line(error)}); start all of them, with torchrun or srun, and name a free port with"
            " MASTER_PORT"
        ) from None
    try:
        yield
    except RuntimeError as error:
        if not _is_of_ranks(error):
            raise
        raise UserError(
            f"rank {place.rank} lost the others ({first_line(error)}); what the lost one printed says why, "
            "and the same command goes on from the last checkpoint"
        ) from None
    else:
        dist.destroy_process_group()  # after an error NCCL might wait here for the lost one


def _is_of_ranks(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)
