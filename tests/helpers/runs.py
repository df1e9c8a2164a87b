"""What tests read of a run folder, and how they compare two."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from mamp.training.checkpoints import listed

IMPORTED = [
    *("mamp.training.engine", "mamp.cli", "kornia.geometry.transform"),
    *("torch._dynamo", "torch._inductor.config"),  # which torch imports when it is to be deterministic
]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights.safetensors")


def last_state(run: Path) -> dict:
    return torch.load(listed(run / "checkpoints")[-1], weights_only=True)


def log(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def curve(run: Path) -> list[tuple]:
    return [tuple(line[name] for name in ("step", "loss", "lr", "grad_norm", "noise")) for line in log(run)]


def equal(one, other) -> bool:
    """The same tensors and values, bit for bit, however deep."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def same_end(one: Path, other: Path) -> bool:
    names = ("model", "task", "ema", "optimizer", "scaler", "step", "rng", "rng_of_other_ranks", "method")
    return all(equal(last_state(one)[name], last_state(other)[name]) for name in names)


def start(script: str, folder: Path, *arguments: object, port: int = 0, ranks: int = 1, **environment: str):
    """`ranks` processes of `main` of a module of tests/training, each told its place as torchrun does.

    What they print goes to files in `folder`. They are forked from a process that has imported torch, which
    saves seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    place = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = []
    for rank in range(ranks):
        told = {**place, "RANK": str(rank), "LOCAL_RANK": str(rank), **environment}
        told["OUTPUT"] = str(folder / f"rank{rank}-{time.monotonic_ns()}.txt")
        process = context.Process(target=_rank, args=(script, [*map(str, arguments)], told))
        process.output = Path(told["OUTPUT"])
        process.start()
        processes.append(process)
    return processes


def _rank(script: str, arguments: list[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    output = os.open(environment["OUTPUT"], os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1), os.dup2(output, 2)
    sys.exit(importlib.import_module(script).main(*arguments))


def finish(processes, *, within: float = 240) -> list[tuple[int, str]]:
    """(exit status, what was printed) of each; all are killed when one takes longer."""
    end = time.monotonic() + within
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
        process.join()
    return [(process.exitcode, process.output.read_text()) for process in processes]
