"""A pretend CUDA device: tensors that say `cuda:0`, are computed on the CPU, and raise where a GPU would.

    with pretend() as gpu:
        ...                  # device="cuda" works
    gpu.stalls               # (what, where) -> how often the processor waited for the GPU
    gpu.uploads              # (what, where) -> how often something small or large was copied to the GPU
    gpu.launches             # operation -> how often it ran on the GPU

It knows no time and no memory. An operation counts once, though CUDA may start several kernels for it. It
uses private parts of torch; `absent()` names those that this torch lacks.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

import mamp

PACKAGE = str(Path(mamp.__file__).parent)
PRIVATE = (
    "_C._ensureCUDADeviceGuardSet",
    "_C._only_lift_cpu_tensors",
    "_C._set_only_lift_cpu_tensors",
    "_C._disabled_torch_function_impl",
    "_C._dispatch_has_kernel_for_dispatch_key",
    "_C.DispatchKey.CompositeImplicitAutograd",
    "Tensor._make_subclass",
    "autograd.graph.get_gradient_edge",
    "__future__.set_swap_module_params_on_conversion",
)
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
aten = torch.ops.aten
COPIES = {aten._to_copy, aten.copy_, aten.copy}  # where tensors of both devices may meet
INDEXING = {
    *(aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_),
    *(aten._unsafe_index, aten._unsafe_index_put),
}
WAITING = {  # the size or the value of the result is not known before it is computed
    *(aten._local_scalar_dense, aten.is_nonzero, aten.equal, aten.nonzero, aten.masked_select, aten.bincount),
    *(aten.unique_dim, aten._unique2, aten.unique_consecutive),
}
NO_KERNEL = {
    *(aten._local_scalar_dense, aten.detach, aten.empty, aten.empty_like, aten.empty_strided),
    *(aten.new_empty, aten.new_empty_strided, aten._unsafe_view),
}
NO_NUMPY = (
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory"
    " first."
)


def absent() -> list[str]:
    """Name the private parts of torch that the device needs and this torch lacks."""

    def there(name: str) -> bool:
        found: Any = torch
        for part in name.split("."):
            found = getattr(found, part, None)
        return found is not None

    return [f"torch.{name}" for name in PRIVATE if not there(name)]


class OnGpu(torch.Tensor):
    """A tensor of the device. `inner` is the CPU tensor that it is computed with.

    Outside it is a meta tensor with CUDA's dispatch keys, as torch's own FakeTensor is.
    """

    inner: torch.Tensor
    __torch_function__ = getattr(torch._C, "_disabled_torch_function_impl", None)  # see `absent`
    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnGpu:
        first = inner.storage_offset() if inner.numel() else 0
        reach = sum((n - 1) * s for n, s in zip(inner.shape, inner.stride(), strict=True))
        with torch.inference_mode(inner.is_inference()):
            held = torch.empty(first + 1 + reach if inner.numel() else 0, dtype=inner.dtype, device="meta")
            shown = held.as_strided(inner.shape, inner.stride(), first)
            self = torch.Tensor._make_subclass(
                cls, shown, False, dispatch_device=True, device_for_backend_keys=CUDA
            )
        self.inner = inner
        return self

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, value: OnGpu) -> None:
        torch.Tensor.data.__set__(self, value)
        self.inner = value.inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(Gpu.now, func, args, kwargs or {})

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(NO_NUMPY)

    __array__ = numpy

    def tolist(self) -> Any:
        Gpu.now.wait("tolist")
        return self.inner.detach().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.inner!r})"

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else self, spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnGpu:
        if id(self) not in memo:
            new = OnGpu(self.inner.detach().clone()).requires_grad_(self.requires_grad)
            new._is_param = getattr(self, "_is_param", False)
            memo[id(self)] = new
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> Any:
        Gpu.now.wait("save")  # saved as if brought to the CPU
        return self.inner.detach().__reduce_ex__(protocol)


class Gpu(TorchDispatchMode):
    """The device while `pretend` lasts. State: the counts; `reset` begins them anew."""

    now: Gpu

    def __init__(self, *, doubles: bool = True) -> None:
        super().__init__()
        self.doubles = doubles
        self.reset()

    def reset(self) -> None:
        """Count from 0."""
        self.launches: Counter[str] = Counter()
        self.stalls: Counter[tuple[str, str]] = Counter()
        self.uploads: Counter[tuple[str, str]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(self, func, args, kwargs or {})

    def wait(self, what: str) -> None:
        """Count a stall."""
        self.stalls[what, _place()] += 1

    def upload(self, what: str) -> None:
        """Count a copy to the GPU."""
        self.uploads[what, _place()] += 1

    def launch(self, func: Any) -> None:
        """Count an operation, unless it is only another view of the same memory."""
        view = any(r.alias_info and not r.alias_info.is_write for r in func._schema.returns)
        if not view and func.overloadpacket not in NO_KERNEL:
            self.launches[func.overloadpacket.__name__] += 1


@contextlib.contextmanager
def pretend(*, bf16: bool = True, doubles: bool = True, free: int = 1 << 36) -> Iterator[Gpu]:
    """Give torch a CUDA device for a while; of any dispatch below it, this one is in force.

    bf16: whether it multiplies bf16. doubles: whether it has float64, which MPS has not. free: bytes of
    its memory that are free.
    """
    from backward import backward, gradients

    gpu = Gpu.now = Gpu(doubles=doubles)
    forget_constants()
    torch._C._ensureCUDADeviceGuardSet()  # device guards that need no driver
    lifted, cudnn = torch._C._only_lift_cpu_tensors(), torch.backends.cudnn.enabled
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    answers = {
        "is_available": True, "is_initialized": True, "device_count": 1, "current_device": 0,
        "is_bf16_supported": bf16, "max_memory_allocated": 0, "memory_allocated": 0,
        "memory_reserved": 0,
        "get_device_name": "pretend GPU", "get_device_capability": (9, 0), "mem_get_info": (free, 2 * free),
        "get_rng_state": torch.zeros(16, dtype=torch.uint8), "set_rng_state": None, "manual_seed": None,
        "manual_seed_all": None, "set_device": None, "synchronize": None, "empty_cache": None,
        "reset_peak_memory_stats": None, "_lazy_init": None, "_lazy_call": None,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, _a=answer, **__: _a))
        for owner, name, new in (
            (torch.cuda, "device", lambda *_: contextlib.nullcontext()),
            (torch.Tensor, "pin_memory", lambda self, *_, **__: self),
            (torch.Tensor, "cuda", lambda self, *_, **__: self.to(CUDA)),
            (torch.autograd, "backward", backward),
            (torch.autograd, "grad", gradients),
        ):
            stack.enter_context(mock.patch.object(owner, name, new))
        torch.backends.cudnn.enabled = False  # else batch norm asks for cuDNN's own operation
        torch.__future__.set_swap_module_params_on_conversion(True)  # a parameter stays the same object
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(.., device="cuda") is made here and copied
        try:
            with gpu:
                yield gpu
        finally:
            forget_constants()
            torch._C._set_only_lift_cpu_tensors(lifted)
            torch.__future__.set_swap_module_params_on_conversion(swapped)
            torch.backends.cudnn.enabled = cudnn


def forget_constants() -> None:
    """Empty what the package keeps for each device, so that no tensor outlives the device."""
    for name, module in list(sys.modules.items()):
        if name.startswith("mamp."):
            for value in vars(module).values():
                if callable(forget := getattr(value, "cache_clear", None)):
                    forget()


def _run(gpu: Gpu, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation: refuse what CUDA refuses, count, and compute it with the inner tensors."""
    if func is torch.ops.prim.device.default:
        return CUDA
    packet = func.overloadpacket
    flat, spec = tree_flatten((args, kwargs))
    there = [x for x in flat if isinstance(x, OnGpu)]
    if (there or any(isinstance(x, torch.device) and x.type == "cuda" for x in flat)) and _composite(func):
        with gpu:  # inference mode hands these over whole
            return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)
    wanted = kwargs.get("device")
    wanted = None if wanted is None else torch.device(wanted)
    here = [x for x in flat if isinstance(x, torch.Tensor) and not isinstance(x, OnGpu)]
    if there and here and packet not in COPIES:
        _refuse_mixed(gpu, func, args, kwargs, here)
    on_gpu = wanted.type == "cuda" if wanted is not None else bool(there)
    _refuse_generator(kwargs.get("generator"), on_gpu, func)
    if packet in COPIES:
        on_gpu = _copied(gpu, packet, args, wanted)
    if there and (packet in WAITING or _waits_for_size(packet, args, kwargs)):
        gpu.wait(packet.__name__)
    if there and packet is aten._fused_sdp_choice:
        return 0
    if there or on_gpu:
        gpu.launch(func)
    plain_args, plain = tree_unflatten([x.inner if isinstance(x, OnGpu) else x for x in flat], spec)
    if wanted is not None and wanted.type == "cuda":
        plain = {**plain, "device": CPU, **({"pin_memory": False} if "pin_memory" in plain else {})}
    found = func(*plain_args, **plain)
    if not on_gpu and packet is not aten._local_scalar_dense:
        return found
    flat_found, found_spec = tree_flatten(found)
    if not gpu.doubles and any(isinstance(x, torch.Tensor) and x.dtype == torch.float64 for x in flat_found):
        raise TypeError(f"the device has no float64 ({func})")
    known = {id(x.inner): x for x in there}  # what an operation works on in place stays the same object
    return tree_unflatten([_shown(x, known) for x in flat_found], found_spec)


def _shown(x: Any, known: dict[int, OnGpu]) -> Any:
    if not isinstance(x, torch.Tensor):
        return x
    if id(x) not in known:
        known[id(x)] = OnGpu(x)
    return known[id(x)]


def _composite(func: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def _waits_for_size(packet: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    """Indexing by a mask, and repeating by counts that are on the GPU, ask for the size of the result."""
    if packet is aten.repeat_interleave:
        return kwargs.get("output_size") is None
    masks = (torch.bool, torch.uint8)
    return packet in INDEXING and any(isinstance(i, OnGpu) and i.dtype in masks for i in args[1])


def _refuse_mixed(gpu: Gpu, func: Any, args: Any, kwargs: dict[str, Any], here: list[torch.Tensor]) -> None:
    """RuntimeError for tensors of both devices in one operation, but for numbers and indices."""
    packet = func.overloadpacket
    if packet in INDEXING:
        if not isinstance(args[0], OnGpu):
            raise RuntimeError(f"indices of a tensor on cpu are on cuda:0 ({func})")
        gpu.upload("index")  # indices are moved
        here = [x for x in args[2:3] if isinstance(x, torch.Tensor) and not isinstance(x, OnGpu)]
    numbers = torch.Tag.pointwise in func.tags or packet in {*INDEXING, aten.where, aten.fill_}
    arguments = enumerate(func._schema.arguments)
    written = [
        id(args[n] if n < len(args) else kwargs.get(a.name))
        for n, a in arguments
        if a.alias_info and a.alias_info.is_write
    ]
    for x in here:
        if x.dim() or not numbers or id(x) in written:
            shape = tuple(x.shape)
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and"
                f" cpu {shape} ({func})"
            )


def _refuse_generator(generator: torch.Generator | None, on_gpu: bool, func: Any) -> None:
    kind = "cuda" if on_gpu else "cpu"
    if generator is not None and generator.device.type != kind:
        raise RuntimeError(
            f"Expected a '{kind}' device type for generator but found '{generator.device.type}' ({func})"
        )


def _copied(gpu: Gpu, packet: Any, args: Any, wanted: torch.device | None) -> bool:
    """Count a copy between the devices; whether its result is on the GPU."""
    source = args[0] if packet is aten._to_copy else args[1]
    target = (wanted or source.device) if packet is aten._to_copy else args[0].device
    if isinstance(source, OnGpu) and target.type == "cpu":
        gpu.wait("to cpu")
    elif not isinstance(source, OnGpu) and target.type == "cuda":
        gpu.upload("tensor" if source.dim() else "number")
    return target.type == "cuda"


def _place() -> str:
    """file:line of the deepest line of the package at work."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE):
            return f"{name.removeprefix(PACKAGE)[1:]}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside"
