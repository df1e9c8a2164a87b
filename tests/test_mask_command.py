"""`mamp mask`, which shows how a mask is read."""

from __future__ import annotations

import numpy as np
import pytest
from painted import SIZE, coloured, davis, grey, painted, saved
from PIL import Image

from mamp.cli import main
from mamp.video.masks import PALETTE, read_palette_mask


def test_it_says_what_is_read_and_writes_it(tmp_path, capsys):
    labels = painted(1, 2)
    file = saved(tmp_path / "paint.png", coloured(labels, [(0, 0, 0), (255, 0, 0), (0, 0, 255)]))
    assert main(["mask", str(file), "--out", str(tmp_path / "first.png")]) == 0
    np.testing.assert_array_equal(read_palette_mask(tmp_path / "first.png"), labels)
    out = capsys.readouterr().out
    assert out.startswith("paint.png: objects 1 (") and "#ff0000 is object 1, #0000ff is object 2" in out


def test_the_overlay_shows_the_mask_on_the_frame_at_its_size(tmp_path, capsys):
    labels = painted(1, 2)
    file = saved(tmp_path / "paint.png", davis(labels).resize((320, 240), Image.Resampling.NEAREST))
    frame = saved(tmp_path / "frame.png", Image.new("RGB", SIZE[::-1], (90, 90, 90)))
    out = tmp_path / "first.png"
    assert main(["mask", str(file), "--out", str(out), "--overlay", str(frame)]) == 0
    np.testing.assert_array_equal(read_palette_mask(out), labels)
    with Image.open(tmp_path / "first-overlay.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (*SIZE, 3) and (pixels[labels == 0] == 90).mean() > 0.9
    assert (pixels[labels == 1] != 90).any(-1).all()
    assert "320x240 resized to 160x120" in capsys.readouterr().out


def test_warnings_go_to_standard_error(tmp_path, capsys):
    file = saved(tmp_path / "a.png", grey(painted(1), [255, 0]))
    assert main(["mask", str(file)]) == 0
    assert "four corners" in capsys.readouterr().err
    assert main(["mask", str(file), "--invert"]) == 0
    assert "four corners" not in capsys.readouterr().err


def test_several_files_are_one_object_each_and_colours_may_be_given(tmp_path):
    labels = painted(2, 2)
    files = [str(saved(tmp_path / f"{k}.png", grey(labels == k))) for k in (1, 2)]
    assert main(["mask", *files, "--out", str(tmp_path / "out.png")]) == 0
    np.testing.assert_array_equal(read_palette_mask(tmp_path / "out.png"), labels)
    (tmp_path / "colours.json").write_text('{"#010203": 9, "#040506": 4}')
    file = saved(tmp_path / "c.png", coloured(labels, [(0, 0, 0), (1, 2, 3), (4, 5, 6)]))
    arguments = [
        "mask",
        str(file),
        "--colours",
        str(tmp_path / "colours.json"),
        "--out",
        str(tmp_path / "d.png"),
    ]
    assert main(arguments) == 0
    np.testing.assert_array_equal(read_palette_mask(tmp_path / "d.png"), np.array([0, 9, 4])[labels])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--overlay", "a.png"], "needs --out FIRST.png"),
        (["--out", "a.jpg"], "a.jpg is not a .png"),
        (["--out", "a.png"], "would replace"),
        (["--colours", "nothing.json"], "nothing.json cannot be opened"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, monkeypatch, capsys, more, words):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PALETTE[painted(1)]).save("a.png")
    assert main(["mask", "a.png", *more]) == 2
    assert words in capsys.readouterr().err
