"""Crops around objects, and back."""

import pytest
import torch

from mamp.ops.crops import crop, find_box, paste


def test_a_box_grows_by_its_margins_and_loses_fractions_toward_zero():
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[1:8, 2:11] = True  # 9 wide, 7 high
    assert find_box(mask, [0.5] * 4) == (-2, -2, 15, 11)  # -2.5, -2.5, 15.5, 11.5
    assert find_box(mask, [0, 1, 0, 0]) == (2, 1, 20, 8)


@pytest.mark.parametrize("filled", [(0, 0), (2, 9)])
def test_without_a_mask_or_with_a_tiny_box_the_whole_frame_is_taken(filled):
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[: filled[0], : filled[1]] = True
    assert find_box(mask, [0.5] * 4) == (0, 0, 30, 20)


def test_what_is_cut_out_comes_back_to_its_place():
    image = torch.rand(2, 20, 30)
    box = (-4, 5, 12, 26)
    cut = crop(image, box)
    assert cut.shape == (2, 21, 16)
    assert not cut[:, :, :4].any()
    back = paste(cut, box, (20, 30))
    assert torch.equal(back[:, 5:, :12], image[:, 5:, :12])
    assert not back[:, :5].any()
    assert not back[:, :, 12:].any()
