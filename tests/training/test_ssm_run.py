"""Runs of SSM-VOS by the engine: clips of a reference, steps of the rate, and masks from what was learnt."""

import numpy as np
import pytest
from PIL import Image
from runs import last_state, same_end

from mamp import config
from mamp.segmentation.model import load
from mamp.training.engine import train
from mamp.video.masks import read_mask

SMALL = "method.network={backbone: resnet18, width: 0.125, top_k: 8, decoder: 8, context: centred}"


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_clip):
    """A video of six frames with masks of two objects."""
    root = tmp_path_factory.mktemp("ssm")
    write_clip(root, "ant", seed=1, frames=6, size=(32, 48))
    return root


@pytest.fixture
def settings(world):
    """settings(key=value, ...): three steps to an epoch."""
    fixed = [
        "method.name=ssm",
        SMALL,
        f"data.root={world}",
        "data.size=64",
        "data.fit=letterbox",
        "data.box=[32, 48]",
        "data.sampling=reference",
        "data.workers=0",
        "train.batch=2",
        "train.schedule=steps",
        "train.decay_every=2",
    ]
    return lambda *more: config.load(None, [*fixed, *more])


def test_a_run_that_goes_on_has_the_same_end_and_its_weights_segment(tmp_path, settings, world):
    train(settings("train.steps=4"), tmp_path / "whole", device="cpu", quiet=True)
    train(settings("train.steps=2"), tmp_path / "halves", device="cpu", quiet=True)
    train(settings("train.steps=4"), tmp_path / "halves", device="cpu", quiet=True)
    assert same_end(tmp_path / "whole", tmp_path / "halves")
    assert last_state(tmp_path / "whole")["step"] == 4
    sizes = ["method.name=ssm", "method.propagation.input_size=[64, 64]"]  # too small for the default network
    segmenter = load(tmp_path / "whole", device="cpu", overrides=sizes).segmenter()
    frames = [np.asarray(Image.open(file)) for file in sorted((world / "JPEGImages" / "ant").glob("*.png"))]
    first = read_mask(world / "Annotations" / "ant" / "00000.png")
    assert np.array_equal(segmenter.step(frames[0], first), first)
    labels = segmenter.step(frames[1])
    assert labels.shape == first.shape
    assert set(np.unique(labels)) <= {0, 1, 2}
