"""What tests read of a run folder, and how they compare two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from mamp.training.checkpoints import listed

HERE = Path(__file__).parent


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


def start(script: str, *arguments: object, port: int = 0, ranks: int = 1, **environment: str):
    """`ranks` processes of a script of this folder, each told its place as torchrun does."""
    paths = os.pathsep.join((str(HERE.parent.parent), str(HERE)))
    place = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, HERE / script, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": paths, **place, "RANK": str(rank), "LOCAL_RANK": str(rank), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]  # fmt: skip


def finish(processes, *, within: float = 120) -> list[tuple[int, str]]:
    """(exit status, standard error) of each; all are killed when one takes longer."""
    try:
        return [(p.communicate(timeout=within)[1], p.returncode)[::-1] for p in processes]
    finally:
        for process in processes:
            process.kill()
