"""Dense inverse search (Kroeger et al., ECCV 2016), OpenCV's; needs no training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mamp.core.errors import UserError
from mamp.propagation.motion.source import Source

STRIDE = 4  # pixels to a feature cell
SMALLEST = 16  # pixels; OpenCV refuses frames below 12


class DisFlow(Source):
    """DIS flow at the frame's own resolution, averaged over each cell's pixels."""

    def __init__(self, *, preset: str = "medium", device: torch.device | str = "cpu") -> None:
        super().__init__()
        try:
            import cv2
        except ImportError:
            raise UserError(
                "method.motion.source=dis needs OpenCV; pip install opencv-python-headless, or use"
                " method.motion.source=coarse"
            ) from None
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        self.search: Any = cv2.DISOpticalFlow.create(presets[preset])
        self.device = torch.device(device)

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
        return to_cells(pixels)


def to_cells(flow: Tensor) -> Tensor:
    """(2, H, W) in pixels -> (2, ceil(H/4), ceil(W/4)) in cells: the mean of the pixels around each cell's
    centre, 4 * i.
    """
    around = F.avg_pool2d(flow[None], STRIDE + 1, stride=STRIDE, padding=STRIDE // 2, count_include_pad=False)
    return around[0] / STRIDE
