"""A video with masks beside small random weights of a method, and the commands that people use on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mamp import config, methods, weights
from mamp.cli import main


def make_world(root: Path, write_clip: Callable[..., None], method: dict[str, Any], *, frames: int) -> Path:
    """`root` with the video `clip`, 48x64, two objects, and small.safetensors of the method."""
    write_clip(root, "clip", seed=0, frames=frames, size=(48, 64))
    save_weights(root / "small.safetensors", method)
    return root


def save_weights(path: Path, method: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = methods.get(method["name"]).build_model(config.load(None, base={"method": method}).method)
    weights.save(path, model.state_dict(), method=method, provenance={})


def run(*words: object) -> int:
    return main([str(word) for word in words])


def segment(world: Path, out: Path, *more: object, with_weights: Path | None = None) -> int:
    """`mamp segment` of the video from its first mask on."""
    source, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    chosen = with_weights or world / "small.safetensors"
    return run("segment", source, "--mask", mask, "--out", out, "--weights", chosen, "--device", "cpu", *more)


def train_and_evaluate(world: Path, out: Path, recipe: Path, network: str) -> None:
    """Two steps of the recipe with a network that small inputs suit, and its evaluation on what it was
    trained on, in `out`.
    """
    knobs = ["train.steps=2", "train.batch=2", "data.box=[32, 48]", "data.repeat=[2]", "train.warmup=0"]
    place = ["--device", "cpu", "--quiet"]
    learnt = out / "run"
    knobs += [f"data.root={world}", f"method.network={network}"]
    assert run("train", recipe, "--run", learnt, *place, *knobs) == 0
    assert run("evaluate", "folder", world, "--out", out, "--weights", learnt, *place) == 0
