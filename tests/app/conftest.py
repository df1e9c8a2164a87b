"""A small video, a network with random weights that is fast on it, and what is made of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from app_world import FRAMES, QUICK, SIZE, SMALL
from PIL import Image

from mamp import config, weights
from mamp.app.engine import Engine
from mamp.app.project import Project
from mamp.methods.mamp.encoder import build_model
from mamp.segmentation.model import Model, load
from mamp.video.frames import open_frames


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    """Seven JPEGs of a texture that moves."""
    folder = tmp_path_factory.mktemp("app") / "clip"
    folder.mkdir()
    patches = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(patches).resize(SIZE[::-1], Image.Resampling.BICUBIC))
    for i in range(FRAMES):
        Image.fromarray(np.roll(still, i, axis=1)).save(folder / f"{i:05d}.jpg")
    return folder


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(0)
    state = build_model(config.load(None, base={"method": SMALL}).method).state_dict()
    weights.save(path, state, method=SMALL, provenance={})
    return path


@pytest.fixture(scope="session")
def model(small_weights) -> Model:
    return load(small_weights, device="cpu", overrides=QUICK)


@pytest.fixture
def project(video, tmp_path):
    with open_frames(video) as source:
        project = Project(tmp_path / "work", source)
    project.add_object("left")
    project.add_object()
    yield project
    project.close()


@pytest.fixture
def on_change() -> list[Callable[[], object]]:
    """What the engine of a test calls after each change."""
    return []


@pytest.fixture
def engine(project, video, model, on_change) -> Engine:
    changed = lambda: [react() for react in on_change]  # noqa: E731
    return Engine(project, open_frames(video), model.segmenter, changed=changed)


@pytest.fixture
def drawn() -> np.ndarray:
    """Two objects."""
    labels = np.zeros(SIZE, np.uint8)
    labels[5:20, 5:25], labels[22:38, 30:50] = 1, 2
    return labels
