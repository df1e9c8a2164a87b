"""The baseline `copy`, which needs no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from mamp.segmentation.segmenter import MaskMode


class CopySegmenter:
    """Repeat the last mask given. It steps like a `Segmenter`; its state is that mask."""

    report: None = None  # there is no memory to report on

    def __init__(self) -> None:
        self._labels: np.ndarray | None = None

    def refuse_too_many(self, objects: int, size: tuple[int, int]) -> None:
        """Do nothing: a mask takes little memory."""

    def step(
        self, frame: np.ndarray, mask: Any = None, *, mode: MaskMode | str = MaskMode.OBJECTS
    ) -> np.ndarray:
        """Return the label map of the next frame: each object where its last mask shows it.

        Args:
            frame: uint8 (H, W, 3).
            mask: integer label map (H, W), or None.
            mode: as in `Segmenter.step`; any but `objects` forgets earlier masks.
        """
        if self._labels is None:
            self._labels = np.zeros(frame.shape[:2], np.uint8)
        if mask is not None and mode != MaskMode.OBJECTS:
            self._labels = mask.copy()
        elif mask is not None:
            kept = np.where(np.isin(self._labels, np.unique(mask)), 0, self._labels)
            self._labels = np.where(mask > 0, mask, kept)
        return self._labels.copy()
