"""Label maps of training clips: read, resized to the frames, with an object in the first frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mamp.core.errors import UserError
from mamp.datasets.sequences import Sequence as Video
from mamp.loading.clips import Clip
from mamp.ops.sizes import bilinear_neighbours, letterbox

UNLABELLED = 255  # a pixel that is not background and not a known object
TRIES = 20  # other places in the video to look for an object


def with_object(
    clip: Clip, video: Video, *, count: int, rng: np.random.Generator
) -> tuple[Clip, list[np.ndarray]]:
    """The clip and its label maps uint8 (H, W); drawn again while its first frame shows no object.

    count: frames of the video. At first the clip moves as it is; then its frames follow one another closely,
    too. The others stay where they are when the first one is a reference by itself.

    Raises UserError when no object is found.
    """
    frames = clip.frames
    for attempt in range(1 + TRIES):
        labels = training_labels(video, frames[0])
        if ((labels > 0) & (labels != UNLABELLED)).any():
            maps = {frame: training_labels(video, frame) for frame in set(frames[1:]) - {frames[0]}}
            maps[frames[0]] = labels
            return dataclasses.replace(clip, frames=frames), [maps[frame] for frame in frames]
        frames = _elsewhere(clip, count, closely=attempt >= TRIES // 4, rng=rng)
    raise UserError(
        f"{video.name}: no mask of {1 + TRIES} frames looked at shows an object; leave this video out"
    )


def _elsewhere(clip: Clip, count: int, *, closely: bool, rng: np.random.Generator) -> tuple[int, ...]:
    """Other frames of a video of `count` frames.

    A reference moves alone, a still stays one frame, shuffled ones are shuffled, others keep their gaps or
    follow `closely`.
    """
    frames = clip.frames
    gaps = [frame - frames[0] for frame in frames]
    if clip.reference:
        return (int(rng.integers(count)), *frames[1:])
    if len(frames) > 1 and len(set(frames)) == 1:
        return (int(rng.integers(count)),) * len(frames)
    if gaps != sorted(gaps):
        return tuple(rng.permutation(count)[: len(frames)].tolist())
    if closely:
        gaps = list(range(len(gaps)))
    first = int(rng.integers(count - gaps[-1]))
    return tuple(first + gap for gap in gaps)


def training_labels(video: Video, index: int) -> np.ndarray:
    """uint8 (H, W) of a frame: 0 background, objects from 1; void (255) is background, as in STM-Cycle."""
    labels = video.read_truth(index)
    if labels.max(initial=0) > UNLABELLED:
        raise UserError(f"mask {video.truth[index]} has ids above 255; training takes ids 1 to 254")
    return np.where(labels == UNLABELLED, 0, labels).astype(np.uint8)


def fit_labels(
    labels: np.ndarray, size: tuple[int, int], *, fit: str, place: Sequence[float] | None
) -> np.ndarray:
    """uint8 (H, W) -> uint8 `size`, as the frame of the same `data.fit` and place.

    A letterbox leaves pixels that lie between labels, or outside, unlabelled (255), as published (STM-Cycle);
    the others take the nearest pixel's label.
    """
    if fit == "letterbox":
        return _letterboxed(upright(labels), size)
    image = Image.fromarray(labels)
    box = None if place is None else square_at(place, labels.shape)
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.NEAREST, box=box))


def square_at(place: Sequence[float], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the square of the short side of (H, W) at `place`.

    place: (x, y) in [0, 1] from left to right and from top to bottom.
    """
    height, width = size
    side = min(height, width)
    left, top = round(place[0] * (width - side)), round(place[1] * (height - side))
    return left, top, left + side, top + side


def upright(pixels: np.ndarray) -> np.ndarray:
    """(H, W, ...) with the longer side across: portrait ones transposed, as published (STM-Cycle)."""
    return np.swapaxes(pixels, 0, 1) if pixels.shape[0] > pixels.shape[1] else pixels


def _letterboxed(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    inner, (left, right, top, bottom) = letterbox((labels.shape[0], labels.shape[1]), size)
    rows, columns = (bilinear_neighbours(*sides) for sides in zip(labels.shape, inner, strict=True))
    corners = [labels[row][:, column] for row in rows[:2] for column in columns[:2]]
    same = np.logical_and.reduce([corner == corners[0] for corner in corners[1:]])
    fitted = np.where(same, corners[0], UNLABELLED).astype(np.uint8)
    return np.pad(fitted, ((top, bottom), (left, right)), constant_values=UNLABELLED)
