"""The masks of many objects, held as one label map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mamp.core.files import MB


class LabelMasks:
    """Masks (K, H, W) of the objects in a label map, made a few at a time.

    State: `number` (H, W), 0 to K-1 where an object is and -1 elsewhere; int16, or int32 for more than that.
    """

    def __init__(self, labels: np.ndarray, ids: Sequence[int], *, device: torch.device | str = "cpu") -> None:
        """Take the objects `ids`, in this order, from a label map (H, W) of uint8 or uint16."""
        number = np.full(int(labels.max(initial=0)) + 1, -1, np.int16 if len(ids) < 2**15 else np.int32)
        for k, label in enumerate(ids):
            if label < len(number):
                number[label] = k
        self.number = torch.from_numpy(number[labels]).to(device)
        self.count = len(ids)

    def __len__(self) -> int:
        return self.count

    def part(self, first: int, last: int) -> Tensor:
        """Masks first to last - 1, uint8 (last - first, H, W); -1 is what belongs to none of all K."""
        wanted = torch.arange(first, last, device=self.number.device, dtype=self.number.dtype)
        return (self.number == wanted[:, None, None]).to(torch.uint8)

    def parts(self, max_bytes: int = 64 * MB) -> Iterator[Tensor]:
        """All masks in order, as many at a time as fit in `max_bytes` as float32."""
        step = max(1, max_bytes // (4 * self.number.numel()))
        for first in range(0, self.count, step):
            yield self.part(first, min(first + step, self.count))
