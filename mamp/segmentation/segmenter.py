"""Segment one video frame by frame: frames and your masks in, label maps with your object ids out."""

from __future__ import annotations

import warnings
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mamp import methods
from mamp.core.devices import out_of_memory, single_precision, whole_float32
from mamp.core.errors import UserError, plural
from mamp.methods.base import DENSE_BYTES, Motion, Propagator
from mamp.ops.label_masks import LabelMasks
from mamp.ops.sizes import size_of
from mamp.segmentation.limits import refuse_too_many
from mamp.segmentation.pixels import as_float, as_image, as_pixels, by, frame_size
from mamp.video.first_masks.reading import read_mask

LARGEST_ID = 65535
# settings of `propagation` that bound the device's memory, where a method has them
FOR_MEMORY = ("max_mb", "short_side", "memory_length", "max_frames", "context", "batch", "budget")
# mean difference of colours in [0, 1] of 16x16 pictures; neighbours in DAVIS stay below 0.15
OTHER_VIDEO = 0.2


class MaskMode(str, Enum):
    """What a mask that you give for a frame means for the objects that are not in it."""

    OBJECTS = "objects"
    """Nothing: the objects in the mask have exactly its pixels, the others stay as predicted."""
    WHOLE = "whole"
    """They are hidden in this frame, or were wrongly found there. They are followed on, and the mask is the
    result.
    """
    REPLACE = "replace"
    """They are gone and no longer followed. The mask is the result."""


class Segmenter:
    """Propagate the masks of one video from frame to frame. `Model.segmenter()` returns one.

        segmenter = mamp.load().segmenter()
        for index, frame in enumerate(frames):
            labels = segmenter.step(frame, first_mask if index == 0 else None)

    Give masks again at any later frame to correct objects or to add new ones. A segmenter holds the object
    ids, the frame size and the memory frames of its method. Memory use does not grow with the length of the
    video.

    Args:
        model: the network. It is moved to `device` and set to evaluation mode.
        method: the method's settings, `Config.method`.
        device: where the network runs.
        dtype: number format of mixed precision; None is float32.
        motion: a source of motion for the method; None lets the method choose.

    Attributes:
        probabilities: float32 (K+1, H, W), the prediction for the last frame, before a mask given for it.
            Background first, then the objects in the order of `ids`. None if nothing was predicted, or if the
            maps would take more than `DENSE_BYTES` and the method can do without them.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        method: Any,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        motion: Motion | None = None,
    ):
        self.device = torch.device(device)
        self.probabilities: Tensor | None = None
        """(K+1, H, W) of the last frame as predicted, before a mask given for it; background first, then
        the ids held when it was predicted. None where nothing was predicted, and where they would take more
        than `DENSE_BYTES` and the method can do without them."""
        self.network = model.to(self.device).eval()
        self._method = method
        self._build = lambda: methods.get(method.name).build_propagator(
            model, method, motion=motion, device=self.device, dtype=dtype
        )
        self._propagator: Propagator | None = None
        self._fresh: Propagator | None = None  # built, and not yet begun
        self._ids: list[int] = []  # object k of the propagator has id _ids[k]
        self._size: tuple[int, int] | None = None
        self._seen: Tensor | None = None  # the last frame, 16x16, to notice another video
        self._dtype = np.dtype(np.uint8)

    def reset(self) -> None:
        """Forget the video: object ids, frame size and memory. The next frame begins another video."""
        self._propagator, self.probabilities = None, None
        self._ids, self._size, self._seen = [], None, None
        self._dtype = np.dtype(np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "a Segmenter cannot be pickled, since it holds the network and the memory of a video; make one in"
            " each process with mamp.load(...).segmenter(), or copy one with twin()"
        )

    @property
    def ids(self) -> list[int]:
        """Object ids that are followed now, in the order in which they were given: a list of int."""
        return list(self._ids)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the method holds for its memory frames."""
        return self._propagator.memory_bytes if self._propagator else 0

    @single_precision
    @torch.inference_mode()
    def step(
        self,
        frame: np.ndarray | Tensor | Image.Image,
        mask: Any = None,
        *,
        mode: MaskMode | str = MaskMode.OBJECTS,
        replace: bool | None = None,
        whole: bool | None = None,
    ) -> np.ndarray:
        """Return the label map of the next frame.

        Frames before the first mask with an object are all background. The method does not see them.

        Args:
            frame: the next frame, RGB: a uint8 array (H, W, 3), a PIL image, or a tensor (3, H, W), uint8 or
                float in [0, 1]. All frames of a video have one size.
            mask: what you know of this frame: an integer label map (H, W) with object ids 1 to 65535 and 0
                for background, or a path or PIL image, as `mamp.read_mask` takes them. A map of 0 and 255
                alone shows object 1. Ids that are followed are corrected, new ids are added.
            mode: what the mask means for objects that are not in it: a `MaskMode` or its value.
            replace: old name of `mode="replace"`.
            whole: old name of `mode="whole"`.

        Returns:
            The label map (H, W), uint8, or uint16 after a mask with an id above 255; 0 is background.

        Raises:
            UserError: the frame or mask has another size or type, the mode is unknown, or the objects do not
                fit into memory. The segmenter is then unchanged.
        """
        mode = _mode(mode, replace=replace, whole=whole)
        pixels = as_pixels(frame)
        size = frame_size(frame)
        if self._size not in (None, size):
            raise UserError(
                f"a frame is {by(size)} pixels where the video began with {by(self._size)}; resize it, or"
                " call reset() before another video"
            )
        given = None if mask is None else self._as_labels(mask, size)
        image = self._image(pixels)
        if given is not None:
            self._refuse_too_many(given, mode)
        self._size = size
        self._notice_another_video(image, given)
        if given is not None:
            self._dtype = np.promote_types(self._dtype, given.dtype)
        with whole_float32(self.device), out_of_memory(self._less_memory):
            labels = self._predict(image)
            if given is not None:
                labels = self._apply(image, labels, given, mode=mode)
        return labels

    def twin(self) -> Segmenter | None:
        """Copy the segmenter at this frame; both go on independently and share what is remembered so far.

        Returns:
            The copy, or None if the method cannot be copied.
        """
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        other._ids, other._fresh = list(self._ids), None
        if self._propagator is not None:
            other._propagator = self._propagator.twin()
            if other._propagator is None:
                return None
        return other

    @property
    def package(self) -> str:
        """The top-level package of the method's propagators."""
        return type(self._propagator or self._build()).__module__.split(".")[0]

    def remembered(self) -> dict[str, Any]:
        """Return everything that later frames depend on, by name. `mamp.segmentation.state` saves it."""
        names = ("_propagator", "_ids", "_size", "probabilities")
        return {**{name: vars(self)[name] for name in names}, "_dtype": self._dtype.name}

    def remember(self, state: dict[str, Any]) -> None:
        """Go on from the state that `remembered` returned."""
        vars(self).update({**state, "_dtype": np.dtype(state["_dtype"])})

    def tensors(self) -> list[Tensor]:
        """Return the tensors held of frames. Twins share most of them. Empty for a method without twins."""
        held = [] if self.probabilities is None else [self.probabilities]
        return held if self._propagator is None else [*held, *self._propagator.tensors()]

    @property
    def report(self) -> Any:
        """How the method used its memory in this video: a dataclass, or None if it does not report."""
        return None if self._propagator is None else self._propagator.report()

    def receptive_field(self) -> np.ndarray:
        """Return the Cycle-ERF of the last frame: the pixels by which the given masks are found again.

        Source: gradient correction of "Delving into the Cyclic Mechanism in Semi-supervised VOS" (Li et al.,
        2020).

        Returns:
            float32 (K, H, W), 0 or more, objects in the order of `ids`.

        Raises:
            UserError: the method has no gradient correction.
        """
        self.refuse_receptive_field()
        if self._propagator is None:
            return np.zeros((0, *(self._size or (0, 0))), np.float32)
        found = self._propagator.receptive_field()
        assert found is not None
        return found.float().cpu().numpy()

    def refuse_receptive_field(self) -> None:
        """Raise UserError for a method without gradient correction."""
        methods.require(self._method.name, "receptive_field")

    @single_precision
    @torch.inference_mode()
    def remove(self, ids: list[int]) -> None:
        """Stop following objects, from the next frame on.

        Args:
            ids: object ids that are followed now. An empty list changes nothing.

        Raises:
            UserError: an id is not followed.
        """
        unknown = [i for i in ids if i not in self._ids]
        if unknown:
            raise UserError(f"id {unknown[0]} is not followed; remove one of {self._ids or 'none'}")
        if self._propagator is None or not ids:
            return
        self._propagator.remove(sorted(self._ids.index(i) for i in set(ids)))
        self._ids = [i for i in self._ids if i not in ids]
        if not self._ids:
            self._propagator = None  # what is remembered shows no object; the next mask starts anew

    def _less_memory(self) -> str:
        """What takes less of the device's memory."""
        height, width = self._size or (0, 0)
        there = vars(vars(self._method).get("propagation", self))
        knobs = ", ".join(
            f"method.propagation.{name}={there[name]}" for name in FOR_MEMORY if there.get(name)
        )
        lower = f"lower one of {knobs}, or " if knobs else ""
        return (
            f"{lower}use --device cpu: frames are {width}x{height}, with {plural(len(self._ids), 'object')}"
        )

    def _as_labels(self, mask: Any, size: tuple[int, int]) -> np.ndarray:
        """The label map in a path, a picture or an array. In an array of 0 and 255, 255 is object 1.

        It stays 255 if 255 is followed already.
        """
        if isinstance(mask, (str, Path, Image.Image)):
            return read_mask(mask, size=size)
        labels = label_map(mask, size)
        if isinstance(mask, LabelMap) or isinstance(labels, LabelMap):
            return labels
        return labels if 255 in self._ids else one_object(labels)

    def _notice_another_video(self, image: Tensor, given: np.ndarray | None) -> None:
        """Warn where a mask of known ids comes with a frame that has nothing in common with the last one."""
        # a large frame, in uint8, a colour at a time
        planes = [image] if image.is_floating_point() else [as_float(plane[None]) for plane in image]
        planes = [F.adaptive_avg_pool2d(plane, 16) for plane in planes]
        before, self._seen = self._seen, torch.cat(planes)
        if before is None or given is None or not np.isin(self._ids, given).any():
            return
        if (self._seen - before).abs().mean() > OTHER_VIDEO:
            warnings.warn(
                "this frame looks unlike the last one, and its mask has ids that are followed already: call"
                " reset() before another video",
                stacklevel=3,
            )

    def _predict(self, image: Tensor) -> np.ndarray:
        if self._propagator is None:
            self.probabilities = None
            return np.zeros(image.shape[-2:], self._dtype)
        if self._many(len(self._ids), size_of(image)):
            self.probabilities = None
            return self._named(self._propagator.step_labels(image))
        self.probabilities = self._propagator.step(as_float(image))
        return self._label_map(self.probabilities)

    def _label_map(self, probabilities: Tensor) -> np.ndarray:
        """Most probable id of each pixel; of equals the first, background before all."""
        return self._named(probabilities.argmax(dim=0))  # the first of equals

    def _named(self, best: Tensor) -> np.ndarray:
        """Channels (H, W) -> ids."""
        rows = best.to(torch.uint8 if len(self._ids) < 256 else torch.int32).cpu().numpy()
        return np.array([0, *self._ids], self._dtype)[rows]

    def _apply(self, image: Tensor, labels: np.ndarray, given: np.ndarray, *, mode: MaskMode) -> np.ndarray:
        """Show the propagator a given mask; the frame's label map with the mask in it."""
        ids = [int(i) for i in np.unique(given) if i]
        if mode is MaskMode.REPLACE:
            self.remove([i for i in self._ids if i not in ids])
        known = list(self._ids) if mode is MaskMode.WHOLE else [i for i in ids if i in self._ids]
        new = [i for i in ids if i not in self._ids]
        if mode is MaskMode.OBJECTS and known:
            labels = self._without(image, known)
        if known:
            assert self._propagator is not None
            self._propagator.correct(self._masks(given, known), [self._ids.index(i) for i in known])
        if new and self._propagator is not None:
            self._propagator.add(self._masks(given, new))
        elif new:
            self._propagator = self._built()
            self._fresh = None
            self._propagator.start(image, self._masks(given, new))
        self._ids += new
        if mode is not MaskMode.OBJECTS:
            return given.astype(self._dtype)
        return np.where(given > 0, given, labels).astype(self._dtype)

    def _without(self, image: Tensor, ids: list[int]) -> np.ndarray:
        """The prediction where `ids` lie nowhere: their pixels go to the next best."""
        objects = [self._ids.index(i) for i in ids]
        if self.probabilities is None:
            assert self._propagator is not None
            return self._named(self._propagator.labels_without(image, objects))
        others = self.probabilities.clone()
        others[[1 + k for k in objects]] = -1
        return self._label_map(others)

    def _built(self) -> Propagator:
        """The video's propagator, or the one that will be."""
        if self._propagator is None and self._fresh is None:
            self._fresh = self._build()
        return self._propagator or self._fresh  # type: ignore[return-value]

    def _many(self, objects: int, size: tuple[int, int]) -> bool:
        """Is it better not to have maps (K+1, H, W) of so many objects?"""
        return self._built().many and 4 * (objects + 1) * size[0] * size[1] > DENSE_BYTES

    def _image(self, pixels: Tensor) -> Tensor:
        """The frame on the device, float in [0, 1]; as uint8 where it is large."""
        if pixels.dtype == torch.uint8 and 4 * pixels.numel() > DENSE_BYTES:
            return pixels.to(self.device)
        return as_image(pixels, self.device)

    def _refuse_too_many(self, given: np.ndarray, mode: MaskMode) -> None:
        """UserError where the objects of this mask, with those that are followed, do not fit into memory."""
        ids = {int(i) for i in np.unique(given) if i}
        objects = len(ids if mode is MaskMode.REPLACE else ids.union(self._ids))
        if objects > len(self._ids):
            self.refuse_too_many(objects, given.shape)

    def refuse_too_many(self, objects: int, size: tuple[int, int]) -> None:
        """Raise UserError if this number of objects on frames of `size` (H, W) does not fit into memory."""
        refuse_too_many(self._built(), self._method, objects, size, device=self.device)

    def _masks(self, given: np.ndarray, ids: list[int]) -> Tensor | LabelMasks:
        if self._many(len(ids), given.shape):
            return LabelMasks(given, ids, device=self.device)
        masks = given[None] == np.array(ids)[:, None, None]  # (K, H, W)
        return torch.from_numpy(masks).to(self.device, torch.float32)


def _mode(mode: MaskMode | str, *, replace: bool | None, whole: bool | None) -> MaskMode:
    """The mode in force; `replace` and `whole` are its old names, which warn."""
    for name, given in (("replace", replace), ("whole", whole)):
        if given is not None:
            warnings.warn(f'{name}= is now mode="{name}"', DeprecationWarning, stacklevel=4)
            mode = MaskMode(name) if given else mode
    try:
        return MaskMode(mode)
    except ValueError:
        raise UserError(f"mode={mode} is not known; use one of {', '.join(MaskMode)}") from None


@runtime_checkable
class SizedMask(Protocol):
    """A mask that becomes a label map once the size of the frames is known."""

    def at(self, size: tuple[int, int]) -> np.ndarray:
        """Return the label map (H, W)."""


class LabelMap(np.ndarray):
    """A label map whose numbers are object ids as they stand: 255 alone is object 255."""


def label_map(mask: Any, size: tuple[int, int], *, name: str = "a mask") -> np.ndarray:
    """Return a mask as a label map (H, W), uint8 or uint16.

    Args:
        mask: an integer or boolean array or tensor (H, W), or a `SizedMask`, which is read at `size`.
        size: (H, W) of the frame.
        name: what the message calls the mask.

    Raises:
        UserError: it is no label map, has another size, or an id out of 0 to 65535.
    """
    if isinstance(mask, SizedMask):
        return np.asarray(mask.at(size)).view(LabelMap)
    labels = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if labels.dtype == bool:
        labels = labels.astype(np.uint8)
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name} is {labels.dtype} {labels.shape}; give an integer (height, width) label map")
    if labels.shape != size:
        raise UserError(
            f"{name} is {by(labels.shape)} pixels and its frame {by(size)}; give a mask of the frame's size"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > LARGEST_ID:
        raise UserError(
            f"{name} has the id {low if low < 0 else high}; ids are 1 to {LARGEST_ID}, 0 is background"
        )
    if labels.dtype in (np.uint8, np.uint16):
        return labels
    return labels.astype(np.uint8 if high < 256 else np.uint16)


def one_object(labels: np.ndarray) -> np.ndarray:
    """Turn a label map of 0 and 255 alone (16-bit: 65535) into one of object 1."""
    white = 255 if labels.dtype == np.uint8 else LARGEST_ID
    if labels.max() != white or ((labels != 0) & (labels != white)).any():
        return labels
    return (labels == white).astype(np.uint8)
