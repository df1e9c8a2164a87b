"""Every method carries masks on the page as it does for the command line, corrections included."""

from __future__ import annotations

import numpy as np
import pytest
from app_world import FRAMES
from small_methods import NAMES, weights_if_needed, words

from mamp.app.engine import Engine
from mamp.cli import main
from mamp.segmentation.model import load
from mamp.video.frames import open_frames
from mamp.video.masks import read_mask


@pytest.mark.parametrize("name", NAMES)
def test_masks_equal_those_of_the_command(name, project, drawn, video, tmp_path):
    weights = weights_if_needed(name, tmp_path)
    model = load(weights, device="cpu", overrides=words(name))
    engine = Engine(project, open_frames(video), model.segmenter)
    project.draw(0, drawn)
    for index, correction in ((0, drawn), (3, np.roll(drawn, 4, axis=1))):
        engine.edit(index, lambda i=index, mask=correction: project.draw(i, mask))
        engine.start(index, "forward")
        engine.wait(60)
        assert not engine.status.running and not engine.status.error
    command = ["segment", video, "--mask", project.folder / "drawn", "--out", tmp_path / "out"]
    command += [*(["--weights", weights] if weights else []), "--device", "cpu", "--quiet", *words(name)]
    assert main([str(word) for word in command]) == 0
    for index in range(FRAMES):
        np.testing.assert_array_equal(project.mask(index), read_mask(tmp_path / "out" / f"{index:05d}.png"))
