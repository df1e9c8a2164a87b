"""A trained network with its config, ready to segment; and the one call that segments a video in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamp import config as configs
from mamp import weights as stored
from mamp.data.frames import open_frames
from mamp.errors import UserError
from mamp.segmentation.segmenter import Segmenter
from mamp.segmentation.segment import given_masks
from mamp.segmentation.stream import Given, Timing, carry, decode_ahead

DTYPES = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Model:
    """A network, its whole config, and the device it runs on."""

    network: torch.nn.Module
    config: configs.Config
    device: torch.device

    def segmenter(self) -> Segmenter:
        """A fresh segmenter for one video."""
        return Segmenter(self.network, self.config.method, device=self.device, dtype=DTYPES[self.config.evaluate.amp])


def load(
    weights: Path | str | None = None,
    *,
    device: str = "auto",
    overrides: Sequence[str] = (),
    dataset: str = "",
) -> Model:
    """The network in `weights`, with the config kept there and `overrides` (`key=value`) over it.

    weights: a file, a run folder, or the name of a shipped one; None is the one shipped for `method.name`.
    device: auto, cpu, cuda, cuda:N or mps. dataset: chooses what a preset says for that data set.

    Raises UserError when the weights or the device are not there, or do not fit.
    """
    where = pick_device(device)
    if weights is None:
        method = configs.load(None, overrides).method.name
        if method not in stored.names():
            raise UserError(f"no weights of method {method} come with the package; name a file of weights (--weights)")
        weights = method
    found = stored.read(weights)
    config = configs.load(None, overrides, dataset=dataset, base={"method": found.method})
    return Model(stored.load_model(found, config.method), config, where)


def pick_device(name: str) -> torch.device:
    """`auto` (cuda, else mps, else cpu) or a device by name; UserError when it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, present in there.items() if present))
    kind, _, number = name.partition(":")
    if kind not in there or (number and not number.isdigit()):
        raise UserError(f"device {name} is not known; use auto, cpu, cuda or mps")
    if not there[kind] or (kind == "cuda" and number and int(number) >= torch.cuda.device_count()):
        raise UserError(f"device {name} is not on this machine; use auto or cpu")
    return torch.device(name)


def segment_video(
    video: Any,
    masks: Any,
    *,
    weights: Path | str | Model | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> Iterator[tuple[str | int, np.ndarray]]:
    """(name, label map (H, W)) of every frame, as they come; nothing of the video is held but the memory.

    video: a folder of images or a video file (then names are those of the frames), or anything that gives frames one by
    one, as `Segmenter.step` takes them: a list, an array (T, H, W, 3), a tensor (T, 3, H, W), a generator (then the name
    is the frame's number from 0). masks: a PNG for the first frame or a folder of PNGs named like frames; a label map for
    the first frame; or a mapping from frame number to label map or PNG. weights: as `load` takes, or what it gave.

    Raises UserError for weights, frames and masks that cannot be used.
    """
    model = weights if isinstance(weights, Model) else load(weights, device=device, overrides=overrides)
    if not isinstance(video, (str, Path)):
        given = _given(masks, ())
        return ((index, labels) for index, _, labels in carry(enumerate(video), given, model.segmenter()))
    return _from_files(Path(video), masks, model)


def _from_files(video: Path, masks: Any, model: Model) -> Iterator[tuple[str, np.ndarray]]:
    with open_frames(video, bad_frame=model.config.evaluate.bad_frame) as source:
        frames: Iterable[tuple[int, np.ndarray]] = decode_ahead(source.stream(), Timing())
        for index, _, labels in carry(frames, _given(masks, source.names), model.segmenter(), names=source.names):
            yield source.names[index], labels


def _given(masks: Any, names: Sequence[str]) -> dict[int, Given]:
    """Frame index -> mask, from every form a caller may give."""
    if isinstance(masks, (str, Path)):
        return given_masks(Path(masks), names)
    if not isinstance(masks, Mapping):
        return {0: Given("the mask", lambda: masks)}
    given: dict[int, Given] = {}
    for index, mask in masks.items():
        if isinstance(mask, (str, Path)):
            given[index] = given_masks(Path(mask), ())[0]
        else:
            given[index] = Given(f"the mask of frame {index}", lambda mask=mask: mask)
    return given
