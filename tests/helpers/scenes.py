"""A method that needs no training (each pixel goes to the nearest of the objects' mean colours), and videos
it solves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mamp.core.section import MethodConfig
from mamp.methods.base import Method, Propagator
from mamp.video.masks import write_mask

COLOURS = {1: (200, 30, 30), 2: (30, 200, 30), 7: (30, 30, 200), 300: (200, 200, 30)}


class ColourPropagator(Propagator):
    """An object is where its mean colour is nearest; background has the mean colour of the rest."""

    calls: list[str] = []

    def __init__(self, model, method, *, motion=None, device="cpu", dtype=None):
        super().__init__(model, method, motion=motion, device=device, dtype=dtype)
        self.colours: list[Tensor] = []
        self.frame: Tensor | None = None
        self.calls.append("build")

    def start(self, frame: Tensor, masks: Tensor) -> None:
        self.calls.append("start")
        self.frame = frame
        rest = masks.sum(0) == 0
        self.colours = [frame[:, rest].mean(1)]
        self._learn(masks)

    def step(self, frame: Tensor) -> Tensor:
        self.calls.append("step")
        self.frame = frame
        distances = torch.stack([(frame - c[:, None, None]).square().sum(0) for c in self.colours])
        return (-100 * distances).softmax(0)

    def correct(self, masks: Tensor, objects: list[int]) -> None:
        self.calls.append(f"correct {objects}")
        for k, mask in zip(objects, masks, strict=True):
            self.colours[1 + k] = self.frame[:, mask > 0].mean(1)

    def add(self, masks: Tensor) -> None:
        self.calls.append(f"add {len(masks)}")
        self._learn(masks)

    def remove(self, objects: list[int]) -> None:
        self.calls.append(f"remove {objects}")
        self.colours = [c for k, c in enumerate(self.colours, start=-1) if k not in objects]

    @property
    def memory_bytes(self) -> int:
        return sum(c.nbytes for c in self.colours)

    def _learn(self, masks: Tensor) -> None:
        self.colours += [self.frame[:, mask > 0].mean(1) for mask in masks]


COLOUR = Method(
    name="colour",
    description="nearest mean colour",
    config=MethodConfig,
    build_propagator=ColourPropagator,
    needs_weights=False,
)


def scene(t: int, ids=(1, 2), size=(24, 32)) -> tuple[np.ndarray, np.ndarray]:
    """Frame uint8 (H, W, 3) and label map (H, W) at time t: a square of its own colour for each id, moving
    right.
    """
    frame, labels = (
        np.full((*size, 3), 90, np.uint8),
        np.zeros(size, np.uint16 if max(ids) > 255 else np.uint8),
    )
    for row, number in enumerate(ids):
        box = np.s_[2 + 7 * row : 7 + 7 * row, 2 + t : 8 + t]
        frame[box], labels[box] = COLOURS[number], number
    return frame, labels


def write_video(root: Path, *, frames: int = 6, name: str = "clip", ids=(1, 2), truth: bool = True) -> Path:
    """JPEGImages/NAME and Annotations/NAME below `root`, as `mamp evaluate folder` reads them; the frames'
    folder.
    """
    images, masks = root / "JPEGImages" / name, root / "Annotations" / name
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for t in range(frames):
        frame, labels = scene(t, ids)
        Image.fromarray(frame).save(images / f"{t:05d}.jpg", quality=95, subsampling=0)
        if truth or t == 0:
            write_mask(masks / f"{t:05d}.png", labels)
    return images
