"""The contracts of a method: `Method` lists what it has, `Propagator` carries masks, `Motion` gives flow.

`TrainingTask`, what is learnt, is in `task.py`. This file imports no torch, so that the command line can
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
    """Return the function at `place` ("package.module:name"). Its module is imported at the first call."""

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
    """Weights that the authors of a method publish. `mamp weights fetch NAME` downloads them.

    Attributes:
        name: as in `mamp weights fetch NAME`.
        what: network and data.
        url: the page on which a person finds them.
        host: how that page answers, a key of `mamp.core.hosts.HOSTS`.
        licence: what is known of the licence.
        score: as the authors published it.
    """

    name: str
    what: str
    url: str
    host: str
    licence: str
    score: str


@dataclass(frozen=True)
class Method:
    """What the rest of the package knows of a method. A part that a method does not have keeps its default.

    Functions are imported when they are called: give them as `later("mamp.methods.NAME.module:function")`.

    Attributes:
        name: as in `method.name=NAME`, and the name of its folder.
        description: one line for lists of methods.
        config: the class of its settings.
        build_propagator: (network, config, *, motion, device, dtype) -> `Propagator` for one video.
        build_model: (config) -> nn.Module with fresh weights.
        presets: preset -> data set ("" is every one) -> settings.
        pretrained: (config) -> nn.Module with weights from elsewhere, for a method without a weights file.
        needs_weights: whether segmenting needs weights, from a file or shipped.
        shipped: the name of the weights that ship with the package.
        task: (whole `Config`) -> `TrainingTask`.
        learns_from_masks: whether its clips come with masks.
        from_published: (state dict) -> (state dict, config as a mapping), from a published checkpoint.
        published: weights that its authors publish.
        attach: (network, config, *, device) -> encoder -> checksum: joins other encoders to the network.
        trunk: (network, config) -> `Trunk`: its encoder, for the probe and the page.
        on_trunk: (network of another method, its config, config) -> nn.Module that starts from its trunk.
        onnx: (network, config, *, metadata) -> `Exported`.
        widen: (config, state dict, *, width, seed) -> (config, state dict) of a wider network.
        receptive_field: whether its propagators can show the Cycle-ERF.
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
    """What `Method.onnx` returns.

    Attributes:
        graphs: ONNX models by name.
        described: what a program that runs them must know, as JSON.
        notes: lines to print.
    """

    graphs: dict[str, Any]
    described: dict[str, Any]
    notes: tuple[str, ...] = ()


class Motion(Protocol):
    """A source of motion: flow from a query frame to a memory frame, in feature cells."""

    def see(self, index: int, frame: Tensor) -> None:
        """Take the next frame.

        Args:
            index: its number, counted from 0.
            frame: float32 (3, H, W) RGB in [0, 1].
        """

    def flow(self, query: int, memory: int) -> Tensor | None:
        """Return where each cell of the query frame lies in the memory frame, minus the cell.

        Args:
            query: index of a frame that was seen.
            memory: index of an earlier frame that was seen and not forgotten.

        Returns:
            float32 (2, h, w) in feature cells, x right, y down; None for no motion.
        """

    def forget(self, index: int) -> None:
        """Drop what is kept for a frame. `flow` is not asked for it again.

        Args:
            index: the frame.
        """

    def twin(self) -> Motion | None:
        """Copy the source at this frame; both go on independently.

        Returns:
            The copy, or None if it cannot be copied.
        """
        return None


class Propagator:
    """Carry the masks of K objects through one video. Frames and masks have the video's own size.

    A frame's index is the number of calls of `start` and `step` before it. `step` leaves its frame pending:
    `correct`, `add` and `remove` change what is pending. The next `step` commits it to memory.

    A method gives `start`, `step`, `correct`, `add`, `remove` and `memory_bytes`. The rest has defaults.
    Masks of different objects never overlap. The order of the objects does not matter. An object that was
    removed leaves no trace. Tensors held of frames are never changed in place, since a twin shares them.

    Tensors (K, H, W) of many objects, or of huge frames, do not fit into memory. A method that can do without
    them sets `many = True`. Its `start`, `correct` and `add` then also take `LabelMasks` and uint8 frames,
    and it gives `step_labels` and `labels_without`.

    Args:
        model: the network, on `device`, in evaluation mode.
        method: the method's settings.
        motion: a source of motion; None lets the method choose. Methods without motion ignore it.
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
        """Take the first frame and its masks.

        Args:
            frame: float32 (3, H, W) RGB in [0, 1]; also uint8 with `many`.
            masks: (K, H, W) in {0, 1}, K from 1 on; also `LabelMasks` with `many`.
        """
        raise NotImplementedError

    def step(self, frame: Tensor) -> Tensor:
        """Take the next frame and predict its masks.

        Args:
            frame: float32 (3, H, W) RGB in [0, 1].

        Returns:
            Probabilities, float32 (K+1, H, W), background first, that sum to 1 at each pixel.
        """
        raise NotImplementedError

    def correct(self, masks: Any, objects: list[int]) -> None:
        """Replace masks of the pending frame.

        Args:
            masks: (len(objects), H, W) in {0, 1}; also `LabelMasks` with `many`.
            objects: which objects they are of, counted from 0.
        """
        raise NotImplementedError

    def add(self, masks: Any) -> None:
        """Add new objects at the pending frame. They win over what was predicted there.

        Args:
            masks: (N, H, W) in {0, 1}, one for each new object; also `LabelMasks` with `many`.
        """
        raise NotImplementedError

    def remove(self, objects: list[int]) -> None:
        """Forget objects. Their pixels become background, and later objects move up.

        Args:
            objects: which objects, counted from 0.
        """
        raise NotImplementedError

    @property
    def memory_bytes(self) -> int:
        """Bytes held for memory frames and the pending frame: those of `tensors` at most, if it has any."""
        raise NotImplementedError

    # -- what a method may have besides

    def step_labels(self, frame: Tensor) -> Tensor:
        """Take the next frame as `step` does, without making (K+1, H, W) maps. Only with `many`.

        Args:
            frame: float32 (3, H, W) RGB in [0, 1], or uint8.

        Returns:
            The most probable object of each pixel, integer (H, W): k+1 for object k, 0 for background.
        """
        raise NotImplementedError

    def labels_without(self, frame: Tensor, objects: list[int]) -> Tensor:
        """Return what `step_labels` would have returned without some objects. Only with `many`.

        Args:
            frame: the pending frame, as `step_labels` took it.
            objects: which objects are absent, counted from 0.

        Returns:
            Integer (H, W), as `step_labels` returns.
        """
        raise NotImplementedError

    def bytes_needed(self, size: tuple[int, int], objects: int) -> int:
        """Estimate the memory for a number of objects on frames of a size.

        By default eight float32 maps (K+1, H, W), and `floats_held` for each pixel that the network sees.

        Args:
            size: (H, W) of the frames.
            objects: K.

        Returns:
            Bytes, all in all.
        """
        once, each = self.floats_held
        height, width = self._seen_size(size)
        return 4 * (8 * (objects + 1) * size[0] * size[1] + (once + each * objects) * height * width)

    def twin(self) -> Propagator | None:
        """Copy the propagator at this frame; both go on independently and share what is remembered so far.

        Returns:
            The copy, or None if the method cannot be copied.
        """
        return None

    def tensors(self) -> Iterator[Tensor]:
        """Yield every tensor held of frames. Twins share most of them.

        Returns:
            An iterator; empty for a method without twins.
        """
        return iter(())

    def report(self) -> Any:
        """Describe how the memory was used in this video.

        Returns:
            A dataclass whose text is one line, or None.
        """
        return None

    def receptive_field(self) -> Tensor | None:
        """Show by which pixels of the pending frame the given masks are found again (Cycle-ERF).

        Returns:
            float32 (K, H, W), 0 or more; None for a method without gradient correction.
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
