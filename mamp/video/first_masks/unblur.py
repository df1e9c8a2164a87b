"""The hard mask whose blurred picture is the one given: a cut at the half loses what is thinner than the
blur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

_MOST = 2**17  # pixels around the object; in a larger picture the cut at the half loses little
_LEAST_GAIN = 0.004  # root mean square that the cut at the half must be off by for more to be tried
_EXPLAINED = 0.006  # root mean square under which a blur explains the picture, but for its rounding
_GAUSS = np.geomspace(0.5, 8, 25)  # standard deviations, in pixels
_BOX = np.arange(1, 13).astype(float)  # radii, in pixels
_ROUND = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
_TRIES, _STEPS = 3, 60  # to find the width of the blur
_LAST_STEPS = 800
_MOST_WORK = 2 * 10**7  # pixels times steps, of the last steps; a quarter of it in each try
_PULL = 0.02  # towards 0 and 1, in the last steps

Line = Callable[[float, np.ndarray], np.ndarray]


def unblurred(level: np.ndarray) -> np.ndarray | None:
    """The bool mask (H, W) whose blur `level`, in [0, 1], is; None where no Gaussian or box blur explains it.

    The mask is the one of 0 and 1 that is nearest to `level` after the blur, by accelerated projected
    gradients. Three kinds of blur are tried, of the width that leaves the least difference.
    """
    inside = level > 0.01
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return None
    box = np.s_[max(rows[0] - 12, 0) : rows[-1] + 13, max(columns[0] - 12, 0) : columns[-1] + 13]
    part = level[box].astype(np.float32)
    if part.size > _MOST or not ((part > 0.02) & (part < 0.98)).any():
        return None
    if _best_width(part, part > 0.5, _gauss, _GAUSS)[0] == _GAUSS[0]:
        return None  # no blur, but perhaps the noise of a JPEG
    tries = [_begun(part, line, widths) for line, widths in _KINDS]
    begun = min((begun for begun in tries if begun is not None), key=lambda begun: begun.left, default=None)
    if begun is None:
        return None
    found, left = min((_ended(part, begun) for begun in _of_round_width(begun)), key=lambda ended: ended[1])
    if left > _EXPLAINED:
        return None
    mask = np.zeros(level.shape, bool)
    mask[box] = found
    return mask


@dataclass
class _Begun:
    """A kind of blur and its width, the picture without it so far, and the root mean square that is left."""

    line: Line
    width: float
    picture: np.ndarray
    left: float


def _begun(part: np.ndarray, line: Line, widths: np.ndarray) -> _Begun | None:
    """The width of one kind of blur, by turns with the picture without it; None where it gains nothing."""
    width, before = _best_width(part, part > 0.5, line, widths)
    if before < _LEAST_GAIN:
        return None
    picture, left = part, before
    for _ in range(_TRIES):
        picture = _solve(
            part, _Blur(part.shape, line, width), steps=_steps(part, _STEPS, 4), pull=0.0, start=picture
        )
        width, left = _best_width(part, picture > 0.5, line, _around(line, width))
        if left > 0.7 * before:
            return None
    return _Begun(line, width, picture, left)


def _ended(part: np.ndarray, begun: _Begun) -> tuple[np.ndarray, float]:
    """The mask, and the root mean square between its blur and the picture."""
    blur = _Blur(part.shape, begun.line, begun.width)
    mask = _solve(part, blur, steps=_steps(part, _LAST_STEPS, 1), pull=_PULL, start=part) > 0.5
    return mask, _best_width(part, mask, begun.line, np.array([begun.width]))[1]


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


def _solve(part: np.ndarray, blur: _Blur, *, steps: int, pull: float, start: np.ndarray) -> np.ndarray:
    """The picture in [0, 1] whose blur is nearest to `part` (FISTA), drawn to 0 and 1 as it goes on."""
    wanted, response = np.fft.rfft2(blur.pad(part)), blur.response(blur.width)
    now = ahead = blur.pad(start)
    speed = 1.0
    for step in range(steps):
        off = np.fft.irfft2((np.fft.rfft2(ahead) * response - wanted) * response, s=blur.full)
        push = pull * max(0.0, step - steps / 3) / steps
        then = np.clip(ahead - off + push * (ahead - 0.5), 0, 1).astype(np.float32)
        faster = (1 + (1 + 4 * speed * speed) ** 0.5) / 2
        ahead = then + np.float32((speed - 1) / faster) * (then - now)
        now, speed = then, faster
    return blur.crop(now)


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

    def pad(self, picture: np.ndarray) -> np.ndarray:
        """The picture with its edge repeated."""
        (height, width), edge = self.shape, self.edge
        sides = (edge, self.full[0] - height - edge), (edge, self.full[1] - width - edge)
        return np.pad(picture, sides, mode="edge").astype(np.float32)

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
