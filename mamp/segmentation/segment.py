"""One's own video: masks of every frame into a folder, and a film of them."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import UserError, plural
from mamp.core.files import folder_for, remove_leftovers
from mamp.core.progress import Progress
from mamp.segmentation.stream import Given, Steps, Timing, carry, decode_ahead
from mamp.video.folders import image_files
from mamp.video.frames import open_frames
from mamp.video.masks import read_mask, write_mask
from mamp.video.overlay import OVERLAY_STYLES, STYLES, Film, heatmap


def segment(
    video: Path,
    masks: Path,
    out: Path,
    make_segmenter: Callable[[], Steps],
    *,
    overlay: Path | None = None,
    overlay_style: str = "blend",
    bad_frame: str = "error",
    quiet: bool = False,
) -> Timing:
    """Write OUT/NAME.png for every frame, as they are finished; how many and how fast.

    video: a folder of images or a video file. masks: a PNG for the first frame, or a folder of PNGs named
    like frames, for objects that come later and for corrections. Frames before the first mask get a mask that
    is all background, so
    that every frame has one. overlay: an mp4 of the masks over the frames, whole or not at all.

    Raises UserError before anything is written when a mask has another size than the frames, none has an
    object, a name is no frame's, OUT holds masks of other frames, or cannot be written, or the
    method cannot draw the overlay; finished masks stay when a later frame is bad.
    """
    _refuse_at_once(video, masks, out, overlay=overlay, overlay_style=overlay_style)
    timing = Timing()
    with ExitStack() as stack:
        source = stack.enter_context(open_frames(video, bad_frame=bad_frame))
        given = given_masks(masks, source.names)
        _refuse_strangers(out, source.names)
        segmenter: Any = make_segmenter()
        if overlay is not None and overlay_style == "erf":
            segmenter.refuse_receptive_field()
        stack.enter_context(folder_for(out))
        remove_leftovers(out)
        film = stack.enter_context(Film(overlay, fps=source.fps)) if overlay is not None else None
        progress = stack.enter_context(Progress(len(source), unit="frames", quiet=quiet))
        progress.begin(video.name)
        frames = stack.enter_context(closing(decode_ahead(source.stream(), timing)))
        began = time.perf_counter()
        for index, frame, labels in carry(frames, given, segmenter, names=source.names):
            with timing.writing():
                write_mask(out / f"{source.names[index]}.png", labels)
                if film is not None:
                    film.write(_picture(overlay_style, frame, labels, segmenter))
            progress.advance()
        timing.seconds = time.perf_counter() - began
        if report := segmenter.report:
            progress.tell(f"{video.name}: {report}")
    return timing


def _refuse_at_once(video: Path, masks: Path, out: Path, *, overlay: Path | None, overlay_style: str) -> None:
    """UserError for what can be seen without looking at the video."""
    if overlay_style not in OVERLAY_STYLES:
        raise UserError(f"overlay style {overlay_style} is not known; use one of {', '.join(OVERLAY_STYLES)}")
    for kind, place in (("the video", video), ("the masks", masks if masks.is_dir() else masks.parent)):
        if out.resolve() == place.resolve():
            raise UserError(
                f"--out {out} is or holds {kind}, whose files would be replaced; choose another --out"
            )
    if overlay is not None and overlay.resolve() == video.resolve():
        raise UserError(
            f"--overlay {overlay} is the video itself, which would be replaced; choose another file"
        )


def _refuse_strangers(out: Path, names: Sequence[str]) -> None:
    """UserError when OUT holds masks that are not of this video's frames, and would pass for them."""
    strangers = sorted({path.stem for path in out.glob("*.png")} - set(names)) if out.is_dir() else []
    if strangers:
        raise UserError(
            f"--out {out} holds {plural(len(strangers), 'mask')} of no frame of this video, first"
            f" {strangers[0]}.png; remove them, or choose another --out"
        )


def _picture(style: str, frame: np.ndarray, labels: np.ndarray, segmenter: Any) -> np.ndarray:
    """One frame of the film, uint8 (H, W, 3)."""
    if style in STYLES:
        return STYLES[style](frame, labels)
    if style == "erf":
        return heatmap(frame, segmenter.receptive_field())
    if segmenter.probabilities is None:  # the frame of the first mask
        return heatmap(frame, (labels > 0)[None].astype(np.float32))
    return heatmap(frame, segmenter.probabilities[1:].float().cpu().numpy())


def given_masks(masks: Path, names: Sequence[str]) -> dict[int, Given]:
    """Frame index -> mask, from a PNG for the first frame or a folder of images named like the frames
    `names`.

    Raises UserError when there is none, or a name is no frame's.
    """
    if not masks.is_dir():
        return {0: Given(f"mask {masks}", partial(read_mask, masks))}
    files = image_files(masks)
    if not files:
        raise UserError(
            f"{masks} has no mask; give a PNG for the first frame, or a folder of PNGs named like frames"
        )
    index = {name: i for i, name in enumerate(names)}
    strangers = [name for name in files if name not in index]
    if strangers:
        if not names:
            raise UserError(
                f"{masks} is a folder, but these frames have no names; give {{frame number: mask}}"
            )
        near = difflib.get_close_matches(strangers[0], names, n=3, cutoff=0.0)
        raise UserError(
            f"mask {masks / files[strangers[0]]} has no frame of its name; frames are named {names[0]} to"
            f" {names[-1]}, the nearest are {', '.join(near)}"
        )
    return {
        index[name]: Given(f"mask {masks / file}", partial(read_mask, masks / file))
        for name, file in files.items()
    }
