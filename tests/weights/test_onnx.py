"""Weights as ONNX graphs: the same masks without torch, in the lines that the documentation shows."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import mamp
from mamp.cli import main
from mamp.data.synthetic import render_clip

onnx = pytest.importorskip("onnx", reason="needs onnx, of the extra onnx")
pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra onnx")

EXACT = ["evaluate.amp=off"]  # float32, as the graphs


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """The shipped weights, written."""
    out = tmp_path_factory.mktemp("graphs") / "mamp_onnx"
    assert main(["weights", "onnx", "mamp-small", str(out)]) == 0
    return out


def lines(repository):
    """The program that docs/onnx.md shows."""
    (code,) = re.findall(r"^```python\n(.*?)^```", (repository / "docs" / "onnx.md").read_text(), re.S | re.M)
    return code


def carried(repository, graphs, frames, first, folder):
    """Masks of a clip, uint8 (T, H, W), by that program in a process of its own, which imports nothing of ours."""
    (folder / "frames").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / "frames" / f"{number:05d}.png")
    Image.fromarray(first).save(folder / "first.png")
    program = folder / "carry.py"
    program.write_text(lines(repository) + "\nprint(*sys.modules)\n")
    command = [sys.executable, str(program), str(graphs), "frames", "first.png", "out"]
    alone = {**os.environ, "PYTHONPATH": ""}
    ran = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert not {"torch", "mamp"} & set(ran.stdout.split())
    return np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "out").iterdir())])


def test_the_lines_of_the_documentation_carry_the_same_masks(graphs, repository, tmp_path):
    clip = render_clip(5, frames=12, size=(60, 80), objects=2)
    first = clip.labels[0] * 7  # numbers of the user's own
    found = carried(repository, graphs, clip.frames, first, tmp_path)
    ours = np.stack([m for _, m in mamp.segment_video(clip.frames, first, device="cpu", overrides=EXACT)])
    assert set(np.unique(ours)) == {0, 7, 14}
    assert found.shape == ours.shape and (found != ours).mean() < 1e-4
    assert (ours[-1] != first).mean() > 0.05  # there was something to carry
