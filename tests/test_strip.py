"""The README's strip, of small pictures in place of the photographs."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
from painted import photograph
from PIL import Image

from mamp.video.masks import read_mask

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "strip.py"


def test_the_strip_shows_frames_with_masks(tmp_path, monkeypatch, capsys):
    for seed, name in enumerate(
        ("data/chelsea.png", "datasets/images/flower.jpg", "datasets/images/china.jpg")
    ):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        photograph(seed, size=(427, 640)).save(tmp_path / "pictures" / name)
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path / "pictures")
    monkeypatch.setattr("mamp.segment_video", lambda frames, mask: iter([("00000", read_mask(mask))] * 2))
    monkeypatch.setattr(sys, "argv", ["strip.py", str(tmp_path / "out")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "strip.jpg: J" in capsys.readouterr().out
    truth = read_mask(tmp_path / "out/truth/00025.png")
    assert set(np.unique(truth)) == {0, 1, 2}
    assert Image.open(tmp_path / "out/strip.jpg").height == 216
