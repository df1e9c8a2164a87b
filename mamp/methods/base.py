"""What a method is: `Method` says what it has, `Propagator` what happens to one video, `Motion` where things
were.

`TrainingTask`, what is learnt, stands in `task.py`. This file imports no torch, so that the command line can
list methods.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mamp.core.section import MethodConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# preset -> data set -> values under all others; the data set "" is every one
Presets = Mapping[str, Mapping[str, Mapping[str, Any]]]

# Maps (K+1, H, W) of float32 that take more are not made by methods that can do without; see
# `Propagator.many`
DENSE_BYTES = 128 * 10**6


def later(place: str) -> Callable[..., Any]:
    """Return the function at `place` ("package.module:name"), imported at its first call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        module, _, name = place.partition(":")
        found = vars(importlib.import_module(module))
        if name not in found:
            raise AttributeError(f"{module} has no {name}, which a METHOD names as {place}")
        return found[name](*args, **kwargs)

    call.__name__ = place
    return call


def no_network(method: MethodConfig) -> nn.Module:
    """Return the network of a method that has none: an empty module."""
    from torch import nn

    return nn.Identity()


@dataclass(frozen=True)
class Published:
    """Weights that the authors of a method keep on the web; `mamp weights fetch NAME` brings them.

    what: network and data. url: where a person finds them. host: how it answers, a key of
    `mamp.core.hosts.HOSTS`.
    licence: what is known of it. score: as its authors published it.
    """

    name: str
    what: str
    url: str
    host: str
    licence: str
    score: str


@dataclass(frozen=True)
class Method:
    """All that the rest of the package knows of a method. What a method lacks keeps its default.

    The functions are imported when they are called: give them as
    `later("mamp.methods.NAME.module:function")`.

    name: as in `method.name=...`, and of its folder. description: one line, as lists of methods show it.
    config: the class of its settings. presets: preset -> data set ("" is every one) -> settings.
    build_propagator: (network, config, *, motion, device, dtype) -> `Propagator`, for one video.
    build_model: (config) -> nn.Module with fresh weights.
    pretrained: (config) -> nn.Module with weights from elsewhere, for a method that needs no file of weights.
    needs_weights: segmenting needs a file of weights, or ones that ship. shipped: the name of those that
    ship.
    task: (whole `Config`) -> `TrainingTask`. learns_from_masks: its clips come with masks.
    from_published: (state dict) -> (state dict, config as a mapping): reads a published checkpoint.
    published: where its authors keep theirs.
    attach: (network, config, *, device) -> encoder -> checksum: puts other encoders into the network.
    trunk: (network, config) -> `Trunk`: its encoder, for the probe and the page.
    on_trunk: (network of another method, its config, config) -> nn.Module that starts from that method's
    trunk.
    onnx: (network, config, *, metadata) -> `Exported`. widen: (config, state dict, *, width, seed) ->
    (config, state dict).
    receptive_field: its propagators can show the Cycle-ERF.
    """

    name: str
    description: str
    config: type[MethodConfig]
    build_propagator: Callable[..., Propagator]
    build_model: Callable[..., nn.Module] = no_network
    presets: Presets = field(default_factory=dict)
    pretrained: Callable[..., nn.Module] | None = None
    needs_weights: bool = True
    shipped: str | None = None
    task: Callable[..., Any] | None = None
    learns_from_masks: bool = False
    from_published: Callable[..., tuple[dict[str, Tensor], dict[str, Any]]] | None = None
    published: tuple[Published, ...] = ()
    attach: Callable[..., dict[str, str]] | None = None
    trunk: Callable[..., Any] | None = None
    on_trunk: Callable[..., nn.Module] | None = None
    onnx: Callable[..., Exported] | None = None
    widen: Callable[..., tuple[MethodConfig, dict[str, Tensor]]] | None = None
    receptive_field: bool = False


@dataclass(frozen=True)
class Exported:
    """ONNX models by name, what a program that runs them must know (JSON), and lines for the person who
    asked.
    """

    graphs: dict[str, Any]
    described: dict[str, Any]
    notes: tuple[str, ...] = ()


class Motion(Protocol):
    """Where things were: flow from a query frame to a memory frame, in feature cells."""

    def see(self, index: int, frame: Tensor) -> None:
        """Take note of frame `index`: float (3, H, W) RGB in [0, 1]."""

    def flow(self, query: int, memory: int) -> Tensor | None:
        """Return (2, h, w), x right, y down: where the query's cell lies in the memory frame, minus the cell.

        None means no motion.
        """

    def forget(self, index: int) -> None:
        """Drop what is kept for frame `index`; it is not asked for again."""

    def twin(self) -> Motion | None:
        """Return a copy that goes on from here by itself; None where that cannot be."""
        return None


class Propagator:
    """Carries the masks of K objects through one video; frames and masks at the video's original size.

    Frame index = number of `start` and `step` calls before. `step` leaves its frame pending: `correct`, `add`
    and `remove` change what is pending, and the next `step` commits it to memory.

    A method gives `start`, `step`, `correct`, `add`, `remove` and `memory_bytes`. The rest has defaults.
    Masks of different objects never overlap. The order of the objects does not matter, and one that was
    removed leaves no trace. What is held of frames is never changed in place, since a twin shares it.
    Tensors (K, H, W) of many objects, or of huge frames, do not fit into memory. A method that can do
    without them says `many = True`: its `start`, `correct` and `add` also take `LabelMasks` and frames in
    uint8, and it gives `step_labels` and `labels_without`.

    Args:
        model: the network, on `device`, in evaluation.
        method: the method's config.
        motion: where things were; None lets the method choose. Methods without motion ignore it.
        device: where frames and memory lie.
        dtype: number format of mixed precision; None is float32.
    """

    many = False
    # for each pixel that the network sees: floats held once, and for each object; measured on the CPU
    floats_held: tuple[int, int] = (0, 0)

    def __init__(
        self,
        model: nn.Module,
        method: Any,
        *,
        motion: Motion | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        import torch

        self.model: Any = model
        self.device, self.dtype = torch.device(device), dtype
        self.motion = motion
        self.next_index = 0
        self.pending: Any = None

    # -- what every method gives

    def start(self, frame: Tensor, masks: Any) -> None:
        """Take the first frame, float (3, H, W) RGB in [0, 1], with its masks (K, H, W) in {0, 1}."""
        raise NotImplementedError

    def step(self, frame: Tensor) -> Tensor:
        """Return the probabilities (K+1, H, W) of the next frame, background first, summing to 1."""
        raise NotImplementedError

    def correct(self, masks: Any, objects: list[int]) -> None:
        """Replace the pending frame's masks of `objects` (0-based) by `masks` (len(objects), H, W) in {0,
        1}.
        """
        raise NotImplementedError

    def add(self, masks: Any) -> None:
        """Add new objects (N, H, W) in {0, 1} at the pending frame; they win over what was predicted."""
        raise NotImplementedError

    def remove(self, objects: list[int]) -> None:
        """Forget these objects (0-based); what was theirs becomes background, later ones move up."""
        raise NotImplementedError

    @property
    def memory_bytes(self) -> int:
        """Bytes held for memory frames and the pending frame, no more than `tensors` yields where it
        yields any.
        """
        raise NotImplementedError

    # -- what a method may have besides

    def step_labels(self, frame: Tensor) -> Tensor:
        """Go on as `step` does; return the most probable object of each pixel (H, W), k+1 for object k.

        frame: also uint8. Only with `many`.
        """
        raise NotImplementedError

    def labels_without(self, frame: Tensor, objects: list[int]) -> Tensor:
        """Return what `step_labels` would have, if these objects (0-based) lay nowhere."""
        raise NotImplementedError

    def bytes_needed(self, size: tuple[int, int], objects: int) -> int:
        """Estimate the memory for so many objects on frames of (H, W), in bytes, all in all.

        By default eight float32 maps (K+1, H, W), and for each pixel that the network sees `floats_held`.
        """
        once, each = self.floats_held
        height, width = self._seen_size(size)
        return 4 * (8 * (objects + 1) * size[0] * size[1] + (once + each * objects) * height * width)

    def twin(self) -> Propagator | None:
        """Return a copy that goes on from here by itself, sharing what is remembered; None where that cannot
        be.
        """
        return None

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor held of frames; twins have most of them in common. Nothing for a method without
        twins.
        """
        return iter(())

    def report(self) -> Any:
        """Return what there is to say of the memory in this video, a dataclass with words; None for
        nothing.
        """
        return None

    def receptive_field(self) -> Tensor | None:
        """Return the Cycle-ERF of the pending frame (K, H, W), 0 or more; None without gradient
        correction.
        """
        return None

    # -- what their code shares

    def _seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) of what the network sees of frames of a size."""
        return size

    def _pending(self) -> Any:
        """The frame just stepped; RuntimeError before `start`."""
        if self.pending is None:
            raise RuntimeError("start() comes before anything else")
        return self.pending

    def _next(self) -> int:
        """The index of a new frame."""
        index, self.next_index = self.next_index, self.next_index + 1
        return index

    def _here(self, pixels: Tensor) -> Tensor:
        """Float32, on the device; uint8 becomes [0, 1]."""
        import torch

        here = pixels.to(self.device).to(torch.float32)
        return here / 255 if pixels.dtype == torch.uint8 else here

    def _mixed(self) -> AbstractContextManager[Any]:
        """Mixed precision as asked."""
        import torch

        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)
