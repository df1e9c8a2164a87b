from __future__ import annotations

import shutil

import numpy as np
import pytest
from fake_task import FAKE
from PIL import Image

from mamp import config, methods
from mamp.training.engine import train


@pytest.fixture
def fake_method(monkeypatch):
    """The tiny task of fake_task.py stands in for the method."""
    monkeypatch.setitem(methods.METHODS, "mamp", FAKE)


@pytest.fixture(scope="session")
def videos(tmp_path_factory):
    """Eight folders of eight noisy frames, 36x36."""
    root = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for video in range(8):
        (root / f"video{video}").mkdir()
        for frame in range(8):
            pixels = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((36, 36)).save(root / f"video{video}" / f"{frame:05d}.png")
    return root


@pytest.fixture(scope="session")
def arguments(videos):
    """What the small runs of these tests are told: 12 steps, three in an epoch, a checkpoint every 3."""
    return [
        f"data.root={videos}",
        "data.size=32",
        "data.load_size=36",
        "data.sampling=random",
        "data.clips_per_video=1",
        "data.workers=0",
        "train.batch=2",
        "train.steps=12",
        "train.log_every=2",
        "train.checkpoint_every=3",
        "train.keep=3",
        "train.lr=0.01",
        "data.augment.crop=[0.5, 1]",
        "data.augment.flip=0.5",
    ]


@pytest.fixture(scope="session")
def settings(arguments):
    """settings(key=value, ...) -> Config; a later value replaces an earlier one."""
    return lambda *more: config.load(None, [*arguments, *more])


@pytest.fixture(scope="session")
def finished(tmp_path_factory, settings):
    """A run from the first step to the last; tests read it only."""
    run = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.METHODS, "mamp", FAKE)
        train(settings(), run, quiet=True)
    return run


@pytest.fixture
def undisturbed(tmp_path, finished, fake_method):
    """The same run, one test's own."""
    return shutil.copytree(finished, tmp_path / "undisturbed")
