"""One object cut out of a frame: turned, and the blob that stands for its mask."""

import torch

from mamp.loading.augmentation.cutouts import blob, turn


def test_no_turn_changes_nothing_and_a_half_one_puts_it_upside_down():
    image = torch.rand(2, 6, 9)
    assert torch.allclose(turn(image, 0.0), image, atol=1e-6)
    half = turn(image, 180.0)  # about the index (4.5, 3), so that the first row and column fall out
    assert torch.allclose(half[:, 1:, 1:], image.flip(-1, -2)[:, :-1, :-1], atol=1e-5)


def test_a_blob_lies_about_its_mask():
    mask = torch.zeros(40, 56)
    mask[10:22, 20:32] = 1
    found = blob(mask, torch.tensor([0.0, 0.0, 1.0, 1.0]))
    peak = found.argmax()
    assert found.max() <= 1
    assert abs(int(peak) // 56 - 15.5) <= 1
    assert abs(int(peak) % 56 - 25.5) <= 1
    assert not blob(torch.zeros(8, 8), torch.ones(4)).any()
