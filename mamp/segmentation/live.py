"""A camera: masks of its frames into a folder until it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path

from mamp.core.errors import UserError
from mamp.core.files import folder_for
from mamp.core.progress import say, stay_silent
from mamp.segmentation.given import MaskLog, given_masks
from mamp.segmentation.stream import Steps, Timing, carry
from mamp.video.camera import camera_frames
from mamp.video.film import Film
from mamp.video.first_masks.reading import Reader
from mamp.video.masks import write_mask
from mamp.video.overlay import blend


def segment_camera(
    number: int,
    mask: Path,
    out: Path,
    make_segmenter: Callable[[], Steps],
    *,
    max_frames: int | None = None,
    reader: Reader | None = None,
    overlay: Path | None = None,
    quiet: bool = False,
) -> Timing:
    """Write OUT/00000.png, OUT/00001.png, ... for the frames of a camera; return how many and how fast.

    Frames that come while one is worked on wait in the camera's own buffer, or are dropped by it. Ctrl-C ends
    the work, and what was written stays.

    Args:
        number: which camera. mask: the PNG of its first frame. out: the folder of the masks.
        make_segmenter: returns a new segmenter. max_frames: stop after so many.
        reader: how the mask is read.
        overlay: a film of the masks over the frames.

    Raises:
        UserError: no such camera, a mask of another size, or OUT cannot be written.
    """
    if not mask.is_file():
        raise UserError(f"mask {mask} is no file; a camera takes the PNG of its first frame")
    timing, log = Timing(), MaskLog(line=stay_silent if quiet else say, warning=say)
    given = given_masks(mask, (), reader=reader, log=log)
    with ExitStack() as stack:
        frames = stack.enter_context(closing(camera_frames(number)))
        stack.enter_context(folder_for(out))
        film = stack.enter_context(Film(overlay, fps=25)) if overlay else None
        try:
            for index, frame, labels in carry(enumerate(islice(frames, max_frames)), given, make_segmenter()):
                write_mask(out / f"{index:05d}.png", labels)
                timing.frames += 1
                if film is not None:
                    film.write(blend(frame, labels))
        except KeyboardInterrupt:
            if not quiet:
                say(f"stopped after {timing.frames} frames")
    return timing
