"""What needs no network: the row every table is measured against."""

from __future__ import annotations

from typing import Any

import numpy as np

from mamp.segmentation.segmenter import MaskMode


class CopySegmenter:
    """Repeats the last mask it was given; steps like a `Segmenter`. State: that mask."""

    report: None = None  # there is no memory to report on

    def __init__(self) -> None:
        self._labels: np.ndarray | None = None

    def refuse_too_many(self, objects: int, size: tuple[int, int]) -> None:
        """A mask takes no memory to speak of."""

    def step(
        self, frame: np.ndarray, mask: Any = None, *, mode: MaskMode | str = MaskMode.OBJECTS
    ) -> np.ndarray:
        """The label map of the next frame: ids given so far, each where it was last given.

        frame: uint8 (H, W, 3). mask: integer (H, W) label map or None. With a `mode` other
        than `objects`, earlier masks are forgotten.
        """
        if self._labels is None:
            self._labels = np.zeros(frame.shape[:2], np.uint8)
        if mask is not None and mode != MaskMode.OBJECTS:
            self._labels = mask.copy()
        elif mask is not None:
            kept = np.where(np.isin(self._labels, np.unique(mask)), 0, self._labels)
            self._labels = np.where(mask > 0, mask, kept)
        return self._labels.copy()
