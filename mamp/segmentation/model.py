"""A trained network with its config, ready to segment; and the one call that segments a video in Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamp import config as configs
from mamp import methods
from mamp import weights as stored
from mamp.core.devices import amp_dtype, pick_device, single_precision
from mamp.core.errors import UserError
from mamp.ops.folding import fold_batch_norms
from mamp.segmentation.baseline import CopySegmenter
from mamp.segmentation.segment import given_masks
from mamp.segmentation.segmenter import Segmenter
from mamp.segmentation.stream import Given, Timing, carry, decode_ahead
from mamp.video.frames import open_frames


@dataclass(frozen=True)
class Model:
    """A network, its whole config, the device it runs on, and the weights it came from."""

    network: torch.nn.Module = field(repr=False)
    config: configs.Config = field(repr=False)
    device: torch.device
    weights: stored.Weights | None = None

    def segmenter(self) -> Segmenter:
        """A fresh segmenter for one video."""
        dtype = amp_dtype(self.config.evaluate.amp, self.device)
        return Segmenter(self.network, self.config.method, device=self.device, dtype=dtype)

    def run_info(self) -> dict[str, Any]:
        """What masks depend on, as JSON for `evaluate`: the config, and the weights' checksum and
        provenance.
        """
        info: dict[str, Any] = {"config": self.config.model_dump(mode="json")}
        if (label := self.config.method.label()) is not None:
            untrained = self.weights is not None and self.weights.provenance.get("untrained")
            info["name"] = label + (" untrained" if untrained else "")
        if self.weights is not None:
            info["weights"] = {"sha256": checksum(self.weights.state), "provenance": self.weights.provenance}
        return info


@dataclass(frozen=True)
class Copy:
    """Stands where a `Model` does and repeats the first mask."""

    config: configs.Config
    device: torch.device = torch.device("cpu")

    def segmenter(self) -> CopySegmenter:
        """A fresh one for one video."""
        return CopySegmenter()

    def run_info(self) -> dict[str, Any]:
        """As `Model.run_info`; nothing of a network."""
        return {"baseline": "copy", "config": self.config.model_dump(mode="json", include={"evaluate"})}


def checksum(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a state dict's names, types, shapes and values, whatever file holds them."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@single_precision
def load(
    weights: Path | str | None = None,
    *,
    device: str = "auto",
    overrides: Sequence[str] = (),
    dataset: str = "",
) -> Model:
    """The network in `weights`, with the config kept there and `overrides` (`key=value`) over it.

    weights: a file, a run folder, or the name of a shipped one; None is the one shipped for `method.name`.
    What they say of the network holds; how it propagates is the preset's and the overrides'.
    device: auto, cpu, cuda, cuda:N or mps. dataset: chooses what a preset says for that data set.

    Raises UserError when the weights or the device are not there, or do not fit.
    """
    where = pick_device(device)
    own = _without_weights_of_its_own(weights, overrides, dataset=dataset)
    if own is not None:
        return Model(_compiled(own[0], own[1]), own[1], where, own[2])
    if weights is None:
        weights = stored.default_for(configs.load(None, overrides).method.name)
    found = stored.read(weights)
    if (named := configs.named_method(overrides)) is not None:
        stored.expect_method(found, named)
    config = configs.load(None, overrides, dataset=dataset, base={"method": found.method})
    return Model(_network(found, config), config, where, found)


def _network(found: stored.Weights, config: configs.Config) -> torch.nn.Module:
    network = stored.load_model(found, config.method)
    return _compiled(network, config)


def _compiled(network: torch.nn.Module, config: configs.Config) -> torch.nn.Module:
    if config.evaluate.compile:
        network.compile()  # in place
        if isinstance(distilled := getattr(network, "distilled", None), torch.nn.Module):
            distilled.compile()
    return network


def _without_weights_of_its_own(
    weights: Path | str | None, overrides: Sequence[str], *, dataset: str
) -> tuple[torch.nn.Module, configs.Config, stored.Weights] | None:
    """Network, config and weights of a method that needs no weights, or that starts from the trunk in
    `weights`.
    """
    named = configs.named_method(overrides)
    if weights is not None and (named is None or methods.get(named).needs_weights):
        return None  # the weights say which method and settings they are of
    config = configs.load(None, overrides, dataset=dataset)
    method = methods.get(config.method.name)
    if weights is None and method.needs_weights:
        return None
    if weights is None:
        network = fold_batch_norms((method.pretrained or method.build_model)(config.method))
        kept = config.method.model_dump(mode="json")
        return network, config, stored.Weights(Path("own"), network.state_dict(), kept)
    if method.on_trunk is None:
        raise UserError(f"method {method.name} needs no weights; leave {weights} out")
    found = stored.read(weights)
    trunk = configs.load(None, base={"method": found.method}).method
    config = configs.load(
        None, overrides, dataset=dataset, base={"method": {"name": method.name, "encoder": trunk.name}}
    )
    return method.on_trunk(stored.load_model(found, trunk), trunk, config.method), config, found


@single_precision
def choose(
    weights: Path | str | None,
    baseline: str | None,
    *,
    device: str = "auto",
    overrides: Sequence[str] = (),
    dataset: str = "",
) -> Model | Copy:
    """What `load` gives for `weights`; or a baseline: `copy`, or `untrained`, the network as `train.seed`
    begins it.

    Raises UserError as `load` does.
    """
    if baseline is None:
        return load(weights, device=device, overrides=overrides, dataset=dataset)
    where, config = pick_device(device), configs.load(None, overrides, dataset=dataset)
    if baseline == "copy":
        return Copy(config)
    if baseline != "untrained":
        raise UserError(f"baseline {baseline} is not known; use copy or untrained")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        state = methods.get(config.method.name).build_model(config.method).state_dict()
    made = {"untrained": True, "seed": config.train.seed}
    fresh = stored.Weights(Path("untrained"), state, config.method.model_dump(mode="json"), made)
    return Model(_network(fresh, config), config, where, fresh)


def segment_video(
    video: Any,
    masks: Any,
    *,
    weights: Path | str | Model | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> Iterator[tuple[str | int, np.ndarray]]:
    """(name, label map (H, W)) of every frame, as they come; nothing of the video is held but the memory.

    video: a folder of images or a video file (then names are those of the frames), or anything that gives
    frames one by
    one, as `Segmenter.step` takes them: a list, an array (T, H, W, 3), a tensor (T, 3, H, W), a generator
    (then the name is the frame's number from 0). masks: a PNG for the first frame or a folder of PNGs named
    like frames; a label map for the first frame; or a mapping from frame number to label map or PNG. weights:
    as `load` takes, or what it gave.

    Raises UserError for weights, frames and masks that cannot be used.
    """
    model = weights if isinstance(weights, Model) else load(weights, device=device, overrides=overrides)
    if not isinstance(video, (str, Path)):
        given = _given(masks, ())
        return ((index, labels) for index, _, labels in carry(enumerate(video), given, model.segmenter()))
    return _from_files(Path(video), masks, model)


def _from_files(video: Path, masks: Any, model: Model) -> Iterator[tuple[str, np.ndarray]]:
    with open_frames(video, bad_frame=model.config.evaluate.bad_frame) as source:
        given = _given(masks, source.names)
        with closing(decode_ahead(source.stream(), Timing())) as frames:
            for index, _, labels in carry(frames, given, model.segmenter(), names=source.names):
                yield source.names[index], labels


def _given(masks: Any, names: Sequence[str]) -> dict[int, Given]:
    """Frame index -> mask, from every form a caller may give."""
    if isinstance(masks, (str, Path)):
        return given_masks(Path(masks), names)
    if not isinstance(masks, Mapping):
        return {0: Given("the mask", partial(_same, masks))}
    given: dict[int, Given] = {}
    for index, mask in masks.items():
        if isinstance(mask, (str, Path)):
            given[index] = given_masks(Path(mask), ())[0]
        else:
            given[index] = Given(f"the mask of frame {index}", partial(_same, mask))
    return given


def _same(mask: Any) -> Any:
    return mask
