"""Label maps as a person would paint them, and pictures of them as programs save them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mamp.video.masks import PALETTE

SIZE = (120, 160)
BRIGHT = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]


def painted(seed: int, objects: int = 1, size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 (H, W): background 0 in the corners, objects 1.. of some hundred pixels, which may touch."""
    rng = np.random.default_rng(seed)
    height, width = size
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for number in range(1, objects + 1):
        x = width * (number - 0.5 + rng.uniform(-0.2, 0.2)) / objects
        y = height * rng.uniform(0.35, 0.65)
        a, b = rng.uniform(0.16, 0.28, 2) * (width / objects**0.7, height)
        turns = np.sort(rng.uniform(0, 2 * np.pi, 9))
        rays = rng.uniform(0.7, 1.1, 9)
        corners = [(x + a * r * np.cos(t), y + b * r * np.sin(t)) for t, r in zip(turns, rays, strict=True)]
        if rng.random() < 0.5:
            draw.ellipse((x - a, y - b, x + a, y + b), fill=number)
        else:
            draw.polygon(corners, fill=number)
            draw.ellipse((x - a / 2, y - b / 2, x + a / 2, y + b / 2), fill=number)
    labels = np.array(image)
    labels[0] = labels[-1] = 0
    labels[:, 0] = labels[:, -1] = 0
    return labels


def coloured(labels: np.ndarray, colours: list[tuple[int, ...]]) -> Image.Image:
    """An image with the colour of each number."""
    return Image.fromarray(np.array(colours, np.uint8)[labels])


def grey(labels: np.ndarray, levels: list[int] | None = None) -> Image.Image:
    """A grey image with the level of each number; white for all objects by default."""
    return Image.fromarray(np.array(levels or [0] + [255] * 255, np.uint8)[labels.astype(np.uint8)])


def davis(labels: np.ndarray) -> Image.Image:
    """A palette image as DAVIS has them."""
    image = Image.fromarray(labels)
    image.putpalette(PALETTE.tobytes())
    return image


def reordered(labels: np.ndarray, colours: list[tuple[int, ...]], order: list[int]) -> Image.Image:
    """A palette image whose numbers are other than the labels: number i has the colour of label order[i]."""
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[labels])
    image.putpalette(np.array(colours, np.uint8)[order].tobytes())
    return image


def as_jpeg(image: Image.Image, quality: int = 75) -> Image.Image:
    """What a JPEG makes of the image."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    """The image's file."""
    image.save(path, **options)
    return path


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """The least intersection over union of the true objects, each with the object found that fits best."""
    ids = [i for i in np.unique(found) if i]
    return min(max((iou(found == k, truth == i) for k in ids), default=0.0) for i in np.unique(truth) if i)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def count(labels: np.ndarray) -> int:
    """How many objects a label map has."""
    return int((np.unique(labels) > 0).sum())


def photograph(seed, size=SIZE):
    """A picture like a photograph: sky, ground, noise at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((*size, 3))
    for scale in (1, 3, 8, 20):
        coarse = rng.integers(0, 256, (size[0] // scale + 1, size[1] // scale + 1, 3), dtype=np.uint8)
        total += np.array(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)) / 4
    return Image.fromarray(total.astype(np.uint8))
