"""Small folders of masks whose scores can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mamp.video.masks import write_mask


def square(label: int, *, x: int = 2, onto: np.ndarray | None = None) -> np.ndarray:
    """20x20 with an 8x8 square of one label; moved by one pixel its J is 56/72 and its F is 1."""
    labels = np.zeros((20, 20), np.uint8) if onto is None else onto.copy()
    labels[2:10, x : x + 8] = label
    return labels


def bar(label: int, *, onto: np.ndarray | None = None) -> np.ndarray:
    """20x20 with a 4x16 bar of one label, below the square."""
    labels = np.zeros((20, 20), np.uint8) if onto is None else onto.copy()
    labels[13:17, 2:18] = label
    return labels


EMPTY = np.zeros((20, 20), np.uint8)


def write(folder: Path, maps: Mapping[str, np.ndarray] | Sequence[np.ndarray]) -> Path:
    """Write label maps as FOLDER/NAME.png and return FOLDER; a list is named 00000, 00001, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    named = maps if isinstance(maps, Mapping) else {f"{t:05d}": labels for t, labels in enumerate(maps)}
    for name, labels in named.items():
        write_mask(folder / f"{name}.png", labels)
    return folder
