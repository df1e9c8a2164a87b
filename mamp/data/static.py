"""Still pictures with masks, for pretraining: their masks made one kind of label map."""

from __future__ import annotations

import numpy as np

DARK = 128  # mean of a colour's channels below which it is no object


def unified_labels(mask: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3), a colour for each object -> uint8 (H, W) labels, as AFB-URR's program makes them.

    Colours are numbered from 0 in the order of (blue, green, red); a dark one that is not black is background and uses up
    no number. Where black is absent the first colour shares 0.
    """
    codes = mask[..., ::-1].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])  # blue counts most
    found, places = np.unique(codes, return_inverse=True)
    sums = (found >> 16) + (found >> 8 & 255) + (found & 255)
    kept = ~((sums > 0) & (sums < 3 * DARK))
    labels = np.where(kept, np.cumsum(kept) - 1, 0)
    return labels[places].reshape(mask.shape[:2]).astype(np.uint8)
