"""Checkpoints: one file each, written whole, read without running code, the last few kept."""

from __future__ import annotations

import os
import pickle
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamp.errors import UserError
from mamp.files import make_folder, whole


def save(folder: Path, state: dict[str, Any], *, step: int, keep: int) -> Path:
    """Write `state` (tensors and plain values) as step-NNNNNNNN.pt beside its place, rename it, and drop old ones."""
    make_folder(folder)
    path = folder / f"step-{step:08d}.pt"
    try:
        with whole(path) as part, part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # so torch tells of a full disk
        reason = str(error).splitlines()[0]
        raise UserError(
            f"checkpoint {path} cannot be written ({reason}); make room and start the run again"
        ) from None
    for old in listed(folder)[:-keep]:
        old.unlink()
    return path


def listed(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_last(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that is whole, or None when there is none at all.

    A damaged one is renamed to *.damaged with a warning. Raises UserError when all are damaged.
    """
    paths = listed(folder)
    for path in reversed(paths):
        try:
            return _load(path)
        except (
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
            EOFError,
            pickle.UnpicklingError,
            zipfile.BadZipFile,
        ):
            os.replace(path, path.with_suffix(".pt.damaged"))
            print(f"warning: checkpoint {path} is damaged; going on from the one before it", file=sys.stderr)
    if paths:
        raise UserError(
            f"none of the {len(paths)} checkpoints in {folder} can be read; delete the folder to start the run anew"
        )
    return None


def _load(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if archive.testzip() is not None:  # torch itself does not look at the checksums
            raise ValueError("checksum")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not {"model", "optimizer", "step", "rng", "config"} <= state.keys():
        raise ValueError("keys")
    return state


def random_state() -> dict[str, Any]:
    """Every global random generator, as tensors and plain values."""
    numpy: Any = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {"key": numpy["state"]["key"].tolist(), "pos": numpy["state"]["pos"]}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Undo `random_state`; a GPU that was not there before keeps its generator."""
    random.setstate(state["python"])
    numpy = state["numpy"]
    keys = np.asarray(numpy["state"]["key"], dtype=np.uint32)
    np.random.set_state({**numpy, "state": {"key": keys, "pos": numpy["state"]["pos"]}})
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
