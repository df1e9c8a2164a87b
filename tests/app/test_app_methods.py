"""Every method carries masks on the page as it does for the command line, corrections included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from app_world import FRAMES

from mamp import config, methods, weights
from mamp.app.engine import Engine
from mamp.cli import main
from mamp.segmentation.model import load
from mamp.video.frames import open_frames
from mamp.video.masks import read_mask

NARROW = {"backbone": "resnet18", "width": 0.125, "key": 8, "value": 8, "decoder": 8}
METHODS = {
    "stm": ({"name": "stm", "network": NARROW}, []),
    "afb_urr": ({"name": "afb_urr", "network": {**NARROW, "local": 4}}, []),
    "ssm": (
        {
            "name": "ssm",
            "network": {
                "backbone": "resnet18",
                "width": 0.125,
                "decoder": 8,
                "top_k": 8,
                "context": "centred",
            },
        },
        ["method.propagation.input_size=[64, 64]"],
    ),
    "probe": (
        {"name": "mamp", "encoder": {"width": 0.125, "features": 8}},
        ["method.name=probe", "method.input.short=40"],
    ),
}


def test_no_method_is_left_out():
    assert {*METHODS, "mamp"} == {*methods.METHODS}  # mamp: test_app_engine.py


@pytest.mark.parametrize("name", METHODS)
def test_masks_equal_those_of_the_command(name, project, drawn, video, tmp_path):
    method, words = METHODS[name]
    torch.manual_seed(0)
    network = methods.get(method["name"]).build_model(config.load(None, base={"method": method}).method)
    weights.save(tmp_path / "w.safetensors", network.state_dict(), method=method, provenance={})
    model = load(tmp_path / "w.safetensors", device="cpu", overrides=words)
    engine = Engine(project, open_frames(video), model.segmenter)
    project.draw(0, drawn)
    for index, correction in ((0, drawn), (3, np.roll(drawn, 4, axis=1))):
        engine.edit(index, lambda i=index, mask=correction: project.draw(i, mask))
        engine.start(index, "forward")
        engine.wait(60)
        assert not engine.status.running and not engine.status.error
    command = ["segment", video, "--mask", project.folder / "drawn", "--out", tmp_path / "out"]
    command += ["--weights", tmp_path / "w.safetensors", "--device", "cpu", "--quiet", *words]
    assert main([str(word) for word in command]) == 0
    for index in range(FRAMES):
        np.testing.assert_array_equal(project.mask(index), read_mask(tmp_path / "out" / f"{index:05d}.png"))
