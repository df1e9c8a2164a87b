"""Number formats: which one mixed precision uses on a device."""

from __future__ import annotations

import torch

from mamp.errors import UserError


def amp_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The format to autocast to, or None for float32 throughout.

    amp: off, bf16, fp16, or auto: bf16 where the device multiplies it faster than float32 (CUDA from compute capability
    8.0, processors with AMX), else off. Raises UserError for fp16 without CUDA.
    """
    if amp == "off":
        return None
    if amp == "fp16" and device.type != "cuda":
        raise UserError(f"amp=fp16 needs a CUDA GPU, and this is {device.type}; use amp=bf16, auto or off")
    if amp != "auto":
        return torch.float16 if amp == "fp16" else torch.bfloat16
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else False
    if device.type == "cpu":
        fast = torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else None
