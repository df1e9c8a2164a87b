"""Every random number of a run: where it begins, how it is saved, and what a step draws."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def step_generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator of one step: the same in every process, whatever steps it did before."""
    value = int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
    return torch.Generator().manual_seed(value)


def seed_everything(seed: int, rank: int = 0) -> None:
    """Begin the global generators; ranks other than the first have streams of their own."""
    value = int(np.random.SeedSequence((seed, rank)).generate_state(1)[0]) if rank else seed
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


@contextlib.contextmanager
def reproducible(seed: int, *, deterministic: bool = True) -> Iterator[None]:
    """Seed every generator and choose torch's algorithms; what torch was set to comes back afterwards.

    deterministic: those that give the same numbers every time, with a warning where there is none; else the
    fastest ones, which cuDNN finds out by trying.
    """
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # cuBLAS is deterministic only with a fixed workspace
    seed_everything(seed)
    cudnn = torch.backends.cudnn
    fill: Any = torch.utils.deterministic
    before = cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory
    algorithms, warn = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    cudnn.deterministic, cudnn.benchmark = deterministic, not deterministic
    fill.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, fill.fill_uninitialized_memory = before
        torch.use_deterministic_algorithms(algorithms, warn_only=warn)


def random_state() -> dict[str, Any]:
    """Return the state of every random generator of this process and its GPU, tensors and plain values."""
    numpy: Any = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {"key": numpy["state"]["key"].tolist(), "pos": numpy["state"]["pos"]}},
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Undo `random_state`; a GPU that was not used before keeps its generator."""
    random.setstate(state["python"])
    numpy = state["numpy"]
    keys = np.asarray(numpy["state"]["key"], dtype=np.uint32)
    np.random.set_state({**numpy, "state": {"key": keys, "pos": numpy["state"]["pos"]}})
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state(state["cuda"][0])
