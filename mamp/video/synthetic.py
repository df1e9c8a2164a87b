"""Rendered clips with exact masks and exact flow: the demo's video and the tests' truth.

A clip is a stack of textured layers: a background that pans, zooms and turns, and objects with smooth
irregular outlines that move, turn, grow and hide one another. Every layer is placed by a similarity, written
in complex numbers: the image point z = x + iy shows the layer's point u where z = centre + pose * u.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image

from mamp.core.files import whole, write_text
from mamp.video.masks import write_mask

HARMONICS = np.arange(2, 7)  # of an outline; 0 and 1 are its size and place


@dataclass(frozen=True)
class SyntheticClip:
    """A rendered clip and what is true of it.

    frames: uint8 (T, H, W, 3) RGB. labels: uint8 (T, H, W), 0 background, objects from 1.
    flow: float32 (T-1, 2, H, W), x right, y down, in pixels; flow[t-1] is where each pixel of frame t lies
    in frame t-1, minus the pixel.
    visible: bool (T-1, H, W); whether that place is inside frame t-1 and shows the same thing there.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    flow: NDArray[np.float32]
    visible: NDArray[np.bool_]


@dataclass(frozen=True)
class _Layer:
    """One textured thing and where it is in each frame."""

    texture: NDArray[np.float32]  # (side, side, 3), periodic
    outline: NDArray[np.float64] | None  # radius at equally spaced angles from -pi to pi; None is everywhere
    centre: NDArray[np.complex128]  # (T,)
    pose: NDArray[np.complex128]  # (T,) size and turn

    def coordinates(self, t: int, z: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """The layer's points that the image points `z` show in frame `t`."""
        return (z - self.centre[t]) / self.pose[t]

    def image(self, t: int, u: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """Where the layer's points `u` are in frame `t`."""
        return self.centre[t] + self.pose[t] * u

    def depth(self, t: int, u: NDArray[np.complex128]) -> NDArray[np.float64]:
        """How far inside the outline the points `u` are, in pixels of frame `t`; negative outside."""
        if self.outline is None:
            return np.full(u.shape, np.inf)
        angles = np.linspace(-np.pi, np.pi, len(self.outline))
        return (np.interp(np.angle(u), angles, self.outline) - np.abs(u)) * np.abs(self.pose[t])


def render_clip(
    seed: int | tuple[int, ...], *, frames: int, size: tuple[int, int], objects: int
) -> SyntheticClip:
    """Render `frames` frames of `size` (H, W) with `objects` objects; the same seed gives the same clip.

    At 128 x 192 pixels nothing moves by more than about 6 pixels a frame; motion grows with the shorter side.
    Every object shows in the first frame. Which object is nearer is drawn, and stays so.
    """
    rng = default_rng(seed)
    layers = _layers(rng, frames, size, objects)
    order = [0, *(1 + rng.permutation(objects))]  # far to near
    z = _grid(size)
    light = _light(rng, frames, size)
    noise = rng.uniform(0.004, 0.016)
    pictures = np.empty((frames, *size, 3), np.uint8)
    labels = np.zeros((frames, *size), np.uint8)
    for t in range(frames):
        colour = np.zeros((*size, 3), np.float32)
        for index in order:
            _paint(layers[index], t, z, index, colour, labels[t])
        colour = colour * light[t][..., None] + rng.normal(0, noise, colour.shape).astype(np.float32)
        pictures[t] = np.clip(colour * 255 + 0.5, 0, 255)
    flow, visible = _flow(layers, labels, z)
    return SyntheticClip(pictures, labels, flow, visible)


def write_dataset(
    root: Path,
    *,
    clips: int,
    frames: int,
    size: tuple[int, int],
    seed: int,
    split: str,
    masks: Literal["all", "none"] = "all",
) -> None:
    """Write `clips` clips of one to three objects under `root`, laid out like DAVIS-2017.

    JPEGImages/480p/SPLIT-000/00000.jpg.., Annotations/480p/SPLIT-000/00000.png.. (unless masks is "none") and
    ImageSets/2017/SPLIT.txt. Another seed gives other clips; a clip does not depend on how many there are.
    """
    root = Path(root)
    names = [f"{split}-{index:03d}" for index in range(clips)]
    for index, name in enumerate(names):
        pictures, truth = root / "JPEGImages" / "480p" / name, root / "Annotations" / "480p" / name
        pictures.mkdir(parents=True, exist_ok=True)
        if masks == "all":
            truth.mkdir(parents=True, exist_ok=True)
        clip = render_clip((seed, index), frames=frames, size=size, objects=1 + index % 3)
        for t in range(frames):
            _write_jpeg(pictures / f"{t:05d}.jpg", clip.frames[t])
            if masks == "all":
                write_mask(truth / f"{t:05d}.png", clip.labels[t])
    lists = root / "ImageSets" / "2017"
    lists.mkdir(parents=True, exist_ok=True)
    write_text(lists / f"{split}.txt", "".join(f"{name}\n" for name in names))


# ---------------------------------------------------------------- what there is


def _layers(rng: Generator, frames: int, size: tuple[int, int], objects: int) -> list[_Layer]:
    """The background, then the objects in order of their labels."""
    unit = min(size) / 128  # lengths below are in pixels of a frame whose shorter side is 128
    # few and muted colours for all layers, so that mean colour does not separate them
    palette = rng.uniform(0.2, 0.75, (5, 1)) + rng.normal(0, 0.09, (5, 3))
    layers = [_Layer(_texture(rng, palette, unit), None, *_background_path(rng, frames, size))]
    for start in _starts(rng, size, objects):
        radius = rng.uniform(17, 26) * unit
        centre, pose = _object_path(rng, frames, size, start)
        layers.append(_Layer(_texture(rng, palette, unit), _outline(rng, radius), centre, pose))
    return layers


def _texture(rng: Generator, palette: NDArray[np.float64], unit: float) -> NDArray[np.float32]:
    """A periodic (side, side, 3) picture around [0, 1]: patches of two colours, with grain."""
    side = 1 << int(np.ceil(np.log2(256 * unit)))
    coarse, fine, tint, grain = _noise(rng, side, slopes=(rng.uniform(1.3, 1.8), 0.9, 1.4, 0.6), unit=unit)
    first, second = palette[rng.choice(len(palette), 2, replace=False)] + rng.normal(0, 0.04, (2, 3))
    share = 1 / (1 + np.exp(-rng.uniform(2, 5) * (coarse + 0.3 * fine)))  # soft-edged patches
    colour = first + share[..., None] * (second - first)
    towards = rng.normal(0, 1, 3)
    towards -= towards.mean()  # a shift of hue at equal lightness
    colour = colour + 0.10 * fine[..., None] + 0.05 * tint[..., None] * towards + 0.04 * grain[..., None]
    return colour.astype(np.float32)


def _noise(rng: Generator, side: int, *, slopes: tuple[float, ...], unit: float) -> NDArray[np.float64]:
    """Fields (len(slopes), side, side) of mean 0 and variance 1, of amplitude frequency ** -slope."""
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.2)  # a grain: longer one way than the other
    along, across = fx * np.cos(turn) + fy * np.sin(turn), fy * np.cos(turn) - fx * np.sin(turn)
    frequency = np.hypot(along * stretch, across)
    frequency[0, 0] = np.inf
    frequency = np.maximum(frequency, 1 / (80 * unit))  # nothing much larger than an object
    limit = np.exp(
        -((np.hypot(fx, fy) / 0.28) ** 2)
    )  # bilinear sampling needs little near the highest frequency
    fields = []
    for slope in slopes:
        spectrum = np.fft.rfft2(rng.normal(size=(side, side))) * limit * frequency**-slope
        field = np.fft.irfft2(spectrum, s=(side, side))
        fields.append(field / field.std())
    return np.stack(fields)


def _outline(rng: Generator, radius: float) -> NDArray[np.float64]:
    """Radii of a smooth irregular outline at equally spaced angles from -pi to pi."""
    angles = np.linspace(-np.pi, np.pi, 361)
    size = rng.uniform(0.3, 1, len(HARMONICS)) * np.array([0.28, 0.16, 0.10, 0.06, 0.04])
    phase = rng.uniform(0, 2 * np.pi, len(HARMONICS))
    return radius * (1 + (size * np.cos(angles[:, None] * HARMONICS + phase)).sum(1))


# ---------------------------------------------------------------- where it is


def _starts(rng: Generator, size: tuple[int, int], objects: int) -> list[complex]:
    """Centres for the first frame, the best spread of a few draws, so that no object begins hidden."""
    height, width = size
    draws = rng.uniform(0.2, 0.8, (50, objects)) * width + 1j * rng.uniform(0.2, 0.8, (50, objects)) * height
    apart = np.abs(draws[:, :, None] - draws[:, None, :]) + np.where(np.eye(objects), np.inf, 0)
    return [complex(z) for z in draws[apart.min(axis=(1, 2)).argmax()]]


def _background_path(
    rng: Generator, frames: int, size: tuple[int, int]
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """A camera that pans by up to 1.5 pixels a frame, zooms by up to 1 % and turns by up to half a degree."""
    unit = min(size) / 128
    t = np.arange(frames)
    middle = complex(size[1] / 2, size[0] / 2)
    speed = rng.uniform(0.5, 1.5) * unit * np.exp(1j * rng.uniform(0, 2 * np.pi))
    turn = rng.uniform(-0.01, 0.01) * t
    zoom = 0.1 * np.sin(rng.uniform(0.03, 0.1) * t + rng.uniform(0, 2 * np.pi))
    return middle + speed * t, np.exp(zoom + 1j * turn)


def _object_path(
    rng: Generator, frames: int, size: tuple[int, int], start: complex
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """A wandering course that is turned back at the border; turns and grows on the way."""
    unit = min(size) / 128
    middle = complex(size[1] / 2, size[0] / 2)
    reach = complex(size[1], size[0]) * 0.36
    speed, heading, turn = rng.uniform(1.6, 3.4) * unit, rng.uniform(0, 2 * np.pi), 0.0
    centre = [start]
    for kick in rng.normal(0, 0.06, frames - 1):
        here = centre[-1] - middle
        over = max(abs(here.real) / reach.real, abs(here.imag) / reach.imag) - 1
        home = np.angle(-here * np.exp(-1j * heading))  # the turn that would lead back
        turn = 0.8 * turn + kick
        heading += turn + 0.35 * home * float(np.clip(1 + 4 * over, 0, 1))
        centre.append(centre[-1] + speed * np.exp(1j * heading))
    t = np.arange(frames)
    spin = rng.uniform(0, 2 * np.pi) + rng.uniform(0.1, 0.5) * np.sin(
        rng.uniform(0.05, 0.12) * t + rng.uniform(0, 6)
    )
    spin = spin + rng.uniform(-0.02, 0.02) * t
    growth = 0.2 * np.sin(rng.uniform(0.05, 0.15) * t + rng.uniform(0, 2 * np.pi))
    return np.array(centre), np.exp(growth + 1j * spin)


def _light(rng: Generator, frames: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Gain (T, H, W) of a light that moves over the scene and flickers a little."""
    z = _grid(size)
    t = np.arange(frames)[:, None, None]
    slope = rng.uniform(0.1, 0.3) * np.exp(1j * (rng.uniform(0, 2 * np.pi) + rng.uniform(-0.1, 0.1) * t))
    across = (z[None] - complex(size[1] / 2, size[0] / 2)) / max(size)
    gain = 1 + (across * np.conj(slope)).real * 2
    pulse = 1 + rng.uniform(0.03, 0.1) * np.sin(rng.uniform(0.1, 0.4) * t + rng.uniform(0, 2 * np.pi))
    return (gain * pulse).astype(np.float32)


# ---------------------------------------------------------------- what is seen


def _grid(size: tuple[int, int]) -> NDArray[np.complex128]:
    """Pixel centres (H, W) as x + iy."""
    return np.arange(size[1])[None, :] + 1j * np.arange(size[0])[:, None]


def _paint(
    layer: _Layer,
    t: int,
    z: NDArray[np.complex128],
    label: int,
    colour: NDArray[np.float32],
    labels: NDArray[np.uint8],
) -> None:
    """Lay one layer over `colour` (H, W, 3) and `labels` (H, W); half covered pixels are the layer's."""
    box = _box(layer, t, z.shape)
    u = layer.coordinates(t, z[box])
    depth = layer.depth(t, u)
    cover = np.clip(depth + 0.5, 0, 1).astype(np.float32)[..., None]
    shade = 0.8 + 0.2 * np.clip(depth / 8, 0, 1).astype(np.float32)[..., None]  # darker towards the outline
    colour[box] += cover * (shade * _sample(layer.texture, u) - colour[box])
    labels[box][cover[..., 0] >= 0.5] = label


def _box(layer: _Layer, t: int, size: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of the frame that the layer can reach."""
    if layer.outline is None:
        return slice(None), slice(None)
    reach = layer.outline.max() * abs(layer.pose[t]) + 1
    centre = layer.centre[t]

    def span(middle: float, length: int) -> slice:
        return slice(int(np.clip(middle - reach, 0, length)), int(np.clip(middle + reach + 1, 0, length)))

    return span(centre.imag, size[0]), span(centre.real, size[1])


def _sample(texture: NDArray[np.float32], u: NDArray[np.complex128]) -> NDArray[np.float32]:
    """Bilinear samples (..., 3) of a periodic texture whose side is a power of two."""
    side = texture.shape[0]
    flat = texture.reshape(-1, 3)
    x0, y0 = np.floor(u.real).astype(np.int64), np.floor(u.imag).astype(np.int64)
    fx = (u.real - x0).astype(np.float32)[..., None]
    fy = (u.imag - y0).astype(np.float32)[..., None]
    left, right = x0 & (side - 1), (x0 + 1) & (side - 1)
    above, below = (y0 & (side - 1)) * side, ((y0 + 1) & (side - 1)) * side
    top = flat[above + left] * (1 - fx) + flat[above + right] * fx
    bottom = flat[below + left] * (1 - fx) + flat[below + right] * fx
    return top * (1 - fy) + bottom * fy


def _flow(
    layers: list[_Layer], labels: NDArray[np.uint8], z: NDArray[np.complex128]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`SyntheticClip.flow` and `.visible`: follow each pixel's layer one frame back."""
    frames, height, width = labels.shape
    flow = np.empty((max(frames - 1, 0), 2, height, width), np.float32)
    visible = np.empty((max(frames - 1, 0), height, width), bool)
    for t in range(1, frames):
        before = np.empty_like(z)
        for index, layer in enumerate(layers):
            mine = labels[t] == index
            before[mine] = layer.image(t - 1, layer.coordinates(t, z[mine]))
        flow[t - 1] = (before - z).real, (before - z).imag
        x, y = np.rint(before.real).astype(np.int64), np.rint(before.imag).astype(np.int64)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        there = labels[t - 1][y.clip(0, height - 1), x.clip(0, width - 1)]
        visible[t - 1] = inside & (there == labels[t])
    return flow, visible


def _write_jpeg(path: Path, frame: NDArray[np.uint8]) -> None:
    with whole(path) as partial:
        Image.fromarray(frame).save(partial, "JPEG", quality=92)
