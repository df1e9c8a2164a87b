"""The guided filter against its definition, window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamp.ops.sizes import resize
from mamp.propagation.guided import fast_step, guided_filter


def plain(image: np.ndarray, plane: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """He, Sun and Tang, eq. 19 to 21, one window after the other, in float64."""
    function = linear(image, plane[None], radius=radius, eps=eps)
    return (function[:3] * image).sum(0) + function[3]


def linear(image: np.ndarray, plane: np.ndarray, *, radius: int, eps: float) -> np.ndarray:
    """The slopes and the offset (4, H, W) of a map (1, H, W) at each pixel, averaged over the windows around
    it.
    """
    plane = plane[0]
    height, width = plane.shape
    slopes, offsets = np.zeros((height, width, 3)), np.zeros((height, width))
    windows = {
        (y, x): (slice(max(y - radius, 0), y + radius + 1), slice(max(x - radius, 0), x + radius + 1))
        for y in range(height)
        for x in range(width)
    }
    for at, (rows, columns) in windows.items():
        colours, values = image[:, rows, columns].reshape(3, -1), plane[rows, columns].ravel()
        centred = colours - colours.mean(1, keepdims=True)
        covariance = centred @ centred.T / values.size + eps * np.eye(3)
        slopes[at] = np.linalg.solve(covariance, centred @ (values - values.mean()) / values.size)
        offsets[at] = values.mean() - slopes[at] @ colours.mean(1)
    result = np.zeros((4, height, width))
    for at, window in windows.items():
        result[(slice(0, 3), *at)] = slopes[window].reshape(-1, 3).mean(0)
        result[(3, *at)] = offsets[window].mean()
    return result


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    radius=st.integers(1, 4),
    eps=st.sampled_from([1e-4, 1e-2]),
)
def test_equals_the_definition(seed: int, size: tuple[int, int], radius: int, eps: float):
    rng = np.random.default_rng(seed)
    image, maps = rng.random((3, *size)), rng.random((2, *size))
    found = guided_filter(torch.from_numpy(image), torch.from_numpy(maps), radius=radius, eps=eps)
    expected = np.stack([plain(image, plane, radius, eps) for plane in maps])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-8)


def test_single_precision_is_enough():
    torch.manual_seed(0)
    image = torch.rand(3, 40, 50) * 0.01 + 0.9  # bright and of little contrast: the worst case
    maps = torch.rand(1, 40, 50)
    found = guided_filter(image, maps, radius=8, eps=1e-4)
    exact = guided_filter(image.double(), maps.double(), radius=8, eps=1e-4)
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=0)


def test_a_blurred_step_moves_to_the_edge_of_the_image():
    image = torch.zeros(3, 20, 40)
    image[:, :, 21:] = 0.8
    ramp = ((torch.arange(40) - 15) / 8).clamp(0, 1).expand(20, 40)  # passes one half at column 19
    found = guided_filter(image, torch.stack((1 - ramp, ramp)), radius=8, eps=1e-4)
    assert (found[1, :, 21:] > 0.5).all() and (found[1, :, :21] < 0.5).all()
    torch.testing.assert_close(found.sum(0), torch.ones(20, 40))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_flat_map_stays_flat_whatever_the_image(value: float):
    maps = torch.full((1, 12, 9), value)
    torch.testing.assert_close(guided_filter(torch.rand(3, 12, 9), maps, radius=3, eps=1e-4), maps)


# -- on a smaller grid


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), step=st.integers(2, 5), rows=st.integers(2, 6), columns=st.integers(2, 6))
def test_on_a_smaller_grid_it_is_the_definition_there(seed: int, step: int, rows: int, columns: int):
    rng = np.random.default_rng(seed)
    small, plane = rng.random((3, rows, columns)), rng.random((rows, columns))
    whole = [np.kron(x, np.ones((step, step))) for x in (small, plane[None])]  # step x step pixels of a kind
    found = guided_filter(*map(torch.from_numpy, whole), radius=2 * step, eps=1e-2, step=step)
    shrunk = [resize(torch.from_numpy(x), (rows, columns), antialias=True) for x in whole]
    function = linear(*(x.numpy() for x in shrunk), radius=2, eps=1e-2)
    function = resize(torch.from_numpy(function), whole[0].shape[1:]).numpy()
    expected = (function[:3] * whole[0]).sum(0) + function[3]
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-8)


def test_a_smaller_grid_changes_little_where_windows_are_wide():
    torch.manual_seed(0)
    image = resize(torch.rand(3, 6, 8), (96, 128))  # patches of colour
    maps = (image.mean(0, keepdim=True) > 0.5).float()
    exact = guided_filter(image, maps, radius=16, eps=1e-3)
    fast = guided_filter(image, maps, radius=16, eps=1e-3, step=4)
    assert (fast - exact).abs().mean() < 0.01
    assert ((fast > 0.5) != (exact > 0.5)).float().mean() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 23), (40, 1)])
def test_a_smaller_grid_keeps_the_sum_over_maps_at_any_size(size):
    torch.manual_seed(0)
    maps = torch.rand(4, *size).softmax(0)
    found = guided_filter(torch.rand(3, *size), maps, radius=8, eps=1e-3, step=2)
    torch.testing.assert_close(found.sum(0), torch.ones(size), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("radius", "size", "step"),
    [
        (16, (480, 854), 4),
        (8, (240, 426), 2),
        (8, (40, 56), 1),
        (3, (480, 854), 1),
        (36, (1080, 1920), 9),
    ],
)
def test_the_fast_step_leaves_pixels_in_a_window_and_in_the_frame(radius, size, step):
    assert fast_step(radius, size) == step
