"""Tensors from files that others made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamp.core.errors import UserError, first_line
from mamp.core.terminal import clipped, short
from mamp.core.texts import refuse_special

STATE_NAMES = ("state_dict", "model_dict", "model")  # what published checkpoints call it


def read_pickle(path: Path) -> Any:
    """Read what `torch.save` wrote: tensors, on the CPU, and plain values.

    Raises UserError for anything else.
    """
    try:
        refuse_special(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of a checkpoint") from None
    except PermissionError as error:
        raise UserError(f"{path} cannot be opened ({first_line(error)}); make it readable") from None
    except Exception:  # of any kind, as bytes that are no pickle drive the reader anywhere
        raise UserError(
            f"{path} is not a readable checkpoint: damaged, of another format, or with code inside; give a"
            " checkpoint of tensors"
        ) from None


def read_tensors(path: Path) -> Any:
    """Read the tensors of a .safetensors file by name, or any other file as `read_pickle` does.

    Raises UserError as `read_pickle` does.
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
    """Return the state dict of a checkpoint, which holds it under a name or is it; None where it has none.

    Names are without the `module.` of a network that was trained on several devices.
    """
    if isinstance(loaded, dict):
        loaded = next((loaded[name] for name in STATE_NAMES if name in loaded), loaded)
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        return None
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def plain_state(state: Any, path: Path) -> dict[str, Tensor]:
    """Return `state` if it is a state dict of plain tensors; UserError naming the entry that is none.

    Plain tensors are dense, in memory, and have as many values as they claim.
    """
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no tensors by name; give a checkpoint of a network")
    for name, value in state.items():
        if not isinstance(name, str):
            raise UserError(f"{path} has an entry called {short(name)}, which is no name; save it anew")
        if (odd := _oddity(value)) is not None:
            raise UserError(f"{path}: {clipped(name)} is {odd}, and no plain tensor; save it anew")
    return state


def _oddity(value: Any) -> str | None:
    """What a value of a state dict is, where it is no plain tensor."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.device.type == "meta":
        return "a tensor without values (device meta)"
    if value.is_nested or value.layout != torch.strided:
        return "a sparse or nested tensor"
    if value.is_quantized or value.is_complex():
        return f"a tensor of {str(value.dtype).removeprefix('torch.')}"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"a view of {value.numel():,} values on fewer"
    return None


def not_numbers(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Name -> how many of its values are NaN or infinite, of the tensors that have such values."""
    counts = {
        name: int((~value.float().isfinite()).sum())
        for name, value in state.items()
        if value.is_floating_point()
    }
    return {name: count for name, count in counts.items() if count}
