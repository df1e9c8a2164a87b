"""A frame as cells with features, and what is computed of them for a suggested mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.methods.trunk import MethodTrunk
from mamp.ops.colour import imagenet, rgb_to_lab
from mamp.propagation.guided import guided_filter

SIDE = 360  # short side, in pixels, at which the frame is looked at
ENLARGE = 1.5  # at most
CELL = 4  # pixels of that frame to a cell
KINDS = 24  # of features that are separated
SPOT = 3  # pixels of the frame as looked at, around a click, that are what the click says


@dataclass(frozen=True)
class Cells:
    """A frame as it is looked at.

    image: float (3, H', W'). small: the same on the grid, (3, h, w). traits: (h*w, D), whitened features
    and colours, of each cell and of what is around it. size: (H, W) of the frame. x, y: places of the
    cells, (h, w).
    """

    image: Tensor
    small: Tensor
    traits: Tensor
    size: tuple[int, int]
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, frame: np.ndarray, trunk: MethodTrunk | None, device: torch.device) -> Cells:
        """The cells of a frame uint8 (H, W, 3)."""
        image = torch.from_numpy(np.array(frame)).to(device).permute(2, 0, 1).float() / 255
        scale = min(ENLARGE, SIDE / min(image.shape[1:]))
        patch = math.lcm(CELL, trunk.patch if trunk else 1)
        size = tuple(max(1, round(side * scale / patch)) * patch for side in image.shape[1:])
        image = F.interpolate(image[None], size, mode="bilinear", antialias=scale < 1)[0].clamp(0, 1)
        height, width = grid = (size[0] // CELL, size[1] // CELL)
        lab = F.adaptive_avg_pool2d(rgb_to_lab(image, "exact"), grid)
        parts = [0.6 * _scaled(lab), _scaled(_around(lab))]
        if trunk is not None:
            features = trunk((image if trunk.normalises else imagenet(image))[None]).float().flatten(0, 1)
            features = F.interpolate(features[None], grid, mode="bilinear", align_corners=False)[0]
            features = F.normalize(features, dim=0)
            parts += [0.6 * whitened(features), whitened(_around(features))]
        traits = torch.cat([*parts, torch.ones_like(lab[:1])]).flatten(1).T.contiguous()
        y, x = torch.meshgrid(
            torch.arange(height, device=device).float(),
            torch.arange(width, device=device).float(),
            indexing="ij",
        )
        small = F.interpolate(image[None], grid, mode="area")[0]
        return cls(image, small, traits, (frame.shape[0], frame.shape[1]), x, y)

    @property
    def short(self) -> int:
        """The short side in cells."""
        return min(self.x.shape)

    def zeros(self) -> Tensor:
        """(h, w)."""
        return torch.zeros_like(self.x)

    def across(self, *places: float) -> tuple[float, ...]:
        """Columns of the frame, in pixels -> in cells."""
        return tuple(place * self.x.shape[1] / self.size[1] for place in places)

    def down(self, *places: float) -> tuple[float, ...]:
        """Rows of the frame, in pixels -> in cells."""
        return tuple(place * self.x.shape[0] / self.size[0] for place in places)

    def at(self, points: Sequence[tuple[float, float]]) -> Tensor:
        """bool (h, w): the cells of points (x, y) in pixels of the frame; those beyond it are left out."""
        found = torch.zeros_like(self.x, dtype=torch.bool)
        for x, y in points:
            if 0 <= x < self.size[1] and 0 <= y < self.size[0]:
                found[int(self.down(y)[0]), int(self.across(x)[0])] = True
        return found

    def spots(self, points: Sequence[tuple[float, float]]) -> np.ndarray:
        """bool (H, W): the pixels close to points, which are what a click says."""
        found = np.zeros(self.size, bool)
        reach = max(0.75, SPOT * self.size[0] / self.image.shape[1])
        rows, columns = np.ogrid[: self.size[0], : self.size[1]]
        for x, y in points:
            found |= (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < reach**2
        return found

    def shrunk(self, mask: np.ndarray) -> Tensor:
        """bool (H, W) -> the part of each cell that it fills, (h, w)."""
        whole = torch.from_numpy(np.array(mask)).to(self.x.device)[None, None].float()
        return F.interpolate(whole, self.x.shape, mode="area")[0, 0]

    def smooth(self, belief: Tensor) -> Tensor:
        """A belief (h, w) that follows the picture's edges."""
        return guided_filter(self.small, belief[None], radius=2, eps=1e-3)[0].clamp(0, 1)

    def fit(self, belief: Tensor, box: tuple[float, float, float, float] | None) -> np.ndarray:
        """bool (H, W) of a belief (h, w), along the edges of the image, within the box."""
        full = F.interpolate(belief[None, None], self.image.shape[1:], mode="bilinear", align_corners=False)[
            0
        ]
        for radius in (2 * CELL, CELL):
            full = guided_filter(self.image, full, radius=radius, eps=1e-4, step=2).clamp(0, 1)
        found = F.interpolate(full[None], self.size, mode="bilinear", align_corners=False)[0, 0] > 0.5
        mask: np.ndarray = found.cpu().numpy()
        if box is not None:
            left, top, right, bottom = (max(0, round(v)) for v in box)
            mask[:top], mask[bottom:], mask[:, :left], mask[:, right:] = False, False, False, False
        return mask

    @staticmethod
    def large(mask: np.ndarray) -> np.ndarray:
        """bool (H, W): the parts of a mask that are not small beside the largest."""
        from scipy import ndimage

        parts, count = ndimage.label(mask, np.ones((3, 3)))
        sizes = np.bincount(parts.ravel(), minlength=count + 1)
        sizes[0] = 0
        return (sizes > 0.12 * max(sizes.max(), 1))[parts] & mask


def classify(cells: Cells, object_: Tensor, ground: Tensor) -> Tensor:
    """Log odds (h, w) that a cell is the object's, by a linear classifier of the cells' traits.

    It is fitted by least squares, in closed form, to cells with weights (h, w) of both kinds; each kind
    counts as much as the other. The odds are those of two normal distributions of its values.
    """
    traits, weights = cells.traits, [w.flatten() / w.sum().clamp(min=1e-6) for w in (object_, ground)]
    both = traits.T @ (traits * (weights[0] + weights[1])[:, None])
    both = both + RIDGE * torch.eye(len(both), device=traits.device)
    values = traits @ torch.linalg.solve(both, traits.T @ (weights[0] - weights[1]))
    means = [(w * values).sum() for w in weights]
    spread = sum((w * (values - m) ** 2).sum() for w, m in zip(weights, means, strict=True)) / 2 + 0.02
    odds = (means[0] - means[1]) / spread * (values - (means[0] + means[1]) / 2)
    return odds.reshape(object_.shape).clamp(-CAP, CAP)


def whitened(features: Tensor) -> Tensor:
    """(C, h, w) -> (KINDS or fewer, h, w): principal components of like variance, faint ones less."""
    rows = features.flatten(1).T
    rows = rows - rows.mean(0)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    count = min(KINDS, len(values))
    values, vectors = values.flip(0)[:count].clamp(min=0).sqrt(), vectors.flip(1)[:, :count]
    return (rows @ vectors / (values + 0.02 * values[0] + 1e-6)).T.reshape(count, *features.shape[1:])


def _around(cells: Tensor) -> Tensor:
    """(C, h, w) -> the same size: the mean of the 5x5 cells around each."""
    return F.avg_pool2d(cells[None], 5, 1, 2, count_include_pad=False)[0]


def _scaled(cells: Tensor) -> Tensor:
    """(C, h, w) of mean 0 and deviation 1."""
    mean, deviation = cells.mean((1, 2), keepdim=True), cells.std((1, 2), keepdim=True, unbiased=False)
    return (cells - mean) / (deviation + 1e-4)


def distances(chosen: Tensor) -> Tensor:
    """(h, w): how far each cell is from the nearest chosen one, in cells; far where none is."""
    from scipy import ndimage

    cells = chosen.cpu().numpy()
    if not cells.any():
        return torch.full(chosen.shape, 1e3, device=chosen.device)
    return torch.from_numpy(ndimage.distance_transform_edt(~cells).astype(np.float32)).to(chosen.device)


def disc(chosen: Tensor, reach: float) -> Tensor:
    """(h, w): 1 at chosen cells, falling off within `reach` cells."""
    return torch.exp(-((distances(chosen) / max(reach, 0.5)) ** 2))


def connected(mask: np.ndarray, touched: np.ndarray) -> np.ndarray:
    """bool (H, W): the parts of `mask` that hang together with a pixel of `touched`, by their sides."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    return np.isin(parts, parts[mask & touched]) & mask


RIDGE = 0.02
CAP = 4.0  # of what the classifier says, in log odds
