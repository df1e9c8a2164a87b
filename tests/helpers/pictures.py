"""Pictures and videos whose frames tell their number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

H, W, T = 48, 64, 30


def picture(number: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """A smooth picture whose mean grows with its number, and that no flip or turn maps to itself."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([x * 3, y * 4, np.full_like(x, 8 * number)], -1).clip(0, 255).astype(np.uint8)


def write_folder(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / name)
    return folder


def write_video(
    path: Path,
    *,
    codec: str = "libx264",
    rotation: int | None = None,
    container: dict[str, str] | None = None,
    size: tuple[int, int] = (H, W),
    options: dict[str, str] | None = None,
    draw: Callable[..., np.ndarray] = picture,
) -> Path:
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options or {"g": "10"}, bit_rate=4_000_000)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write rotation flags")
            stream.set_display_rotation(rotation)
        for number in range(T):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number, size), format="rgb24")))
        file.mux(stream.encode())
    return path
