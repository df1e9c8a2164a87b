"""Tensors from files that others made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamp.core.errors import UserError

STATE_NAMES = ("state_dict", "model_dict", "model")  # what published checkpoints call it


def read_pickle(path: Path) -> Any:
    """What `torch.save` wrote, tensors on the CPU and nothing but tensors and plain values; UserError for
    anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of a checkpoint") from None
    except Exception:  # of any kind, as bytes that are no pickle drive the reader anywhere
        raise UserError(
            f"{path} is not a readable checkpoint: damaged, of another format, or with code inside; give a"
            " checkpoint of tensors"
        ) from None


def read_tensors(path: Path) -> Any:
    """The tensors of a .safetensors file by name, or what `read_pickle` reads in any other; UserError as
    there.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return read_pickle(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); copy it again") from None


def state_dict_in(loaded: Any) -> dict[str, Tensor] | None:
    """The state dict of a checkpoint, which keeps it under a name of its own or is it; None where it has
    none.

    Names are without the `module.` of a network that was trained on several devices.
    """
    if isinstance(loaded, dict):
        loaded = next((loaded[name] for name in STATE_NAMES if name in loaded), loaded)
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        return None
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}
