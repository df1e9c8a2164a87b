"""Find the hard mask whose blurred picture is given: a cut at the half loses thin objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

_MOST = 2**17  # pixels around the object; a larger picture is reduced
_LEAST_GAIN = 0.004  # root mean square that the cut at the half must be off by for more to be tried
_EXPLAINED = 0.004  # root mean square under which a blur explains the picture, but for its rounding
_HARD = 0.3  # how far the blur of the mask may be off anywhere
_GREY, _FLAT = 0.15, 0.08  # how far from 0 and 1 grey is, and over how much flat places vary
_GAUSS = np.geomspace(0.5, 8, 25)  # standard deviations, in pixels
_BOX = np.arange(1, 13).astype(float)  # radii, in pixels
_ROUND = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_TRIES, _STEPS = 3, 60  # to find the width of the blur
_LAST_STEPS = 1000  # more would sharpen what the rounding left
_MOST_WORK = 4 * 10**7  # pixels times steps, of the last steps; a quarter of it in each try

Line = Callable[[float, np.ndarray], np.ndarray]


def unblurred(level: np.ndarray) -> np.ndarray | None:
    """The bool mask (H, W) whose blur `level`, in [0, 1], is; None where no Gaussian or box blur explains it.

    The mask is nearest to `level` after the blur, by accelerated projected gradients. Three kinds of blur are
    tried, of the width that leaves the least difference.
    """
    found = unblurred_classes(np.stack([1 - level, level]))
    return None if found is None else found == 1


def unblurred_classes(weights: np.ndarray) -> np.ndarray | None:
    """The classes (H, W) whose blur `weights` (K, H, W) is, parts of a pixel; None as above."""
    ground = int(weights.sum((1, 2)).argmax())
    box = _around_it(1 - weights[ground])
    if box is None:
        return None
    parts = np.delete(weights, ground, axis=0)[:, box[0], box[1]].astype(np.float32)
    scale = int(np.ceil((parts[0].size / _MOST) ** 0.5))
    small = parts if scale == 1 else _reduced(parts, scale)
    found = _explained(small.sum(0))
    if found is None:
        return None
    blur = _Blur(small.shape[1:], found.line, found.width)
    pictures = [found.picture]
    if len(small) > 1:
        pictures = [_solve(part, blur, _steps(part, _LAST_STEPS, 1), blur.pad(part)) for part in small]
    pictures.insert(0, 1 - np.sum(pictures, axis=0))  # of the background, then of each other class
    if any(_has_grey(part, max(2, round(2 * found.width))) for part in small):
        return None
    labels = np.argmax([blur.crop(picture) for picture in pictures], axis=0)
    for k, part in enumerate(small, start=1):
        if np.abs(blur.crop(blur.of(blur.pad((labels == k).astype(np.float32)))) - part).max() > _HARD:
            return None
    if scale > 1:
        labels = np.argmax([_enlarged(blur.crop(p), scale, parts.shape[1:]) for p in pictures], axis=0)
    others = np.delete(np.arange(len(weights)), ground)
    whole = np.full(weights.shape[1:], ground, np.int64)
    whole[box] = np.concatenate([[ground], others])[labels]
    return whole


def _has_grey(part: np.ndarray, reach: int) -> bool:
    """Whether places of a blurred picture that are wider than the blur are flat, and neither 0 nor 1."""
    low = high = part
    for axis in (0, 1):
        for _ in range(reach):
            low = np.minimum(np.minimum(np.roll(low, 1, axis), np.roll(low, -1, axis)), low)
            high = np.maximum(np.maximum(np.roll(high, 1, axis), np.roll(high, -1, axis)), high)
    return bool(((high - low < _FLAT) & (low > _GREY) & (high < 1 - _GREY)).any())


def _around_it(level: np.ndarray) -> tuple[slice, slice] | None:
    """The part of a picture that is not 0, and some pixels more; None where nothing is soft."""
    inside = level > 0.01
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    box = np.s_[max(rows[0] - 12, 0) : rows[-1] + 13, max(columns[0] - 12, 0) : columns[-1] + 13]
    part = level[box]
    return box if ((part > 0.02) & (part < 0.98)).any() else None


def _reduced(parts: np.ndarray, scale: int) -> np.ndarray:
    """The means of `scale` x `scale` pixels, the last ones repeated."""
    more = [(0, 0), (0, -parts.shape[1] % scale), (0, -parts.shape[2] % scale)]
    wide = np.pad(parts, more, mode="edge")
    return wide.reshape(len(parts), wide.shape[1] // scale, scale, -1, scale).mean((2, 4))


def _enlarged(picture: np.ndarray, scale: int, shape: tuple[int, ...]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(picture, np.float32))
    size = image.width * scale, image.height * scale
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))[: shape[0], : shape[1]]


@dataclass
class _Begun:
    """A kind of blur and its width, the picture without it so far, padded, and the root mean square left."""

    line: Line
    width: float
    picture: np.ndarray
    left: float


def _explained(part: np.ndarray) -> _Begun | None:
    """The blur that explains a picture, and the picture without it."""
    if _best_width(part, part > 0.5, _gauss, _GAUSS)[0] == _GAUSS[0]:
        return None  # no blur, but perhaps the noise of a JPEG
    tries = [_begun(part, line, widths) for line, widths in _KINDS]
    begun = min((begun for begun in tries if begun is not None), key=lambda begun: begun.left, default=None)
    if begun is None:
        return None
    likely = min((_after(part, one, 4) for one in _of_round_width(begun)), key=lambda after: after.left)
    found = _after(part, likely, 1)
    return found if found.left <= _EXPLAINED else None


def _begun(part: np.ndarray, line: Line, widths: np.ndarray) -> _Begun | None:
    """The width of one kind of blur, by turns with the picture without it; None where it gains nothing."""
    width, before = _best_width(part, part > 0.5, line, widths)
    if before < _LEAST_GAIN:
        return None
    picture, left = part, before
    for _ in range(_TRIES):
        blur = _Blur(part.shape, line, width)
        picture = blur.crop(_solve(part, blur, _steps(part, _STEPS, 4), blur.pad(picture)))
        width, left = _best_width(part, picture > 0.5, line, _around(line, width))
        if left > 0.8 * before:
            return None
    return _Begun(line, width, picture, left)


def _after(part: np.ndarray, begun: _Begun, share: int) -> _Begun:
    """The same after a share of the last steps: the blur that is right leaves the least."""
    blur = _Blur(part.shape, begun.line, begun.width)
    picture = _solve(part, blur, _steps(part, _LAST_STEPS // share, share), blur.pad(part))
    left = float(np.sqrt(((blur.crop(blur.of(picture)) - part) ** 2).mean()))
    return replace(begun, picture=picture, left=left)


def _of_round_width(begun: _Begun) -> list[_Begun]:
    """The blur that was found, and those of a round width near it, as people choose them."""
    if begun.line is _flat:
        return [begun]
    near = [width for width in _ROUND if abs(width - begun.width) <= 0.15 * begun.width]
    round_ones = [replace(begun, line=line, width=width) for width in near for line in _GAUSSIANS]
    return [begun, *round_ones]


def _steps(part: np.ndarray, most: int, share: int) -> int:
    return max(20, min(most, _MOST_WORK // (share * part.size)))


def _around(line: Line, width: float, part: float = 0.15) -> np.ndarray:
    """Widths to try near one: up to so large a part of it more or less."""
    return _BOX if line is _flat else width * np.linspace(1 - part, 1 + part, 13)


def _best_width(part: np.ndarray, mask: np.ndarray, line: Line, widths: np.ndarray) -> tuple[float, float]:
    """The width whose blur of the mask is nearest to the picture, and the root mean square between them."""
    blur = _Blur(part.shape, line, float(widths[-1]))
    hard, soft = (np.fft.rfft2(blur.pad(x)) for x in (mask.astype(np.float32), part))
    off = [float(np.sum(np.abs(hard * blur.response(w) - soft) ** 2)) for w in widths]
    best = int(np.argmin(off))
    left = blur.crop(np.fft.irfft2(hard * blur.response(widths[best]) - soft, s=blur.full))
    return float(widths[best]), float(np.sqrt((left**2).mean()))


def _solve(part: np.ndarray, blur: _Blur, steps: int, start: np.ndarray) -> np.ndarray:
    """The picture in [0, 1] whose blur is nearest to `part` (FISTA), padded as `start` is.

    What lies outside a picture that an object touches is open: programs blur there in several ways.
    """
    wanted, response = blur.pad(part), blur.response(blur.width)
    turned = np.fft.rfft2(wanted)
    open_ = blur.pad(np.ones_like(part), mode="constant") if _touches(part) else None
    now = ahead = start
    speed = 1.0
    for _ in range(steps):
        if open_ is None:
            off = np.fft.rfft2(ahead) * response - turned
        else:
            off = np.fft.rfft2(open_ * (blur.of(ahead) - wanted))
        then = np.clip(ahead - np.fft.irfft2(off * response, s=blur.full), 0, 1).astype(np.float32)
        faster = (1 + (1 + 4 * speed * speed) ** 0.5) / 2
        ahead = then + np.float32((speed - 1) / faster) * (then - now)
        now, speed = then, faster
    return now


def _touches(part: np.ndarray) -> bool:
    return bool(max(part[0].max(), part[-1].max(), part[:, 0].max(), part[:, -1].max()) > 0.01)


class _Blur:
    """A blur of one width on pictures of one shape. State: the shape they are padded to."""

    def __init__(self, shape: tuple[int, ...], line: Line, width: float) -> None:
        self.shape, self.line, self.width = shape, line, width
        self.edge = int(4 * width) + 2
        self.full = _quick(shape[0] + 2 * self.edge), _quick(shape[1] + 2 * self.edge)

    def response(self, width: float) -> np.ndarray:
        """What the blur leaves of each frequency."""
        height, across = self.full
        down = self.line(width, np.fft.fftfreq(height))
        return (down[:, None] * self.line(width, np.fft.rfftfreq(across))[None]).astype(np.float32)

    def of(self, padded: np.ndarray) -> np.ndarray:
        """The blur of a padded picture."""
        return np.fft.irfft2(np.fft.rfft2(padded) * self.response(self.width), s=self.full)

    def pad(self, picture: np.ndarray, *, mode: Any = "edge") -> np.ndarray:
        """The picture with its edge repeated."""
        (height, width), edge = self.shape, self.edge
        sides = (edge, self.full[0] - height - edge), (edge, self.full[1] - width - edge)
        return np.pad(picture, sides, mode=mode).astype(np.float32)

    def crop(self, padded: np.ndarray) -> np.ndarray:
        """The picture without that edge."""
        return padded[self.edge : self.edge + self.shape[0], self.edge : self.edge + self.shape[1]]


def _gauss(deviation: float, frequency: np.ndarray) -> np.ndarray:
    return np.exp(-2 * (np.pi * deviation * frequency) ** 2)


def _boxes(deviation: float, frequency: np.ndarray) -> np.ndarray:
    """Three boxes of a radius that is no whole number, which Pillow calls a Gaussian blur."""
    whole = int(((4 * deviation * deviation + 1) ** 0.5 - 1) / 2)
    third = deviation * deviation / 3
    rest = (2 * whole + 1) * (whole * (whole + 1) - 3 * third) / (6 * (third - (whole + 1) ** 2))
    waves = [2 * np.cos(2 * np.pi * frequency * i) for i in range(1, whole + 1)]
    last = 2 * rest * np.cos(2 * np.pi * frequency * (whole + 1))
    return ((1 + np.sum(waves, axis=0) + last) / (2 * (whole + rest) + 1)) ** 3


def _flat(radius: float, frequency: np.ndarray) -> np.ndarray:
    waves = [2 * np.cos(2 * np.pi * frequency * i) for i in range(1, int(radius) + 1)]
    return (1 + np.sum(waves, axis=0)) / (2 * int(radius) + 1)


_GAUSSIANS: tuple[Line, ...] = (_gauss, _boxes)
_KINDS: tuple[tuple[Line, np.ndarray], ...] = ((_gauss, _GAUSS), (_boxes, _GAUSS), (_flat, _BOX))


def _quick(length: int) -> int:
    """The next length that the Fourier transform is quick for: of factors 2, 3 and 5."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
