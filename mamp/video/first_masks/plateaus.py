"""Flat colours where nothing changes, and soft pixels given to those that are near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_REACH = 32.0  # how far from a flat colour its own pixels are, in levels of 255 (Euclidean over channels)
_APART = 40.0  # how far two flat colours are apart at least
_APART_AT_EDGES = 56.0  # the same where a JPEG leaves colours of its own: near edges
_CALM = 12  # levels over which a place may vary where nothing changes
_NOISY = 40  # the same, where a JPEG has left its marks
_LEAST = 9  # pixels of a flat colour in calm places
_LEAST_EXACT = 25  # the same for one that may be a mixture of two others, where nothing changes at all
_LEAST_ON_LINE = 90  # the same where little changes
_REDRAWN = 3  # pixels from an edge that are cut by brightness
_BRIGHTER = 24.0  # levels of brightness between two colours that are cut so
_BETWEEN = 16.0  # how far a mixture of two flat colours may be from the line between them
_MOST = 40  # flat colours; a picture with more, and soft edges, is a photograph
_FAR = 12  # pixels over which a soft edge reaches
_BIN = 8


@dataclass
class Plateaus:
    """colours: float32 (K, C). clear: the class of transparent pixels, which has no colour, or None."""

    colours: np.ndarray
    clear: int | None = None

    def opaque(self) -> np.ndarray:
        """The classes that have a colour."""
        return np.array([k for k in range(len(self.colours)) if k != self.clear], np.int64)

    def nearest(self, values: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
        """int64 (N,) class of each of `values` (N, C) whose colour is nearest."""
        classes = self.opaque() if among is None else among
        best = np.zeros(len(values), np.int64)
        least = np.full(len(values), np.inf, np.float32)
        for k in classes:  # one at a time: all at once would take K times the memory
            off = ((values - self.colours[k]) ** 2).sum(-1)
            closer = off < least
            best[closer], least[closer] = k, off[closer]
        return best


def find_plateaus(values: np.ndarray, clear: np.ndarray | None) -> tuple[Plateaus, np.ndarray]:
    """Return the flat colours of (H, W, C) values in 0 to 255, and each pixel's class (H, W).

    The class is K where a pixel does not surely have one. clear: where the picture is transparent.
    """
    wide, narrow = _range(values, 2), _range(values, 1)
    opaque = np.ones(values.shape[:2], bool) if clear is None else ~clear
    found: list[np.ndarray] = []
    calm = opaque & (wide <= _CALM)
    # a blur of thin things close together is calm too, in places that are small or change a little
    _add(found, values[opaque & (wide <= 1)], least=_LEAST, on_line=_LEAST_EXACT)
    _add(found, values[calm & (_range(values, 3) <= _CALM)], least=_LEAST)
    _add(found, values[calm], least=_LEAST, on_line=_LEAST_ON_LINE)
    for level, least in ((_CALM, 6), (_NOISY, 12)):
        _add(
            found, values[opaque & (narrow <= level)], least=least, on_line=values.size, apart=_APART_AT_EDGES
        )
    if len(found) + (clear is not None) < 2:
        _add_extreme(found, values[opaque])
    found.sort(key=lambda colour: colour.tolist())
    colours = np.array(found, np.float32).reshape(len(found), values.shape[2])
    if clear is not None:
        colours = np.concatenate([colours, np.zeros((1, values.shape[2]), np.float32)])
    plateaus = Plateaus(colours, len(found) if clear is not None else None)
    known = plateaus.nearest(values.reshape(-1, values.shape[2])).reshape(opaque.shape)
    off = np.abs(values - colours[known]).max(-1)
    known[(off > _REACH) | (narrow > _CALM)] = len(colours)
    if clear is not None:
        known[clear] = len(found)
    return plateaus, known


def local_nearest(values: np.ndarray, known: np.ndarray, plateaus: Plateaus) -> np.ndarray:
    """uint8 (H, W): `known`, with each open pixel (class K) given to the nearest colour around it.

    Between a bright and a black object there are pixels that look like a third one; what is not near cannot
    be it.
    """
    count, channels = len(plateaus.colours), values.shape[2]
    labels = known.astype(np.uint8 if count < 256 else np.int32)
    open_ = known == count
    if not open_.any():
        return labels
    loose = values[open_].reshape(-1, channels)
    labels[open_] = plateaus.nearest(loose)
    if not 2 < len(plateaus.opaque()) <= 62:
        return labels
    near = _classes_around(known, open_, count)[open_]
    for mask in np.unique(near):
        classes = np.array([k for k in plateaus.opaque() if int(mask) >> int(k) & 1], np.int64)
        if len(classes) < 2:
            continue
        chosen = near == mask
        some = loose[chosen]
        best = plateaus.nearest(some, classes)
        # something thin, whose colour is nowhere flat, is no mixture of the classes around
        thin = _off_lines(some, plateaus.colours[classes]) > _APART
        place = np.flatnonzero(open_.ravel())[chosen]
        labels.reshape(-1)[place] = np.where(thin, labels.reshape(-1)[place], best)
    return labels


def cut_by_brightness(bright: np.ndarray, labels: np.ndarray, of_class: np.ndarray) -> np.ndarray:
    """`labels` with objects cut from the background at the half of their brightness.

    A JPEG keeps brightness sharper than hue. bright: (H, W). of_class: (K,) the brightness of each class.
    """
    ground = int(np.bincount(labels.ravel()).argmax())
    object_, edge = labels.copy(), labels == ground
    for _ in range(_REDRAWN):
        object_ = _grown(object_, ground)
        edge = _grown(edge, False)
    way = of_class[object_] - of_class[ground]
    sure = np.abs(way) >= _BRIGHTER
    part = (bright - of_class[ground]) / np.where(sure, way, 1)
    change = (object_ != ground) & sure & edge
    return np.where(change, np.where(part > 0.5, object_, ground), labels).astype(labels.dtype)


def _grown(labels: np.ndarray, ground: int | bool) -> np.ndarray:
    """Each pixel of the ground with the class of a neighbour that is not."""
    wide, grown = np.pad(labels, 1, mode="edge"), labels
    for beside in (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]):
        grown = np.where(grown == ground, beside, grown)
    return grown


def _classes_around(known: np.ndarray, open_: np.ndarray, count: int) -> np.ndarray:
    """uint64 (H, W): a bit for each class within the least distance at which there are two."""
    near = np.where(open_, np.uint64(0), np.uint64(1) << known.clip(0, count - 1).astype(np.uint64))
    for _ in range(_FAR):
        waiting = open_ & ((near & (near - np.uint64(1))) == 0)
        if not waiting.any():
            break
        spread = near.copy()
        spread[1:] |= near[:-1]
        spread[:-1] |= near[1:]
        wider = spread.copy()
        wider[:, 1:] |= spread[:, :-1]
        wider[:, :-1] |= spread[:, 1:]
        near = np.where(waiting, wider, near)
    return near


def unlike_flat(values: np.ndarray, labels: np.ndarray, plateaus: Plateaus, *, noise: float) -> str:
    """Return why a picture is no mask in flat colours, in words; "" when it may be one.

    noise: how far colours may be off where there is no edge.
    """
    opaque = labels != plateaus.clear if plateaus.clear is not None else np.ones(labels.shape, bool)
    classes = plateaus.opaque()
    if len(classes) > _MOST:
        return f", {len(classes)} of them in flat places"
    off = _off(values, plateaus.colours[labels])
    calm = opaque & (_range(values, 2) <= _CALM)
    if calm.any() and (off[calm] <= 8).mean() < 0.85:
        return " that change little by little"
    short = min(labels.shape)
    near = _near_an_edge(labels, max(6, short // 40) if len(classes) > 2 else max(_FAR, short // 12))
    if (opaque & ~near & (off > noise)).sum() > 0.03 * opaque.sum():
        return ", far from any edge too"
    crossings = (labels[:, 1:] != labels[:, :-1]).mean() + (labels[1:] != labels[:-1]).mean()
    if len(classes) > 1 and crossings > 0.15 and labels.size > 4096:
        return " in small pieces"
    return ""


# ---------------------------------------------------------------- looking for flat colours


def _add(
    found: list[np.ndarray], values: np.ndarray, *, least: int, on_line: int = 0, apart: float = _APART
) -> None:
    """Add the colours that most of `values` (N, C) have, `least` pixels or more, each apart from the others;
    `on_line` or more where it may be a mixture of two that were found.
    """
    if not len(values):
        return
    cells, place, counts = np.unique(
        (values // _BIN).astype(np.int32), axis=0, return_inverse=True, return_counts=True
    )
    sums = np.zeros((len(cells), values.shape[1]))
    for channel in range(values.shape[1]):
        sums[:, channel] = np.bincount(place.reshape(-1), weights=values[:, channel], minlength=len(cells))
    means, left = sums / counts[:, None], counts.astype(np.float64)
    while len(found) <= _MOST:
        best = int(left.argmax())
        if left[best] <= 0:
            return
        close = _off(means, means[best]) <= _REACH
        weight = left[close].sum()
        colour = _middle(means[close], left[close])
        left[close] = 0
        alone = all(_off(colour, other) > apart for other in found)
        if weight >= least and alone and (weight >= on_line or not _on_a_line(colour, found, apart)):
            found.append(colour.astype(np.float32))


def _middle(means: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The colour of the heaviest cell and those beside it."""
    beside = _off(means, means[weights.argmax()]) <= _BIN
    return np.average(means[beside], axis=0, weights=weights[beside])


def _add_extreme(found: list[np.ndarray], values: np.ndarray) -> None:
    """Add the colour farthest from the one found: of an object that is nowhere flat."""
    if not len(values):
        return
    start = found[0] if found else values.min(0)
    off = _off(values, start)
    if off.max() > _APART:
        far = values[off >= np.quantile(off[off > _APART / 2], 0.99)]
        found.append(far.mean(0).astype(np.float32))
    if not found:
        found.append(start.astype(np.float32))


def _off_lines(values: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """How far each of (N, C) values is from the nearest mixture of two of the colours."""
    least = np.full(len(values), np.inf)
    for i, first in enumerate(colours):
        for second in colours[:i]:
            way = second - first
            part = np.clip(((values - first) @ way) / max(float(way @ way), 1e-9), 0, 1)
            least = np.minimum(least, _off(values, first + part[..., None] * way))
    return least


def _on_a_line(colour: np.ndarray, found: list[np.ndarray], apart: float) -> bool:
    """Whether a colour is a mixture of two that were found, or near one."""
    return len(found) > 1 and bool(_off_lines(colour[None], np.array(found))[0] <= apart)


def outermost(colours: np.ndarray) -> list[int]:
    """The places of the colours that are no mixture of two others, farthest ones first considered."""
    kept = list(range(len(colours)))
    while len(kept) > 2:
        between = [
            k for k in kept
            if _off_lines(colours[k][None], colours[[j for j in kept if j != k]])[0] <= _BETWEEN
        ]  # fmt: skip
        if not between:
            break
        centre = colours[kept].mean(0)
        kept.remove(min(between, key=lambda k: float(_off(colours[k], centre))))
    return kept


def _off(values: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.sqrt(((values - colour) ** 2).sum(-1))


def _range(values: np.ndarray, reach: int) -> np.ndarray:
    """(H, W) how far the values within `reach` pixels are apart, in the channel where it is most."""
    low, high = values, values
    for _ in range(reach):
        low, high = _spread(low, np.minimum), _spread(high, np.maximum)
    return (high - low).max(-1)


def _spread(values: np.ndarray, pick: np.ufunc) -> np.ndarray:
    wide = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge")
    tall = pick(pick(wide[:-2], wide[1:-1]), wide[2:])
    return pick(pick(tall[:, :-2], tall[:, 1:-1]), tall[:, 2:])


def _near_an_edge(labels: np.ndarray, reach: int) -> np.ndarray:
    near = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    near[:, 1:] |= across
    near[:, :-1] |= across
    near[1:] |= down
    near[:-1] |= down
    for _ in range(reach):
        wider = near.copy()
        wider[1:] |= near[:-1]
        wider[:-1] |= near[1:]
        near = wider.copy()
        near[:, 1:] |= wider[:, :-1]
        near[:, :-1] |= wider[:, 1:]
    return near
