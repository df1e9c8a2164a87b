"""What is said of a mask that was read: one line, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LARGE = 0.9  # part of the picture above which one object is odd
_MANY = 50  # objects
_SMALL = 30  # pixels
_BLOCK = 2**21  # pixels counted at a time
_SHOWN = 10  # objects named


def summary(name: str, labels: np.ndarray, notes: Sequence[str] = ()) -> str:
    """Return `first.png: objects 1 (12.3 %), 2 (0.4 %)`, then how it was read."""
    ids, counts = _objects(labels)
    words = [f"{i} ({_percent(count, labels.size)})" for i, count in zip(ids, counts, strict=True)]
    if len(words) > _SHOWN:
        words = [*words[:_SHOWN], f"and {len(words) - _SHOWN} more"]
    what = f"objects {', '.join(words)}" if words else "no object"
    return "; ".join([f"{name}: {what}", *(note for note in notes if note)])


def warnings_of(labels: np.ndarray, *, inverted: bool = False) -> list[str]:
    """What is odd about a label map, in words."""
    ids, counts = _objects(labels)
    odd = []
    corners = {int(labels[y, x]) for y in (0, -1) for x in (0, -1)}
    for i, count in zip(ids, counts, strict=True):
        if count > _LARGE * labels.size:
            odd.append(f"object {i} covers {_percent(count, labels.size)} of the frame, over 90 %")
        if corners == {i}:
            remedy = (
                "" if inverted else "; if background and object are exchanged, use --invert (invert=True)"
            )
            odd.append(f"object {i} touches all four corners{remedy}")
    if len(ids) > _MANY:
        odd.append(
            f"it has {len(ids)} objects, over {_MANY}; if they are shades of one, paint it in one colour"
        )
    small = [i for i, count in zip(ids, counts, strict=True) if count < _SMALL]
    if small:
        named = ", ".join(map(str, small[:_SHOWN])) + (", ..." if len(small) > _SHOWN else "")
        odd.append(f"{'object' if len(small) == 1 else 'objects'} {named}: under {_SMALL} pixels")
    return odd


def counted(labels: np.ndarray, least: int) -> np.ndarray:
    """Count the pixels of each number from 0 on, at least `least` numbers.

    It works in bands, since numpy counts in 64 bits.
    """
    total = np.zeros(least, np.int64)
    step = max(1, _BLOCK // max(labels.shape[1], 1))
    for top in range(0, len(labels), step):
        total += np.bincount(labels[top : top + step].ravel(), minlength=least)
    return total


def _objects(labels: np.ndarray) -> tuple[list[int], list[int]]:
    counts = counted(labels, int(labels.max(initial=0)) + 1)
    ids = np.flatnonzero(counts)
    ids = ids[ids > 0]
    return ids.tolist(), counts[ids].tolist()


def _percent(count: int, of: int) -> str:
    part = 100 * count / of
    return f"{part:.1f} %" if part >= 0.05 or not count else f"{part:.2g} %"
