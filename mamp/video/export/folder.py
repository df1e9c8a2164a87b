"""A finished folder of masks in another form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mamp.core.errors import UserError, plural
from mamp.core.progress import Progress
from mamp.video.export.base import Clip, Shot
from mamp.video.export.kinds import Wish, open_saver
from mamp.video.folders import image_files, subfolders
from mamp.video.frames import FrameSource, open_frames
from mamp.video.masks import read_mask
from mamp.video.overlay import Look


def export_folder(
    wish: Wish, folder: Path, *, video: Path | None = None, look: Look | None = None, quiet: bool = False
) -> list[str]:
    """Write the masks in `folder`, one PNG a frame, in another form; return what was left out, in sentences.

    Args:
        wish: which form, and where.
        folder: what `mamp segment` wrote.
        video: the video that they are of; needed for forms that show its frames, and where times matter.
        look: how masks are drawn over frames.
        quiet: show no progress.

    Raises:
        UserError: there are no masks, a mask is no frame's of the video, or the form needs the video.
    """
    files = image_files(folder)
    names = list(files)
    if not names:
        inner = [sub.name for sub in subfolders(folder)]
        remedy = f"give one of its folders, such as {folder / inner[0]}" if inner else "give a folder of PNGs"
        raise UserError(f"{folder} holds no masks; {remedy}")
    if wish.frames and video is None:
        raise UserError(f"{wish.kind} shows the frames; give the video with --video")
    with ExitStack() as stack:
        source = None
        if video is not None:
            source = stack.enter_context(_frames_of(names, folder, stack.enter_context(open_frames(video))))
        clip = (
            Clip.of(source, look=look) if source else Clip(folder.resolve().name, names, look=look or Look())
        )
        saver = stack.enter_context(open_saver(wish, clip))
        progress = stack.enter_context(Progress(len(names), unit="frames", quiet=quiet))
        progress.begin(wish.kind)
        for index, frame in source.stream() if source else _without(len(names)):
            size = None if frame is None else (frame.shape[0], frame.shape[1])
            labels = read_mask(folder / files[clip.names[index]], size=size)
            saver.write(Shot(index, clip.names[index], labels, frame))
            progress.advance()
    return saver.notes


def _without(count: int) -> Iterator[tuple[int, np.ndarray | None]]:
    return ((index, None) for index in range(count))


def _frames_of(names: list[str], folder: Path, source: FrameSource) -> FrameSource:
    """The frames that masks are of."""
    numbers = {name: index for index, name in enumerate(source.names)}
    strangers = [name for name in names if name not in numbers]
    if strangers:
        raise UserError(
            f"{plural(len(strangers), 'mask')} in {folder} {'is' if len(strangers) == 1 else 'are'} of no"
            f" frame of {source.path}, first {strangers[0]}.png; give the video they were made of"
        )
    return source.part(sorted(numbers[name] for name in names))
