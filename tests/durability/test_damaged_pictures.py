"""Pictures whose bytes were overwritten, of which Pillow raises more than OSError: every reader copes."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from mamp.core.errors import UserError
from mamp.report.page import _preview
from mamp.training.tracking import _show_file
from mamp.video.first_masks.reading import read

KINDS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP")


def damaged(seed):
    """The bytes of a picture, a few of them others."""
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(0, 2, (6, 8), np.uint8) * 255, np.ones((4, 4), np.uint8))
    held = io.BytesIO()
    Image.fromarray(picture).save(held, format=KINDS[seed % len(KINDS)])
    data = bytearray(held.getvalue())
    for place in rng.integers(0, len(data), 1 + seed % 4):
        data[place] = rng.integers(256)
    if seed % 5 == 0:  # a chunk's name, of which Pillow raises a SyntaxError
        data[37:41] = rng.bytes(4)
    return bytes(data)


class Sink:
    def show(self, name, pixels, step):
        assert pixels.ndim == 3


@pytest.mark.parametrize("seeds", [range(k, k + 40) for k in range(0, 240, 40)])
def test_a_damaged_picture_is_shown_left_out_or_refused(tmp_path, seeds, capsys):
    path, outline = tmp_path / "step-00000001.png", tmp_path / "mask.json"
    for seed in seeds:
        path.write_bytes(damaged(seed))
        assert isinstance(_preview(path), bytes)
        _show_file(Sink(), "step", path, 1)
        shape = {"shape_type": "mask", "label": "a", "points": [[0, 0], [31, 23]]}
        shape["mask"] = base64.b64encode(damaged(seed)).decode()
        outline.write_text(json.dumps({"shapes": [shape], "imageHeight": 24, "imageWidth": 32}))
        try:
            assert read(outline, size=(24, 32)).labels.shape == (24, 32)
        except UserError as error:
            assert "\n" not in str(error)
