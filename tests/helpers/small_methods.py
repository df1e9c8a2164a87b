"""Every method of the registry, small enough for tests. A method that is not in `SMALL` is taken as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mamp import config, methods, weights
from mamp.config import Config
from mamp.methods.base import Propagator

NAMES = list(methods.METHODS)
TRAINED = methods.having("task")


@dataclass(frozen=True)
class Small:
    """Settings of one method. network: what weights keep. propagation: chosen anew. training: of a run."""

    network: Sequence[str] = ()
    propagation: Sequence[str] = ()
    training: Sequence[str] = ()


RESNET = "backbone: resnet18, width: 0.125, decoder: 8"
SMALL = {
    "mamp": Small(
        ["method.encoder.width=0.125", "method.encoder.features=8"], ["method.propagation.radius=6"]
    ),
    "stm": Small(
        [f"method.network={{{RESNET}, key: 8, value: 8}}"],
        ["method.propagation.max_frames=3", "method.propagation.every=2"],
    ),
    "afb_urr": Small(
        [f"method.network={{{RESNET}, key: 8, value: 8, local: 4}}"],
        ["method.propagation.budget=120"],
        ["method.training.frames=3"],
    ),
    "ssm": Small(
        [f"method.network={{{RESNET}, top_k: 4, context: centred}}"],
        ["method.propagation.input_size=[32, 48]"],
        ["data.sampling=reference", "train.schedule=steps", "train.decay_every=1"],
    ),
    "probe": Small([f"method.encoder={Path(__file__)}:tiny_encoder", "method.input.rule=native"]),
}
RUN = (
    "data.fit=letterbox", "data.box=[32, 48]", "data.size=32", "data.workers=0",
    "train.batch=2", "train.warmup=0",
)  # fmt: skip


def tiny_encoder() -> nn.Module:
    """Features at stride 8; the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 9, 8, padding=4), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))


def words(name: str) -> list[str]:
    """The settings that segmenting with small weights of the method takes, `key=value`."""
    small = SMALL.get(name, Small())
    own = [] if methods.get(name).needs_weights else small.network  # else the weights say them
    return [f"method.name={name}", *own, *small.propagation]


def settings(name: str, *more: str) -> Config:
    """The config of the method, small; `more` are `key=value` over it."""
    small = SMALL.get(name, Small())
    return config.load(None, [f"method.name={name}", *small.network, *small.propagation, *more])


def run_settings(name: str, root: Path, *more: str) -> Config:
    """The config of a training run on the videos below `root`."""
    return settings(name, f"data.root={root}", *RUN, *SMALL.get(name, Small()).training, *more)


def network(name: str) -> nn.Module:
    """The network with random weights, the same every time, ready to segment."""
    torch.manual_seed(0)
    with torch.inference_mode(False):
        return methods.get(name).build_model(settings(name).method).eval()


def propagator(name: str, *more: str, dtype: torch.dtype | None = None) -> Propagator:
    """A new propagator of the method, on the CPU."""
    return methods.get(name).build_propagator(network(name), settings(name, *more).method, dtype=dtype)


def weights_if_needed(name: str, folder: Path) -> Path | None:
    """Weights of the network for `--weights`, in `folder`; None for a method that needs none."""
    return write_weights(name, folder / "small.safetensors") if methods.get(name).needs_weights else None


def write_weights(name: str, path: Path) -> Path:
    """Write the network's weights, as a file of ours."""
    method = settings(name).method.model_dump(mode="json")
    weights.save(path, network(name).state_dict(), method=method, provenance={})
    return path
