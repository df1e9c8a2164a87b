"""Dense inverse search (Kroeger et al., ECCV 2016), OpenCV's; needs no training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.core.errors import UserError
from mamp.propagation.motion.source import Source

SMALLEST = 16  # pixels; OpenCV refuses frames below 12


class DisFlow(Source):
    """DIS flow at the frame's own resolution, averaged over each cell's pixels; stride: pixels to a cell."""

    def __init__(
        self,
        *,
        preset: str = "medium",
        stride: int = 4,
        section: str = "method.motion",
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        try:
            import cv2
        except ImportError:
            raise UserError(
                f'{section}.source=dis needs OpenCV; pip install "mamp[opencv]", or use'
                f" {section}.source=coarse"
            ) from None
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        self.search: Any = cv2.DISOpticalFlow.create(presets[preset])
        self.stride, self.device = stride, torch.device(device)

    def _keep(self, frame: Tensor) -> np.ndarray:
        """Grey levels uint8 (H, W)."""
        red, green, blue = (255 * frame).cpu()
        grey = (0.299 * red + 0.587 * green + 0.114 * blue).round().clamp(0, 255)
        return grey.to(torch.uint8).numpy()

    def _between(self, query: np.ndarray, memory: np.ndarray, *, apart: int) -> Tensor:
        height, width = query.shape
        room = ((0, max(0, SMALLEST - height)), (0, max(0, SMALLEST - width)))
        flow = self.search.calc(np.pad(query, room, "edge"), np.pad(memory, room, "edge"), None)
        pixels = torch.from_numpy(flow[:height, :width]).movedim(-1, 0).to(self.device)  # (2, H, W)
        return to_cells(pixels, self.stride)


def to_cells(flow: Tensor, stride: int = 4) -> Tensor:
    """(2, H, W) in pixels -> (2, ceil(H/stride), ceil(W/stride)) in cells.

    A cell has the mean of the pixels around its centre, stride * i.
    """
    if stride == 1:
        return flow
    around = F.avg_pool2d(flow[None], stride + 1, stride=stride, padding=stride // 2, count_include_pad=False)
    return around[0] / stride
