"""A first mask from a few clicks or a box: nearest features grown over the frame, then fitted to its edges.

Nothing is learnt from masks: cells are compared by the features that carry labels, and by colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp import methods
from mamp.core.devices import out_of_memory
from mamp.core.errors import UserError
from mamp.methods.trunk import MethodTrunk
from mamp.ops.colour import imagenet, rgb_to_lab
from mamp.propagation.guided import guided_filter

SIDE = 360  # short side, in pixels, at which the frame is looked at
CELL = 4  # pixels of that frame to a cell
MOST = 200  # points


@dataclass(frozen=True)
class Wish:
    """What a person showed: points (x, y) on and beside the object, or a box (left, top, right, bottom).

    All in pixels of the frame.
    """

    inside: tuple[tuple[float, float], ...] = ()
    outside: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None


class Proposer:
    """Masks from clicks. State: the features of the frame asked about last.

    network, method: as a `Segmenter` takes them. A method without a trunk leaves the colours to go by.
    """

    def __init__(self, network: torch.nn.Module, method: Any, device: torch.device) -> None:
        self._device = device
        build = methods.get(method.name).trunk
        self._trunk: MethodTrunk | None = None
        if build is not None:
            self._trunk = build(network, method)
        elif isinstance(network, MethodTrunk):  # the probe's encoder
            self._trunk = network
        if self._trunk is not None:
            self._trunk.to(device).eval()
        self._seen: tuple[int, Tensor, Tensor] | None = None

    @out_of_memory(lambda: "start the page with --device cpu, or give it smaller frames")
    @torch.inference_mode()
    def mask(self, index: int, frame: np.ndarray, wish: Wish) -> np.ndarray:
        """bool (H, W): what `wish` says of `frame`, uint8 (H, W, 3), which is number `index` of its video.

        Raises UserError for a wish that shows nothing.
        """
        image, features = self._look(index, frame)
        size, grid = frame.shape[:2], (int(features.shape[1]), int(features.shape[2]))
        on, off = seeds(wish, size=(size[0], size[1]), grid=grid, features=features)
        small = F.interpolate(image[None], grid, mode="area")[0]
        belief = (
            grow(features, small, on, off) if wish.box is None else fill(features, small, on, off)
        )  # (h, w)
        return self._fit(belief, image, wish, on=on, size=(size[0], size[1]))

    def _look(self, index: int, frame: np.ndarray) -> tuple[Tensor, Tensor]:
        """The frame scaled down, float (3, H', W'); features (C, h, w) of unit length, with colour."""
        if self._seen is not None and self._seen[0] == index:
            return self._seen[1:]
        image = torch.from_numpy(frame).to(self._device).permute(2, 0, 1).float() / 255
        scale = min(1.0, SIDE / min(image.shape[1:]))
        patch = max(CELL, self._trunk.patch if self._trunk else 1)
        height, width = (max(1, round(side * scale / patch)) * patch for side in image.shape[1:])
        image = F.interpolate(image[None], (height, width), mode="bilinear", antialias=scale < 1)[0]
        grid = (height // CELL, width // CELL)
        cells = _COLOUR * F.adaptive_avg_pool2d(rgb_to_lab(image, "exact"), grid)
        if self._trunk is not None:
            features = self._trunk(self._input(image)[None]).float().flatten(0, 1)[None]
            features = F.interpolate(features, grid, mode="bilinear", align_corners=False)[0]
            cells = torch.cat((F.normalize(features, dim=0), cells))
        self._seen = (index, image, cells)
        return self._seen[1:]

    def _input(self, image: Tensor) -> Tensor:
        return image if self._trunk and self._trunk.normalises else imagenet(image)

    def _fit(
        self, belief: Tensor, image: Tensor, wish: Wish, *, on: np.ndarray, size: tuple[int, int]
    ) -> np.ndarray:
        """bool (H, W) of a belief (h, w): fitted to edges, connected with the seeds, within the box."""
        full = F.interpolate(belief[None, None], image.shape[1:], mode="bilinear", align_corners=False)[0]
        for radius in (2 * CELL, CELL):
            full = guided_filter(image, full, radius=radius, eps=1e-4).clamp(0, 1)
        found = F.interpolate(full[None], size, mode="bilinear", align_corners=False)[0, 0] > 0.5
        mask: np.ndarray = found.cpu().numpy()
        reach = CELL * size[0] / image.shape[1]
        rows, columns = np.ogrid[: size[0], : size[1]]
        for points, value in (
            (wish.inside, True),
            (wish.outside, False),
        ):  # a click is right about its own place
            for x, y in points[:MOST]:
                mask[(columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 < reach**2] = value
        if wish.box is not None:
            left, top, right, bottom = (round(v) for v in wish.box)
            inside = np.zeros_like(mask)
            inside[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
            mask &= inside
        cells = F.interpolate(torch.from_numpy(on)[None, None].float(), size, mode="nearest-exact")[0, 0] > 0
        return connected(mask, cells.numpy())


def seeds(
    wish: Wish, *, size: tuple[int, int], grid: tuple[int, int], features: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return cells surely on the object and surely beside it, bool (h, w) each.

    Raises UserError when none is on it.
    """
    from scipy import ndimage

    on, off = np.zeros(grid, bool), np.zeros(grid, bool)
    scale = grid[0] / size[0], grid[1] / size[1]
    if wish.box is not None:
        left, right = sorted(float(np.clip(v * scale[1], 0, grid[1])) for v in wish.box[::2])
        top, bottom = sorted(float(np.clip(v * scale[0], 0, grid[0])) for v in wish.box[1::2])
        off[:] = True
        box = np.s_[int(top) : max(int(top) + 1, round(bottom)), int(left) : max(int(left) + 1, round(right))]
        off[box] = False
        on |= _likely(features, off, box)
    for cells, points in ((on, wish.inside), (off, wish.outside)):
        for x, y in points[:MOST]:
            row, column = math.floor(y * scale[0]), math.floor(x * scale[1])
            if 0 <= row < grid[0] and 0 <= column < grid[1]:
                cells[row, column] = True
    if not on.any():
        raise UserError("no click or box shows the object; click on it, or draw a box around it")
    off &= ~on
    if wish.box is None:  # an object that was clicked on seldom reaches the frame's border all around
        border = np.zeros(grid, bool)
        border[[0, -1]] = border[:, [0, -1]] = True
        far = ndimage.distance_transform_edt(~on) > min(grid) / 4
        off |= border & far
    return on, off


def _likely(features: Tensor, off: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """bool (h, w): the cells of a box that look least like what is around it, the middle first."""
    rows, columns = box
    height, width = rows.stop - rows.start, columns.stop - columns.start
    ring = _around(~off)[0]
    inside = features[:, rows, columns].flatten(1)  # (C, n)
    y, x = np.mgrid[-1 : 1 : height * 1j if height > 1 else 1j, -1 : 1 : width * 1j if width > 1 else 1j]
    middle = torch.from_numpy(np.exp(-1.5 * (x**2 + y**2))).flatten().to(features)
    if ring.any():
        around = features[:, torch.from_numpy(ring)]  # (C, m)
        step = max(1, around.shape[1] // 2000)
        unlike = (
            torch.cdist(inside.T, around.T[::step])
            .topk(min(5, around.T[::step].shape[0]), largest=False)[0]
            .mean(1)
        )
        middle = middle * unlike
    count = max(1, round(_CORE * len(middle)))
    chosen = torch.zeros_like(middle, dtype=torch.bool)
    chosen[middle.topk(count)[1]] = True
    result = np.zeros_like(off)
    result[box] = chosen.reshape(height, width).cpu().numpy()
    return result


def grow(features: Tensor, picture: Tensor, on: np.ndarray, off: np.ndarray) -> Tensor:
    """Return the belief (h, w) in [0, 1] that a cell is the object's, from clicks.

    It is how far a cell is from both kinds of clicks, over the frame and in features.

    features: (C, h, w). picture: float (3, h, w) in [0, 1]. on, off: bool (h, w).
    """
    paths = _paths(features.cpu().numpy())
    path_on, path_off = (torch.from_numpy(_geodesic(paths, cells)).to(features) for cells in (on, off))
    seeds_on, seeds_off = (torch.from_numpy(cells).to(features.device) for cells in (on, off))
    like = _nearest(features, seeds_off) - _nearest(features, seeds_on)
    belief = torch.sigmoid(_PATH * (path_off - path_on) + _LIKE * like)
    return _settled(belief, picture, seeds_on, seeds_off)


def fill(features: Tensor, picture: Tensor, on: np.ndarray, off: np.ndarray) -> Tensor:
    """Return the belief (h, w) in [0, 1] that a cell is the object's, from a box.

    Each cell goes to the nearer of two sets of means: those of the object's cells and those of the cells
    around it. Means and belief are updated in turn, as GrabCut does with colours (Rother, Kolmogorov and
    Blake, SIGGRAPH 2004). Arguments as in `grow`; `off` is all that is outside.
    """
    seeds_on, outside = (torch.from_numpy(cells).to(features.device) for cells in (on, off))
    ring, middle = (torch.from_numpy(cells).to(features.device) for cells in _around(~off))
    cells, found, belief = features.flatten(1).T, seeds_on, seeds_on.float()
    for turn in range(_TURNS):
        beside = ring | (~outside & ~found) if turn else ring
        if not beside.any():
            beside = ~found
        near = [
            torch.cdist(cells, _means(cells[part.flatten()], count)).min(1)[0]
            for part, count in ((found, 6), (beside, 10))
        ]
        logit = _UNLIKE * (near[1] - near[0]).reshape(found.shape) + middle.to(features)
        belief = _settled(torch.sigmoid(logit), picture, seeds_on & (logit > 0), outside)
        found = belief > 0.5
        if found.sum() < 4:
            found = seeds_on
    return belief


def _settled(belief: Tensor, picture: Tensor, on: Tensor, off: Tensor) -> Tensor:
    """A belief (h, w) that follows the picture's edges and keeps to what is sure."""
    sure = belief.masked_fill(on, 1).masked_fill(off, 0)
    smooth = guided_filter(picture, sure[None], radius=2, eps=1e-3)[0].clamp(0, 1)
    return smooth.masked_fill(on, 1).masked_fill(off, 0)


def _around(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A ring around a box, bool (h, w); how much the box's middle counts over its border, float (h, w)."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    reach_y, reach_x = max(2, (bottom - top) // 3), max(2, (right - left) // 3)
    ring = np.zeros_like(inside)
    ring[max(0, top - reach_y) : bottom + reach_y, max(0, left - reach_x) : right + reach_x] = True
    y, x = np.indices(inside.shape) + 0.5
    off_centre = np.maximum(
        abs(2 * y - top - bottom) / (bottom - top), abs(2 * x - left - right) / (right - left)
    )
    return ring & ~inside, 0.6 - off_centre**2


def _means(points: Tensor, count: int) -> Tensor:
    """(n, C) -> (count or fewer, C): k-means, begun at points far from one another.

    scipy's kmeans2 does not serve: it warns about equal points, which a plain picture has, and needs the CPU.
    """
    first = torch.cdist(points, points.mean(0, keepdim=True))[:, 0].argmin()
    means = points[first][None]
    for _ in range(min(count, len(points)) - 1):
        means = torch.cat((means, points[torch.cdist(points, means).min(1)[0].argmax()][None]))
    for _ in range(6):
        nearest = torch.cdist(points, means).argmin(1)
        sums = torch.zeros_like(means).index_add_(0, nearest, points)
        sizes = torch.bincount(nearest, minlength=len(means))[:, None]
        means = torch.where(sizes > 0, sums / sizes.clamp(min=1), means)
    return means


def _nearest(features: Tensor, chosen: Tensor) -> Tensor:
    """(h, w): distance of each cell's features to those of the nearest chosen cell.

    The largest number where no cell is chosen.
    """
    if not chosen.any():
        return torch.full(features.shape[1:], 1.0, device=features.device)
    keys = features[:, chosen].T
    keys = keys[:: max(1, len(keys) // 2000)]
    count = min(3, len(keys))
    distances = torch.cdist(features.flatten(1).T[None], keys[None])[0].topk(count, largest=False)[0].mean(1)
    return distances.reshape(features.shape[1:]).clamp(max=1.0)


def _paths(features: np.ndarray) -> Any:
    """Sparse (h*w, h*w): what a step between neighbouring cells costs, from features (C, h, w)."""
    from scipy.sparse import coo_array

    cells = np.arange(features[0].size).reshape(features.shape[1:])
    down = np.linalg.norm(features[:, 1:] - features[:, :-1], axis=0)
    right = np.linalg.norm(features[:, :, 1:] - features[:, :, :-1], axis=0)
    costs = np.concatenate((down.ravel(), right.ravel())).astype(np.float64) + _STEP
    one = np.concatenate((cells[:-1].ravel(), cells[:, :-1].ravel()))
    other = np.concatenate((cells[1:].ravel(), cells[:, 1:].ravel()))
    return coo_array((costs, (one, other)), shape=(cells.size, cells.size)).tocsr()


def _geodesic(paths: Any, start: np.ndarray) -> np.ndarray:
    """float32 (h, w): the cheapest way from any of the cells `start`; at most `_FAR`."""
    from scipy.sparse.csgraph import dijkstra

    if not start.any():
        return np.full(start.shape, _FAR, np.float32)
    cost = dijkstra(paths, directed=False, indices=np.flatnonzero(start), min_only=True)
    return cost.clip(max=_FAR).reshape(start.shape).astype(np.float32)


def connected(mask: np.ndarray, touched: np.ndarray) -> np.ndarray:
    """bool (H, W): the parts of `mask` that hang together with a pixel of `touched`, by their sides."""
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    return np.isin(parts, parts[mask & touched]) & mask


_COLOUR = 0.5  # weight of Lab beside features of unit length
_CORE = 0.3  # part of a box that is taken for the object
_STEP = 0.02  # what a step costs beside the difference of the cells
_PATH, _LIKE, _UNLIKE = 1.0, 4.0, 12.0  # weights of way and likeness
_TURNS = 2
_FAR = 1e3
