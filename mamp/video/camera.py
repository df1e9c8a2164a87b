"""Frames of a camera, as they come."""

from __future__ import annotations

import re
import sys
from collections.abc import Generator
from typing import Any

import numpy as np

from mamp.core.errors import UserError, first_line

# platform -> FFmpeg's name for its cameras, and how camera N is called there
FORMATS: dict[str, tuple[str | None, str]] = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}


def camera_number(video: Any) -> int | None:
    """Return N for the number N or the text `camera:N`; None for anything else."""
    if isinstance(video, int) and not isinstance(video, bool):
        return video
    found = re.fullmatch(r"camera:(\d+)", str(video))
    return int(found[1]) if found else None


def camera_frames(number: int) -> Generator[np.ndarray, None, None]:
    """Yield uint8 RGB frames (H, W, 3) of camera `number` until it is closed.

    Raises:
        UserError: there is no such camera, or it cannot be opened.
    """
    import av

    kind, name = FORMATS.get(sys.platform, FORMATS["linux"])
    try:
        container = av.open(name.format(number), format=kind)
    except (OSError, ValueError) as error:  # PyAV's errors are of these
        raise UserError(
            f"camera {number} cannot be opened ({first_line(error)}); plug it in, or give the number of"
            " another one"
        ) from None
    with container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
