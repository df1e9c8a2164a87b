"""Tensors from files that others made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mamp.errors import UserError


def read_pickle(path: Path) -> Any:
    """What `torch.save` wrote, tensors on the CPU and nothing but tensors and plain values; UserError for anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of a checkpoint") from None
    except Exception:  # of any kind, as bytes that are no pickle drive the reader anywhere
        raise UserError(
            f"{path} is not a readable checkpoint: damaged, of another format, or with code inside; give a checkpoint of tensors"
        ) from None
