"""Pillow's bicubic, computed on the device, is Pillow's to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from mamp.ops.pillow import across_first, bicubic

SIDES = st.integers(1, 40)


def pillows(pixels: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(pixels.to(torch.uint8).permute(1, 2, 0).numpy())
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC)).transpose(2, 0, 1)


@given(before=st.tuples(SIDES, SIDES), after=st.tuples(SIDES, SIDES), seed=st.integers(0, 99))
def test_it_is_pillows_for_any_size(before, after, seed):
    assume(across_first(before, after))
    draw = torch.randint(0, 256, (3, *before), generator=torch.Generator().manual_seed(seed))
    pixels = (255 * (draw > 128) if seed % 2 else draw).to(torch.int32)
    assert np.array_equal(bicubic(pixels, after).numpy(), pillows(pixels, after))


@pytest.mark.parametrize(("before", "after"), [((480, 854), (960, 1712)), ((720, 1280), (495, 880))])
def test_it_is_pillows_for_video(before, after):
    draw = torch.randint(0, 256, (3, *before), generator=torch.Generator().manual_seed(0))
    assert np.array_equal(bicubic(draw.to(torch.int32), after).numpy(), pillows(draw, after))
