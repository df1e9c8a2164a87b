"""The first masks of DAVIS-2016 as people spoil them, and its frames, which are no masks."""

from __future__ import annotations

import numpy as np
import pytest
from painted import as_jpeg, iou, saved
from PIL import Image, ImageFilter

from mamp.core.errors import UserError
from mamp.video.first_masks.reading import read

# thin things at 240 lines: a blur of 3 pixels leaves too little of them
TOO_THIN = {"bmx-bumps", "bmx-trees", "boat", "kite-surf", "kite-walk"}


@pytest.fixture(scope="module")
def firsts(shared):
    """name -> grey image of 0 and 255."""
    files = sorted((shared / "data/DAVIS2016/Annotations/480p").glob("*/00000.png"))
    assert len(files) == 45
    # a third of them; scripts/benchmarks/masks.py reads all
    return {file.parent.name: Image.open(file).convert("L") for file in files[::3]}


def scaled(factor, how):
    return lambda image: image.resize((round(image.width * factor), round(image.height * factor)), how)


KINDS = {
    "as it is": (lambda image: image, 1.0),
    "blurred by 1": (lambda image: image.filter(ImageFilter.GaussianBlur(1)), 0.95),
    "blurred by 3": (lambda image: image.filter(ImageFilter.GaussianBlur(3)), 0.95),
    "JPEG 75": (lambda image: as_jpeg(image, 75), 0.95),
    "JPEG 30, colours": (lambda image: as_jpeg(image.convert("RGB"), 30), 0.95),
    "red JPEG": (
        lambda image: as_jpeg(Image.merge("RGB", (image, image.point([0] * 256), image.point([0] * 256)))),
        0.95,
    ),
    "half": (scaled(0.5, Image.Resampling.BILINEAR), 0.7),
    "half, nearest": (scaled(0.5, Image.Resampling.NEAREST), 0.7),
    "twice": (scaled(2, Image.Resampling.BICUBIC), 0.95),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoilt_first_mask_is_its_one_object(tmp_path, firsts, kind):
    spoil, least = KINDS[kind]
    for name, image in firsts.items():
        truth = np.asarray(image) > 127
        found = read(saved(tmp_path / "a.png", spoil(image)), size=truth.shape).labels
        assert set(np.unique(found)) == {0, 1}, name
        enough = 0.85 if kind == "blurred by 3" and name in TOO_THIN else least
        assert iou(found > 0, truth) >= enough, name


@pytest.mark.parametrize("kind", ["as it is", "grey", "32 colours", "8 colours", "dark"])
def test_frames_are_no_masks(tmp_path, shared, kind):
    make = {
        "as it is": lambda image: image,
        "grey": lambda image: image.convert("L"),
        "32 colours": lambda image: image.quantize(32),
        "8 colours": lambda image: image.quantize(8, dither=Image.Dither.NONE),
        "dark": lambda image: image.convert("L").point([v // 5 for v in range(256)]),
    }[kind]
    for file in sorted((shared / "data/DAVIS2016/JPEGImages/480p").glob("*/00010.jpg"))[::3]:
        with Image.open(file) as frame, pytest.raises(UserError, match="looks like a photograph"):
            read(saved(tmp_path / "a.png", make(frame)))
            print(file)
