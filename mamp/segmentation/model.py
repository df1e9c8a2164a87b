"""Load a network with its settings, and segment a video with one call."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from mamp import config as configs
from mamp import methods
from mamp import weights as stored
from mamp.core.devices import amp_dtype, pick_device, single_precision, slow_amp
from mamp.core.errors import UserError
from mamp.core.progress import say_once
from mamp.ops.folding import fold_batch_norms
from mamp.segmentation.baseline import CopySegmenter
from mamp.segmentation.given import MaskLog, given_masks
from mamp.segmentation.listed import Listed, is_listed, numbers_of, streamed
from mamp.segmentation.segmenter import Segmenter
from mamp.segmentation.stream import Given, Timing, carry
from mamp.segmentation.unfinished import Work
from mamp.segmentation.ways import Carrier, Frames, Plan
from mamp.video.camera import camera_frames, camera_number
from mamp.video.first_masks.reading import Reader
from mamp.video.frames import open_frames
from mamp.video.parts import Part, Place, find
from mamp.weights import published


@dataclass(frozen=True)
class Model:
    """A network with its settings and weights, ready to segment. `mamp.load` returns one.

    Attributes:
        network: the network, in evaluation mode.
        config: all settings, resolved.
        device: where it runs.
        weights: what was read from the weights file; None for a method that needs none.
        joined: name -> SHA-256 of the weights of encoders that the method's own is joined with.
    """

    network: torch.nn.Module = field(repr=False)
    config: configs.Config = field(repr=False)
    device: torch.device
    weights: stored.Weights | None = None
    joined: Mapping[str, str] = field(default_factory=dict)  # other encoders and their weights' checksums

    def segmenter(self) -> Segmenter:
        """Return a new `Segmenter`. Use one per video."""
        amp = self.config.evaluate.amp
        dtype = amp_dtype(amp, self.device)
        if (warning := slow_amp("evaluate.amp", amp, self.device)) is not None:
            say_once(warning)
        return Segmenter(self.network, self.config.method, device=self.device, dtype=dtype)

    def run_info(self) -> dict[str, Any]:
        """Return what the masks depend on, for `run.json`: settings, checksum and provenance of the weights.

        Returns:
            A mapping that can be written as JSON, with the keys `config`, `weights`, `name` and `joined`.
            Keys that do not apply are missing.
        """
        info: dict[str, Any] = {"config": self.config.model_dump(mode="json")}
        if (label := self.config.method.label()) is not None:
            untrained = self.weights is not None and self.weights.provenance.get("untrained")
            info["name"] = label + (" untrained" if untrained else "")
        if self.weights is not None:
            info["weights"] = {"sha256": checksum(self.weights.state), "provenance": self.weights.provenance}
        if self.joined:
            info["joined"] = dict(self.joined)
        return info


@dataclass(frozen=True)
class Copy:
    """The baseline `copy`: stands in for a `Model` and repeats the first mask."""

    config: configs.Config
    device: torch.device = torch.device("cpu")

    def segmenter(self) -> CopySegmenter:
        """Return a new segmenter. Use one per video."""
        return CopySegmenter()

    def run_info(self) -> dict[str, Any]:
        """Return what the masks depend on, as `Model.run_info` does."""
        return {"baseline": "copy", "config": self.config.model_dump(mode="json", include={"evaluate"})}


def checksum(state: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of a state dict's names, types, shapes and values, whatever file holds them."""
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
    fetch: bool = False,
) -> Model:
    """Load a network and the settings kept with its weights.

        model = mamp.load("mamp-small", device="cpu", overrides=["method.preset=fast"])
        segmenter = model.segmenter()

    The network's settings come from the weights. How masks are propagated comes from the preset, then from
    `overrides`.

    Args:
        weights: a weights file, a run folder, or the name of shipped or published weights (`mamp weights
            list`). None loads the weights that ship for `method.name`, by default those of `mamp`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. `auto` takes a GPU where there is one.
        overrides: settings as on the command line, such as `"method.propagation.top_k=10"`. Later ones win.
        dataset: the data set whose preset values are used, such as `davis2017`. Empty for your own video.
        fetch: download published weights that are not on this machine.

    Returns:
        A `Model`. Call its `segmenter()` once for each video.

    Raises:
        UserError: the weights are missing, damaged or of another method; a setting is unknown or out of its
            range; the device is not there.
    """
    where = pick_device(device)
    if fetch:
        if weights is None:
            raise UserError("--fetch needs the name of published weights; give it with --weights")
        published.bring(str(weights))
    own = _without_weights_of_its_own(weights, overrides, dataset=dataset)
    if own is not None:
        return Model(_compiled(own[0], own[1]), own[1], where, own[2])
    if weights is None:
        weights = stored.default_for(configs.load(None, overrides).method.name)
    found = stored.read(weights)
    if (named := configs.named_method(overrides)) is not None:
        stored.expect_method(found, named)
    config = configs.load(None, overrides, dataset=dataset, base={"method": found.method})
    if (plain := stored.without_distilled(found)) is not found and not config.method.reads_distilled():
        # as if they had none: an evaluation that was begun with such weights goes on
        found, config = plain, configs.load(None, overrides, dataset=dataset, base={"method": plain.method})
    return _with_others(Model(_network(found, config), config, where, found))


def _with_others(model: Model) -> Model:
    """The model with the encoders in its network that its config joins to the method's own."""
    attach = methods.get(model.config.method.name).attach
    if attach is None:
        return model
    return replace(model, joined=attach(model.network, model.config.method, device=model.device))


def _network(found: stored.Weights, config: configs.Config) -> torch.nn.Module:
    network = stored.load_model(found, config.method)
    return _compiled(network, config)


def _compiled(network: torch.nn.Module, config: configs.Config) -> torch.nn.Module:
    if config.evaluate.compile:  # in place
        entries = vars(type(network)).get("entries", ())  # what is called in place of forward
        for name in entries:
            setattr(network, name, torch.compile(vars(type(network))[name].__get__(network)))
        if not entries:
            network.compile()
        if (distilled := dict(network.named_children()).get("distilled")) is not None:
            distilled.compile()
    return network


def _without_weights_of_its_own(
    weights: Path | str | None, overrides: Sequence[str], *, dataset: str
) -> tuple[torch.nn.Module, configs.Config, stored.Weights] | None:
    """Network, config and weights of a method without a weights file, or that starts from a trunk."""
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
    fetch: bool = False,
) -> Model | Copy:
    """Load weights as `load` does, or a baseline that needs none.

    Args:
        weights: as `load` takes them.
        baseline: `copy` repeats the first mask; `untrained` is the network as `train.seed` initialises it;
            None loads `weights`.
        device: as `load` takes it.
        overrides: as `load` takes them.
        dataset: as `load` takes it.
        fetch: as `load` takes it.

    Returns:
        A `Model`, or `Copy` for the baseline `copy`.

    Raises:
        UserError: the baseline is unknown, or as `load` raises it.
    """
    if baseline is None:
        return load(weights, device=device, overrides=overrides, dataset=dataset, fetch=fetch)
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
    return _with_others(Model(_network(fresh, config), config, where, fresh))


_OR_ELSE = 'or pass overrides=["evaluate.bad_frame=skip"] (or repeat)'


def segment_video(
    video: Any,
    masks: Any,
    *,
    weights: Path | str | Model | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    start: Place | None = None,
    end: Place | None = None,
    every: int = 1,
    max_frames: int | None = None,
    at: Place | None = None,
    direction: str | None = None,
    stream: int | None = None,
) -> Iterator[tuple[str | int, np.ndarray]]:
    """Segment a video: return an iterator over (name, label map) of every frame, in order.

        for name, labels in mamp.segment_video("video.mp4", "first_mask.png"):
            mamp.write_mask(f"masks/{name}.png", labels)

    Frames are read and segmented as the iterator advances. Memory use does not grow with the length of the
    video. With `direction` `backward` or `both`, label maps wait in a temporary folder.

    Args:
        video: one of these:

            - a video file or a folder of images;
            - a list of frames, an array (T, H, W, 3) or a tensor (T, 3, H, W), each frame as
              `Segmenter.step` takes it;
            - a generator of frames, which is read forward once;
            - a camera: its number, or "camera:0".
        masks: one of these:

            - the mask of one frame, in any form that `mamp.read_mask` takes;
            - a list of files with one object each;
            - a folder of masks that are named like frames;
            - a mapping from frame number or frame name to mask. Numbers count the frames used, from 0.
        weights: as `load` takes them, or a `Model` that `load` returned.
        device: as `load` takes it. Ignored when `weights` is a `Model`.
        overrides: as `load` takes them. Ignored when `weights` is a `Model`.
        start: the first frame to use: its number from 0; for a file or folder also its name, a time such as
            "1:02.5" or "12s", or seconds as a float. None is the first frame of the video.
        end: the last frame to use, included, in the same forms. None is the last frame of the video.
        every: use every n-th frame, 1 or more.
        max_frames: stop after this number of frames.
        at: the frame that a single mask belongs to, in the same forms as `start`. None is the first frame
            used.
        direction: `forward`, `backward` or `both`. None is `both` if the first mask is for a later frame,
            otherwise `forward`. A generator or a camera goes `forward` only.
        stream: which video stream of a file, from 0. None is the stream with the most pixels.

    Returns:
        An iterator over (name, labels). `name` is the frame's file name without suffix, five digits for a
        frame of a video file, or the frame's number for a list, an array or a generator. `labels` is a label
        map (H, W) of the frame's size, uint8, or uint16 when an id is above 255; 0 is background.

    Raises:
        UserError: the weights, a frame, a mask or a place cannot be used. It may be raised while you iterate.
    """
    model = weights if isinstance(weights, Model) else load(weights, device=device, overrides=overrides)
    part = Part(start, end, every, max_frames).checked()
    if (number := camera_number(video)) is not None:
        video = camera_frames(number)
    if isinstance(video, (str, Path)):
        policy = model.config.evaluate.bad_frame
        source = part.of(open_frames(video, bad_frame=policy, stream=stream, or_else=_OR_ELSE))
        source.refuse_mixed_sizes()
        index = 0 if at is None else find(at, source, option="at")
        plan = Plan.of(_given(masks, source.names, index=index), direction)
        return ((source.names[i], labels) for i, labels in _carried(source, plan, model))
    if is_listed(video):
        listed = Listed(video, numbers_of(part, len(video)))
        plan = Plan.of(_given(masks, (), index=listed.place(at)), direction)
        return ((listed.numbers[i], labels) for i, labels in _carried(listed, plan, model))
    if direction not in (None, "forward") or at is not None:
        raise UserError(
            "frames from a generator are carried forward from the first one; give a list for"
            f" {'at' if at is not None else 'direction'}={at if at is not None else direction}"
        )
    return _from_stream(streamed(video, part), _given(masks, ()), model)


def _from_stream(
    frames: Iterator[tuple[int, Any]], given: dict[int, Given], model: Model
) -> Iterator[tuple[int, np.ndarray]]:
    numbers: list[int] = []

    def counted() -> Iterator[tuple[int, Any]]:
        for index, (number, frame) in enumerate(frames):
            numbers[:] = [number]
            yield index, frame

    for _, _, labels in carry(counted(), given, model.segmenter()):
        yield numbers[0], labels


def _carried(source: Frames, plan: Plan, model: Model) -> Iterator[tuple[int, np.ndarray]]:
    """(index, label map) of every frame; the label maps of a backward run wait in a temporary folder."""
    with TemporaryDirectory(prefix="mamp-") as folder:
        carrier = Carrier(source, plan, model.segmenter, Work(Path(folder)), Timing(), pixels=False)
        with closing(carrier.frames()) as frames:
            for made in frames:
                assert made.labels is not None
                yield made.index, made.labels


def _given(masks: Any, names: Sequence[str], *, index: int = 0) -> dict[int, Given]:
    """Frame index -> mask, from every form a caller may give."""
    reader, log = Reader(), MaskLog()
    if not isinstance(masks, Mapping):
        return given_masks(masks, names, index=index, reader=reader, log=log)
    given: dict[int, Given] = {}
    for key, mask in masks.items():
        number = _frame_number(key, names)
        given[number] = given_masks(mask, (), index=number, reader=reader, log=log)[number]
    return given


def _frame_number(key: Any, names: Sequence[str]) -> int:
    """The index of a frame that a mapping calls by its number, its name or its file."""
    if not isinstance(key, (str, Path)):
        return int(key)
    stem = Path(key).stem if Path(key).suffix else str(key)
    if stem not in names:
        there = (
            f"; frames are named {names[0]} to {names[-1]}" if names else ", and these frames have no names"
        )
        raise UserError(f"no frame is called {key}{there}; give a frame's name or its number")
    return names.index(stem)
