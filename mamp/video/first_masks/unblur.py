"""The hard mask whose blurred picture is the one given: a cut at the half loses what is thinner than the
blur.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_MOST = 2**20  # pixels around the object; in a larger picture the cut at the half loses little
_LEAST_GAIN = 0.004  # root mean square that the cut at the half must be off by for more to be tried
_EXPLAINED = 0.006  # root mean square under which a blur explains the picture, but for its rounding
_GAUSS = np.geomspace(0.5, 8, 25)  # standard deviations, in pixels
_BOX = np.arange(1, 13).astype(float)  # radii, in pixels
_TRIES, _STEPS = 3, 60  # to find the width of the blur
_LAST_STEPS = 400
_PULL = 0.02  # towards 0 and 1, in the last steps

Line = Callable[[float, np.ndarray], np.ndarray]


def unblurred(level: np.ndarray) -> np.ndarray | None:
    """The bool mask (H, W) whose blur `level`, in [0, 1], is; None where no Gaussian or box blur explains it.

    The mask is the one of 0 and 1 that is nearest to `level` after the blur, by accelerated projected
    gradients. Both kinds of blur are tried, of the width that leaves the least difference.
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
    tries = [_deblur(part, line, widths) for line, widths in ((_gauss, _GAUSS), (_flat, _BOX))]
    found = min((found for found in tries if found is not None), key=lambda found: found[0], default=None)
    if found is None or found[0] > _EXPLAINED:
        return None
    mask = np.zeros(level.shape, bool)
    mask[box] = found[1]
    return mask


def _deblur(part: np.ndarray, line: Line, widths: np.ndarray) -> tuple[float, np.ndarray] | None:
    """The difference that is left, and the mask, for one kind of blur; None where it gains nothing."""
    mask = part > 0.5
    width, before = _best_width(part, mask, line, widths)
    if before < _LEAST_GAIN:
        return None
    start = part
    for _ in range(_TRIES):
        start = _solve(part, _Blur(part.shape, line, width), steps=_STEPS, pull=0.0, start=start)
        width, after = _best_width(part, start > 0.5, line, widths)
        if after > 0.7 * before:
            return None
    fine = widths if line is _flat else width * np.linspace(0.9, 1.1, 9)
    width, _ = _best_width(part, start > 0.5, line, fine)
    mask = _solve(part, _Blur(part.shape, line, width), steps=_LAST_STEPS, pull=_PULL, start=start) > 0.5
    return _best_width(part, mask, line, fine)[1], mask


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


def _flat(radius: float, frequency: np.ndarray) -> np.ndarray:
    waves = [2 * np.cos(2 * np.pi * frequency * i) for i in range(1, int(radius) + 1)]
    return (1 + np.sum(waves, axis=0)) / (2 * int(radius) + 1)


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
