"""Devices: which one a name stands for, its number format and libraries, and the memory that was used."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from mamp.core.errors import UserError
from mamp.core.files import MB

MOST_ON_CUDA = 1024 * MB  # of working memory, where nothing is asked for


def pick_device(name: str) -> torch.device:
    """`auto` (cuda, else mps, else cpu) or a device by name; UserError when it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in there.items() if present))
    kind, _, number = name.partition(":")
    if kind not in there or (number and not number.isdigit()):
        raise UserError(f"device {name} is not known; use auto, cpu, cuda, cuda:N or mps")
    if not there[kind] or (kind == "cuda" and number and int(number) >= torch.cuda.device_count()):
        raise UserError(f"device {name} is not on this machine; use auto or cpu")
    return torch.device(name)


def amp_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The format to autocast to, or None for float32 throughout.

    amp: off, bf16, fp16, or auto: bf16 where the device multiplies it faster than float32 (CUDA from compute
    capability
    8.0, processors with AMX or AVX512_BF16), else off. Raises UserError for fp16 without CUDA.
    """
    if amp == "off":
        return None
    if amp == "fp16" and device.type != "cuda":
        raise UserError(f"amp=fp16 needs a CUDA GPU, and this is {device.type}; use amp=bf16, auto or off")
    if amp != "auto":
        return torch.float16 if amp == "fp16" else torch.bfloat16
    return torch.bfloat16 if fast_bf16(device) else None


def fast_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bf16 faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in checks)


def slow_amp(key: str, amp: str, device: torch.device) -> str | None:
    """Return a warning where the setting `key` asks for a format that makes this device slower; else None."""
    if amp != "bf16" or device.type not in ("cpu", "cuda") or fast_bf16(device):
        return None
    kind = "processor" if device.type == "cpu" else "GPU"
    return (
        f"warning: this {kind} has no bf16 arithmetic, and {key}=bf16 makes it up to ten times slower; use"
        f" {key}=auto or off"
    )


@contextlib.contextmanager
def whole_float32(device: torch.device) -> Iterator[None]:
    """The context in which float32 convolutions on `device` are computed in float32.

    On CUDA cuDNN takes TF32 for them by default, which has 10 of the 23 bits of a fraction.
    """
    cudnn: Any = torch.backends.cudnn
    try:
        before = cudnn.allow_tf32
    except RuntimeError:  # chosen for each operation, by torch's newer settings
        before = None
    if device.type != "cuda" or before is None:
        yield
        return
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


@contextlib.contextmanager
def out_of_memory(remedy: Callable[[], str]) -> Iterator[None]:
    """Turn the device's lack of memory into a UserError that names what to lower: `remedy()`."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):
            raise
        asked = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", str(error))
        size = f" (it was asked for {asked[1]} more)" if asked else ""
        raise UserError(f"the memory of the device is full{size}; {remedy()}") from None


def working_bytes(max_mb: int | None, device: torch.device, *, on_cpu: int) -> int:
    """Return how many bytes an operation may work in at a time.

    On CUDA more costs no time and saves launches: an eighth of what is free, 1,024 MB at most.

    Args:
        max_mb: what the user asks for, in MB; None is by device.
        device: where the operation runs.
        on_cpu: MB on the CPU and on MPS, and the least on CUDA.
    """
    if max_mb is not None:
        return max_mb * MB
    if device.type != "cuda":
        return on_cpu * MB
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's own spare
    return max(on_cpu * MB, min(MOST_ON_CUDA, free // 8))


class _SinglePrecision(contextlib.ContextDecorator):
    """See `single_precision`. State: how many threads are inside, and the dtype that was set before."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.set_default_dtype(self._before)


single_precision = _SinglePrecision()
"""A context, and a decorator, in which new tensors are float32 whatever default dtype the process has set."""


@contextlib.contextmanager
def backward_on(device: torch.device, network: nn.Module) -> Iterator[None]:
    """The context in which gradients of `network` can be computed on `device`.

    On the CPU oneDNN (torch 2.15), in channels_last on two or more threads, writes past the end of the
    gradient of a 1 x 1 convolution with a stride and fewer than 16 input channels, and the process dies. Such
    a network has its gradients computed without oneDNN.
    """
    narrow = device.type == "cpu" and any(
        isinstance(m, nn.Conv2d) and m.in_channels < 16 and m.kernel_size == (1, 1) and m.stride != (1, 1)
        for m in network.modules()
    )
    before = torch.backends.mkldnn.enabled
    # flags() does the same, and warns of GPUs
    torch.backends.mkldnn.enabled = before and not narrow  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far, in MB: of a CUDA device, by this process; else `peak_process_mb`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MB
    return peak_process_mb()


def peak_process_mb() -> float:
    """The largest resident size of this process so far, in MB; 0 where the system has no such figure."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / MB
