"""Every recorded output of the published label-propagation scripts, through the package's own presets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mamp import config
from mamp.methods.probe.config import ProbeConfig
from mamp.methods.probe.frames import input_size, normalise, prepare
from mamp.methods.probe.grids import to_grid
from mamp.methods.probe.propagator import ProbePropagator
from mamp.video.masks import PALETTE

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
Arrays = Mapping[str, np.ndarray]
PRESETS = ("dino", "dinov3", "crw", "vfs", "dul")
COARSE_FIRST = ("crw", "dul")  # frame 0 is written as the first labels come back from the grid


class Recorded(torch.nn.Module):
    """Gives recorded features, one frame after another."""

    normalises, patch = True, 1

    def __init__(self, features: np.ndarray, stride: int) -> None:
        super().__init__()
        self.waiting, self.stride = list(torch.from_numpy(features)), stride

    def forward(self, images: Tensor) -> Tensor:
        return self.waiting.pop(0)[None]


def preset(name: str, *more: str) -> ProbeConfig:
    """A preset, with changes."""
    found = config.load(None, ["method=probe", f"method.preset={name}", *more]).method
    assert isinstance(found, ProbeConfig)
    return found


def run(inputs: Arrays, seed: str) -> dict[str, np.ndarray]:
    """Every `out.*` array that these inputs allow; the seed is not used, nothing is random here."""
    out: dict[str, np.ndarray] = {}
    for case in ("a", "b"):
        if f"in.{case}_feats" in inputs:
            for name in PRESETS:
                out.update(_propagation(inputs, case, name))
    if "in.image" in inputs:
        out.update(_preparation(inputs))
    if "in.sizes" in inputs:
        out.update(_sizes(inputs["in.sizes"]))
    if "in.c_mask" in inputs:
        out.update(_first_labels(inputs))
    return out


def _settings(inputs: Arrays, case: str) -> list[str]:
    if case == "a":
        return []
    context, radius, top_k, temperature = inputs[f"in.{case}_settings"].tolist()
    values = {"context": int(context), "radius": int(radius), "top_k": int(top_k), "temperature": temperature}
    return [f"method.propagation.{key}={value}" for key, value in values.items()]


def _one_hot(mask: np.ndarray) -> tuple[list[int], Tensor]:
    """Ids with background, and (K+1, H, W)."""
    ids = [0, *(int(i) for i in np.unique(mask) if i)]
    return ids, torch.from_numpy(mask[None] == np.array(ids)[:, None, None]).float()


@torch.inference_mode()
def _propagation(inputs: Arrays, case: str, name: str) -> dict[str, np.ndarray]:
    features, mask = inputs[f"in.{case}_feats"], inputs[f"in.{case}_mask"]
    # features are given, so the grid does not come from the frame's size
    method = preset(name, "method.input.rule=native", *_settings(inputs, case))
    propagator = ProbePropagator(Recorded(features, int(inputs[f"in.{case}_stride"])), method)
    ids, masks = _one_hot(mask)
    frame = torch.zeros(3, *mask.shape)
    soft, labels = [], []
    for t in range(len(features)):
        if t == 0:
            propagator.start(frame, masks[1:])
            probabilities = masks
            if name in COARSE_FIRST:
                probabilities = propagator._to_frame(propagator.pending.scores, mask.shape)
        else:
            probabilities = propagator.step(frame)
        soft.append(propagator.pending.scores.numpy())
        labels.append(_label_map(probabilities, ids, name))
    channels = _channels(np.stack(soft), ids, name)
    return {f"out.{case}_{name}_soft": channels, f"out.{case}_{name}_labels": np.stack(labels)}


def _label_map(probabilities: Tensor, ids: list[int], name: str) -> np.ndarray:
    order = _colour_order(ids) if name == "crw" else list(range(len(ids)))  # of equals the first wins
    winner = probabilities[order].argmax(0).numpy()
    return np.array(ids, np.uint8)[order][winner]


def _colour_order(ids: list[int]) -> list[int]:
    """CRW's channels: ids in the order of their colours as (blue, green, red)."""
    return sorted(range(len(ids)), key=lambda n: tuple(PALETTE[ids[n]][::-1]))


def _channels(soft: np.ndarray, ids: list[int], name: str) -> np.ndarray:
    """(T, K+1, h, w) -> (T, M, h, w): one channel an id up to the largest, as each script has them."""
    if name == "crw":
        return soft[:, _colour_order(ids)]
    largest = max(ids)
    if name in ("dino", "vfs"):  # they look for it on the grid
        largest = max(i for n, i in enumerate(ids) if i == 0 or soft[0, n].any())
    full = np.zeros((len(soft), largest + 1, *soft.shape[2:]), np.float32)
    kept = [n for n, i in enumerate(ids) if i <= largest]
    full[:, [ids[n] for n in kept]] = soft[:, kept]
    return full


def _preparation(inputs: Arrays) -> dict[str, np.ndarray]:
    frame = torch.from_numpy(inputs["in.image"]).permute(2, 0, 1).float() / 255
    dino, dinov3, _, vfs = (int(side) for side in inputs["in.prep_short"])
    cases = {
        "dino": preset("dino", f"method.input.short={dino}"),
        "dinov3": preset("dinov3", f"method.input.short={dinov3}"),
        "crw": preset("crw"),
        "crw_square": preset("crw", "method.input.rule=fixed", "method.input.size=[64,64]"),
        "vfs": preset("vfs", f"method.input.short={vfs}"),
    }
    out = {}
    for name, method in cases.items():
        size = input_size(tuple(frame.shape[-2:]), method.input, patch=16)
        out[f"out.prep_{name}"] = normalise(prepare(frame, size, method.input), method.input).numpy()
    return out


def _sizes(sizes: np.ndarray) -> dict[str, np.ndarray]:
    pairs = [(int(h), int(w)) for h, w in sizes]

    def table(name: str) -> np.ndarray:
        return np.array([input_size(pair, preset(name).input, patch=16) for pair in pairs])

    return {
        "out.sizes_dino": table("dino"),
        "out.sizes_dino_seg8": np.array([dino_label_grid(pair, 480, 8) for pair in pairs]),
        "out.sizes_dinov3": table("dinov3"),
        "out.sizes_vfs": table("vfs"),
    }


def _first_labels(inputs: Arrays) -> dict[str, np.ndarray]:
    grid = tuple(int(side) for side in inputs["in.c_grid"])
    ids, masks = _one_hot(inputs["in.c_mask"])
    out = {}
    for name in ("dino", "dinov3", "crw", "vfs"):
        how = preset(name).propagation.first_labels
        found = _channels(
            to_grid(masks, grid, how=how, between=tuple(masks.shape[-2:]))[None].numpy(), ids, name
        )[0]
        out[f"out.c_{name}"] = found if name == "crw" else found.astype(np.uint8)
    out["out.c_crw_ids"] = np.array(ids)[_colour_order(ids)]
    ids, masks = _one_hot(inputs["in.c_dul_mask"])
    how = preset("dul").propagation.first_labels
    soft = to_grid(masks, grid, how=how, between=grid)[None].numpy()
    found = np.zeros((1, 7, *grid), np.float32)
    found[:, : max(ids) + 1] = _channels(soft, ids, "dul")
    out["out.c_dul"] = found[0, :4]
    return out


def dino_label_grid(size: tuple[int, int], short: int, patch: int) -> tuple[int, int]:
    """The grid (h, w) that DINO's script gives the first mask: transposed for a square frame, which it
    garbles.
    """
    height, width = size
    if width > height:
        th, tw = short, int(short * width / height) // 64 * 64
    else:
        th, tw = int(short * height / width) // 64 * 64, short
    return th // patch, tw // patch
