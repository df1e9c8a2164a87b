"""Colour, warping, sizes and folding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mamp.methods.mamp.encoder import Encoder
from mamp.ops.colour import rgb_to_lab
from mamp.ops.folding import fold_batch_norms
from mamp.ops.sizes import opencv_bilinear, pad_to_multiple, resize
from mamp.propagation.warping import clean_flow, warp


def test_known_colours_have_their_lab_values():
    colours = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1]]).float().T.reshape(3, 1, 4)
    lab = rgb_to_lab(colours) * torch.tensor([50.0, 127, 127]).view(3, 1, 1) + torch.tensor(
        [50.0, 0, 0]
    ).view(3, 1, 1)
    expected = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab[:, 0].T.numpy(), expected, atol=0.06)


def test_opencv_table_is_near_the_exact_formula_but_is_not_it():
    pytest.importorskip("cv2", reason="the extra opencv is not installed")
    rgb = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    difference = (rgb_to_lab(rgb, "opencv") - rgb_to_lab(rgb)).abs().max()
    assert 1e-4 < difference < 0.005


def test_integer_flow_is_a_gather_with_zeros_outside():
    torch.manual_seed(0)
    memory, flow = torch.randn(1, 2, 5, 7), torch.randint(-4, 5, (1, 2, 5, 7)).float()
    warped = warp(memory, flow)
    for y in range(5):
        for x in range(7):
            sy, sx = y + int(flow[0, 1, y, x]), x + int(flow[0, 0, y, x])
            inside = 0 <= sy < 5 and 0 <= sx < 7
            expected = memory[0, :, sy, sx] if inside else torch.zeros(2)
            torch.testing.assert_close(warped[0, :, y, x], expected, atol=1e-5, rtol=1e-5)


def test_half_cells_round_to_even_and_far_flow_is_clamped():
    flow = torch.tensor([0.5, 1.5, 2.5, -0.5, 99.0, -99.0]).view(1, 1, 6).repeat(2, 1, 1)
    clean = clean_flow(flow)
    assert clean[0, 0].tolist() == [0, 2, 2, 0, 6, -6]
    assert clean[1, 0].tolist() == [0, 1, 1, 0, 1, -1]  # one row: clamped to 1 before it is rounded


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16))
@settings(max_examples=20)
def test_padding_is_right_and_below_only(height, width, multiple):
    x = torch.ones(1, height, width)
    padded = pad_to_multiple(x, multiple)
    assert all(side % multiple == 0 for side in padded.shape[-2:])
    assert padded.sum() == x.sum()
    assert padded[:, :height, :width].all()


def test_resizing_to_the_same_size_returns_the_same_tensor():
    x = torch.rand(3, 5, 6)
    assert resize(x, (5, 6)) is x
    assert resize(x, (10, 3)).shape == (3, 10, 3)


def test_folded_network_gives_the_same_features_without_batch_norms():
    torch.manual_seed(0)
    model = Encoder(width=0.25, features=8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
    folded = fold_batch_norms(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    x = torch.randn(1, 3, 21, 34)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), model.eval()(x), atol=1e-5, rtol=1e-4)


class _NormWithActivation(nn.BatchNorm2d):
    def forward(self, x):
        return super().forward(x).relu()


class _PaddedConv(nn.Conv2d):
    def forward(self, x):
        return super().forward(nn.functional.pad(x, (1, 0, 1, 0)))


class _CentredConv(nn.Conv2d):
    def forward(self, x):
        return nn.functional.conv2d(x, self.weight - self.weight.mean())


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.SyncBatchNorm, _NormWithActivation])
@pytest.mark.parametrize("conv", [nn.Conv2d, _PaddedConv, _CentredConv])
def test_layers_that_compute_more_keep_what_they_compute(conv, norm):
    torch.manual_seed(1)
    model = nn.Sequential(conv(3, 5, 3, bias=False), norm(5), nn.Conv2d(5, 2, 1)).eval()
    nn.init.normal_(model[1].running_mean)
    x = torch.randn(1, 3, 9, 11)
    with torch.inference_mode():
        torch.testing.assert_close(fold_batch_norms(model)(x), model(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(7, 40), (23, 31), (64, 9), (13, 17)])
def test_whole_numbers_are_resized_as_opencv_does(size):
    cv2 = pytest.importorskip("cv2", reason="the extra opencv is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    found = opencv_bilinear(torch.from_numpy(pixels).permute(2, 0, 1).int(), size)
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), cv2.resize(pixels, size[::-1]))
