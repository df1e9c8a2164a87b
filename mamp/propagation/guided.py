"""The guided filter: maps that follow the edges of an image (He, Sun and Tang, ECCV 2010)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def guided_filter(image: Tensor, maps: Tensor, *, radius: int, eps: float) -> Tensor:
    """Maps (N, H, W) -> (N, H, W), each near any pixel an affine function of the image's colour there (eq. 19
    to 21).

    image: float (3, H, W) in [0, 1]. radius: half side of the square windows, in pixels, cut at the frame's
    borders.
    eps: added to the colour's variance; edges whose squared contrast is well below it are smoothed over.
    Sums over N are kept; values may leave the range of the input by a little.
    """
    image = image - image.mean(dim=(1, 2), keepdim=True)  # smaller numbers, smaller rounding
    mean = _mean(image, radius)
    triangle = _triangle(image, mean, radius=radius, eps=eps)
    return torch.stack([_one(image, plane, mean=mean, triangle=triangle, radius=radius) for plane in maps])


def _one(image: Tensor, plane: Tensor, *, mean: Tensor, triangle: list[list[Tensor]], radius: int) -> Tensor:
    """One map (H, W); a map at a time bounds the memory."""
    centre = _mean(plane[None], radius)
    covariance = _mean(image * plane, radius) - mean * centre
    slope = torch.stack(_solve(triangle, list(covariance)))  # (3, H, W)
    offset = centre - (slope * mean).sum(0, keepdim=True)
    averaged = _mean(torch.cat((slope, offset)), radius)
    return (averaged[:3] * image).sum(0) + averaged[3]


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
