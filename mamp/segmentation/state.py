"""The state of a segmenter in a file, from which another process goes on to the same masks, bit for bit.

What is kept is the propagator as it stands, without its network, which the other process has. Tensors lie in
the file as torch writes them; the rest is a pickle that may name classes of the method's own package only.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mamp.core.errors import first_line
from mamp.core.files import whole
from mamp.segmentation.segmenter import Segmenter

_PLAIN = frozenset(
    {
        ("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "deque"),
        ("collections", "Counter"), ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "range"),
        ("builtins", "slice"), ("builtins", "object"), ("copyreg", "_reconstructor"), ("torch", "Size"),
        ("torch", "device"), ("pathlib", "PosixPath"), ("pathlib", "WindowsPath"),
    }
)  # fmt: skip


class Unkept(Exception):
    """This state cannot be written to a file, or read from this one."""


def save_state(segmenter: Segmenter, path: Path, *, index: int) -> None:
    """Write what `segmenter` remembers after frame `index`, whole or not at all.

    Raises Unkept for a method whose state holds more than tensors, plain values and its own classes, and
    UserError where the file cannot be written.
    """
    written = io.BytesIO()
    pickler = _Pickler(written, segmenter.network)
    try:
        pickler.dump(segmenter.remembered())
    except Exception as error:  # whatever a member that cannot be pickled raises
        raise Unkept(str(error)) from None
    rest = torch.from_numpy(np.frombuffer(written.getvalue(), np.uint8).copy())
    _Unpickler(io.BytesIO(written.getvalue()), segmenter, pickler.tensors).load()  # or raise Unkept now
    with whole(path) as partial:
        try:
            torch.save({"index": index, "tensors": pickler.tensors, "rest": rest}, partial)
        except RuntimeError as error:  # so torch says that a disk is full
            raise OSError(first_line(error)) from None


def load_state(segmenter: Segmenter, path: Path) -> int:
    """Bring a fresh `segmenter` to the state in `path`; return the index of the frame it was written after.

    Raises Unkept for a file that is missing, damaged or of another network.
    """
    try:
        found = torch.load(path, map_location=segmenter.device, weights_only=True)
        rest = io.BytesIO(found["rest"].cpu().numpy().tobytes())
        segmenter.remember(_Unpickler(rest, segmenter, found["tensors"]).load())
        return int(found["index"])
    except Unkept:
        raise
    except Exception as error:  # bytes that are no state drive the reader anywhere
        raise Unkept(str(error)) from None


class _Pickler(pickle.Pickler):
    """Leaves tensors out, which it gathers, and parts of the network, which it names."""

    def __init__(self, file: io.BytesIO, network: nn.Module) -> None:
        super().__init__(file, protocol=4)
        self.tensors: list[Tensor] = []
        self._seen: dict[int, int] = {}
        self._parts = {id(part): name for name, part in network.named_modules()}

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            if id(value) not in self._parts:
                raise Unkept(f"a {type(value).__name__} is not part of the network")
            return "network", self._parts[id(value)]
        if isinstance(value, torch.dtype):
            return "dtype", str(value).removeprefix("torch.")
        if not isinstance(value, Tensor):
            return None
        if id(value) not in self._seen:
            self._seen[id(value)] = len(self.tensors)
            self.tensors.append(value)
        return "tensor", self._seen[id(value)]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, segmenter: Segmenter, tensors: list[Tensor]) -> None:
        super().__init__(file)
        self._tensors, self._network = tensors, segmenter.network
        self._own = segmenter.package

    def persistent_load(self, pid: Any) -> Any:
        kind, name = pid
        if kind == "tensor":
            return self._tensors[name]
        if kind == "dtype":
            return getattr(torch, name)
        return self._network.get_submodule(name)

    def find_class(self, module: str, name: str) -> Any:
        own = module.split(".")[0] in {"mamp", self._own}
        if not own and (module, name) not in _PLAIN:
            raise Unkept(f"{module}.{name} is not a class of the method")
        found = super().find_class(module, name)
        if own and not isinstance(found, type):
            raise Unkept(f"{module}.{name} is not a class")
        return found
