"""Small datasets in the published layouts, and what they are written with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mamp.video.masks import write_mask

H, W = 16, 24


def write_frames(folder: Path, names: Sequence[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (W, H), (40, 80, 120)).save(folder / f"{name}.jpg")
    return folder


def write_masks(folder: Path, ids: Mapping[str, Sequence[int]]) -> None:
    """One column of pixels for each id."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, numbers in ids.items():
        labels = np.zeros((H, W), np.uint8)
        labels[:, : len(numbers)] = numbers
        Image.fromarray(labels).save(folder / f"{name}.png") if 255 in numbers else write_mask(
            folder / f"{name}.png", labels
        )


def write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_video(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        for _ in range(5):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((H, W, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode())


def numbers(count: int, step: int = 1, start: int = 0) -> list[str]:
    return [f"{start + step * i:05d}" for i in range(count)]
