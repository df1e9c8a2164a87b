"""Random frames and square masks for the methods' tests."""

import torch
from torch import Tensor

SIZE = (40, 56)


def frames(count: int, size: tuple[int, int] = SIZE) -> Tensor:
    """(count, 3, H, W) in [0, 1], the same every time."""
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))


def masks(*boxes: tuple[int, int], size: tuple[int, int] = SIZE) -> Tensor:
    """(K, H, W): a square of 12 pixels for each (top, left)."""
    found = torch.zeros(len(boxes), *size)
    for mask, (top, left) in zip(found, boxes, strict=True):
        mask[top : top + 12, left : left + 12] = 1
    return found
