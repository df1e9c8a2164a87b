"""Films and pictures: the overlay, the masks alone, cut-outs with transparency, GIF, a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mamp.core.files import make_folder, whole
from mamp.video.export.base import Clip, Saver, Shot
from mamp.video.film import DEFAULT_FPS, Film
from mamp.video.overlay import colours, contact_sheet, write_picture

GIF_SIDE, GIF_FPS, GIF_FRAMES = 480, 12.5, 300  # what chat programs and pages take: a few megabytes
SHEET_FRAMES, SHEET_COLUMNS, SHEET_WIDTH = 12, 4, 320


class FilmSaver(Saver):
    """Pictures of a clip as a film with its times, its pixel aspect and its sound."""

    alpha = False
    crf = 18

    def __init__(self, path: Path, clip: Clip) -> None:
        super().__init__(path, clip)
        self._film = Film(
            path,
            fps=clip.fps,
            crf=self.crf,
            alpha=self.alpha,
            aspect=clip.aspect,
            sound=clip.sound if clip.seconds is not None else None,
            origin=clip.origin,
        )
        self._entered = False

    def write(self, shot: Shot) -> None:
        """Take the next frame."""
        if not self._entered:
            self._stack.enter_context(self._film)
            self._entered = True
        self._film.write(self.picture(shot), self.clip.time(shot.index))
        self.notes = self._film.notes

    def picture(self, shot: Shot) -> np.ndarray:
        """The film's picture of a frame, by the clip's look."""
        return self.clip.look.draw(shot.pixels, shot.labels)


class MaskFilm(FilmSaver):
    """The objects in their colours on black."""

    crf = 10

    def picture(self, shot: Shot) -> np.ndarray:
        """The label map's colours."""
        return colours(shot.labels, self.clip.look.palette)


class CutoutFilm(FilmSaver):
    """The objects on transparency: ProRes 4444 in .mov, VP9 in .webm."""

    alpha = True

    def picture(self, shot: Shot) -> np.ndarray:
        """The frame with an alpha channel."""
        return cut_out(shot)


class CutoutFolder(Saver):
    """The objects on transparency, one RGBA PNG a frame."""

    def write(self, shot: Shot) -> None:
        """Write FOLDER/NAME.png."""
        make_folder(self.path)
        with whole(self.path / f"{shot.name}.png") as partial:
            Image.fromarray(cut_out(shot)).save(partial, format="PNG")


def cut_out(shot: Shot) -> np.ndarray:
    """Return uint8 (H, W, 4): the frame where there is an object, transparent black elsewhere."""
    inside = (shot.labels > 0)[..., None]
    alpha = np.where(inside, np.uint8(255), np.uint8(0))
    return np.concatenate((np.where(inside, shot.pixels, np.uint8(0)), alpha), axis=2)


class Gif(Saver):
    """A small animated GIF of the overlay: sides up to 480 pixels, 12.5 frames a second, 300 frames."""

    def __init__(self, path: Path, clip: Clip) -> None:
        super().__init__(path, clip)
        self._times = _times(clip)
        self._chosen = _thinned(self._times)
        self._pictures: list[Image.Image] = []

    def write(self, shot: Shot) -> None:
        """Keep a small picture, if the frame is one of those."""
        if shot.index in self._chosen:
            picture = _small(self.clip.look.draw(shot.pixels, shot.labels), self.clip, side=GIF_SIDE)
            self._pictures.append(picture.quantize(255, dither=Image.Dither.FLOYDSTEINBERG))

    def finish(self) -> None:
        """Write the file, with the time that each picture is shown."""
        if not self._pictures:
            return
        starts = [self._times[i] for i in self._chosen][: len(self._pictures)]
        end = self._times[-1] + (self._times[-1] - self._times[0]) / max(1, len(self._times) - 1)
        shown = np.diff([*starts, max(end, starts[-1] + 0.02)])
        first, *others = self._pictures
        make_folder(self.path.parent)
        durations = [max(20, 10 * round(100 * float(t))) for t in shown]
        moving: dict[str, Any] = {"save_all": True, "append_images": others, "duration": durations, "loop": 0}
        with whole(self.path) as partial:
            first.save(partial, format="GIF", disposal=1, **moving)


class Sheet(Saver):
    """A contact sheet of twelve frames with their masks, evenly spread over the clip."""

    def __init__(self, path: Path, clip: Clip) -> None:
        super().__init__(path, clip)
        count = min(SHEET_FRAMES, len(clip.names))
        self._chosen = set(np.linspace(0, len(clip.names) - 1, count).round().astype(int).tolist())
        self._pictures: list[np.ndarray] = []

    def write(self, shot: Shot) -> None:
        """Keep a small picture, if the frame is one of those."""
        if shot.index in self._chosen:
            drawn = self.clip.look.draw(shot.pixels, shot.labels)
            self._pictures.append(np.asarray(_small(drawn, self.clip, width=SHEET_WIDTH)))

    def finish(self) -> None:
        """Write the picture."""
        if self._pictures:
            sheet = contact_sheet(self._pictures, columns=SHEET_COLUMNS, width=SHEET_WIDTH)
            write_picture(self.path, sheet)


def _times(clip: Clip) -> list[float]:
    if clip.seconds is not None:
        return list(clip.seconds)
    return [index / (clip.fps or DEFAULT_FPS) for index in range(len(clip.names))]


def _thinned(times: list[float]) -> list[int]:
    """Indices of frames that lie far enough apart in time, at most GIF_FRAMES."""
    least = max(1 / GIF_FPS, (times[-1] - times[0]) / GIF_FRAMES) if times else 0
    chosen: list[int] = []
    for index, time in enumerate(times):
        if not chosen or time >= times[chosen[-1]] + least - 1e-3:
            chosen.append(index)
    return chosen


def _small(picture: np.ndarray, clip: Clip, **limit: int) -> Image.Image:
    """The picture with square pixels, no wider than `width`, or with no side over `side`."""
    height, width = float(picture.shape[0]), float(picture.shape[1] * clip.aspect)
    share = min(1.0, limit["width"] / width if "width" in limit else limit["side"] / max(height, width))
    if "width" in limit:
        share = limit["width"] / width
    size = max(1, round(width * share)), max(1, round(height * share))
    image: Any = Image.fromarray(picture)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
