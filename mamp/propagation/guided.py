"""The guided filter: maps that follow the edges of an image (He, Sun and Tang, ECCV 2010)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.ops.sizes import resize

# a shrunk image keeps these: pixels in half a window, pixels of the short side
FINE, SHORT = 4, 120


def fast_step(radius: int, size: tuple[int, ...]) -> int:
    """Return the step at which windows of this half side on frames (H, W) are fast, and masks as good."""
    return max(1, min(radius // FINE, min(size) // SHORT))


def guided_filter(image: Tensor, maps: Tensor, *, radius: int, eps: float, step: int = 1) -> Tensor:
    """Fit maps (N, H, W) to an image's edges (guided filter, eq. 19 to 21).

    Each map is near any pixel an affine function of the image's colour there.

    image: float (3, H, W) in [0, 1]. radius: half side of the square windows, in pixels, cut at the frame's
    borders. eps: added to the colour's variance; edges whose squared contrast is well below it are smoothed
    over. step: the functions are found on image and maps shrunk by this factor, and brought to the pixels
    bilinearly (He and Sun, 2015, arXiv 1505.00996), in about 1 / step^2 of the time; 1 finds them at every
    pixel.

    Sums over N are kept. Values may leave the range of the input by a little.
    """
    image = image - image.mean(dim=(1, 2), keepdim=True)  # smaller numbers, smaller rounding
    size = image.shape[-2:]
    guide = _shrunk(image, step)
    radius = max(1, round(radius / step))
    mean, *triangle = colour_window(guide, radius=radius, eps=eps)
    fitted = torch.empty_like(maps)
    for plane, out in zip(maps, fitted, strict=True):  # a map at a time bounds the memory
        shrunk = _shrunk(plane[None], step)
        function = local_function(guide, shrunk, mean=mean, triangle=triangle, radius=radius)
        function = resize(function, size)
        out.copy_((function[:3] * image).sum(0) + function[3])
    return fitted


def _shrunk(x: Tensor, step: int) -> Tensor:
    """(C, H, W) -> (C, ceil(H/step), ceil(W/step)), each the mean of the pixels around it."""
    height, width = x.shape[-2:]
    return resize(x, (math.ceil(height / step), math.ceil(width / step)), antialias=True)


def colour_window(image: Tensor, *, radius: int, eps: float) -> list[Tensor]:
    """Return what windows hold of an image (3, H, W), planes (H, W) each.

    The mean colour (3, H, W), and Cholesky's lower triangle of the covariance of colours plus eps, by rows.
    """
    mean = _mean(image, radius)
    return [mean, *(plane for row in _triangle(image, mean, radius=radius, eps=eps) for plane in row)]


def local_function(
    image: Tensor, plane: Tensor, *, mean: Tensor, triangle: list[Tensor], radius: int
) -> Tensor:
    """(4, H, W): the slopes and the offset of one map (1, H, W), averaged over the windows around a pixel.

    mean, triangle: of `colour_window`. Where a map is 0 within 2 * radius, both are 0.
    """
    centre = _mean(plane, radius)
    covariance = _mean(image * plane, radius) - mean * centre
    lower = [triangle[:1], triangle[1:3], triangle[3:]]
    slope = torch.stack(_solve(lower, list(covariance)))  # (3, H, W)
    offset = centre - (slope * mean).sum(0, keepdim=True)
    return _mean(torch.cat((slope, offset)), radius)


def _mean(x: Tensor, radius: int) -> Tensor:
    """(C, H, W) -> the same size: the mean over the part of each window that lies in the frame."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(x[None], (1, side), 1, (0, radius), count_include_pad=False)
    return F.avg_pool2d(rows, (side, 1), 1, (radius, 0), count_include_pad=False)[0]


def _triangle(image: Tensor, mean: Tensor, *, radius: int, eps: float) -> list[list[Tensor]]:
    """Cholesky's lower triangle of the colours' covariance plus eps at each pixel, planes (H, W)."""
    lower: list[list[Tensor]] = []
    for i in range(3):
        products = _mean(image[i] * image[: i + 1], radius) - mean[i] * mean[: i + 1]
        row: list[Tensor] = []
        for j in range(i):
            rest = products[j] - sum(row[k] * lower[j][k] for k in range(j))
            row.append(rest / lower[j][j])
        square = products[i].clamp(min=0) + eps - sum(value.square() for value in row)
        lower.append([*row, square.clamp(min=eps / 2).sqrt()])
    return lower


def _solve(lower: list[list[Tensor]], right: list[Tensor]) -> list[Tensor]:
    """x of L L^T x = right, plane by plane."""
    half: list[Tensor] = []
    for i in range(3):
        half.append((right[i] - sum(lower[i][k] * half[k] for k in range(i))) / lower[i][i])
    solved: list[Tensor] = [half[0]] * 3
    for i in (2, 1, 0):
        solved[i] = (half[i] - sum(lower[k][i] * solved[k] for k in range(i + 1, 3))) / lower[i][i]
    return solved
