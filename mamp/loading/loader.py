"""Clips -> batches of uint8 tensors, decoded in worker processes; the number of workers changes nothing."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from mamp.config import DataConfig
from mamp.core.errors import OUT_OF_MEMORY, UserError, refused_by_system
from mamp.datasets.sequences import Sequence as Video
from mamp.loading.clips import Clip, ClipPlan
from mamp.loading.labels import fit_labels, square_at, upright, with_object
from mamp.loading.limits import Board, time_limit, watched
from mamp.ops.sizes import letterbox, resize
from mamp.video.frames import FrameSource

OPEN_VIDEOS = 8  # readers a worker holds open; a decoder of 256-pixel video keeps some 10 MB
KNOWN_VIDEOS = 256  # videos whose list of frames a worker keeps; making one costs as much as decoding a clip
LOOK_EVERY = 1.0  # seconds between looks at what workers read, while none has a batch ready
SPARE_CLIPS = 4  # other clips to try, with bad_frame=skip, before a sample is given up

# What a batch is made of: frames uint8 (B, T, 3, H, W) RGB, labels uint8 (B, T, H, W) or None, per clip its
# video and frame names.
Arrays = tuple[Tensor, Tensor | None, tuple[dict[str, Any], ...]]


Item = tuple[np.ndarray, np.ndarray | None, dict[str, Any]]  # the same of one clip


class ClipLoader:
    """Batches of clips, step after step without an end, decoded by `data.workers` processes.

    plan: which clips each step has. data.fit: how a frame becomes a square of side data.load_size.
    pin: put batches into page-locked memory, for a faster copy to a GPU.
    share: (rank, ranks); of each step's clips, this rank's equal part alone is decoded.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        plan: ClipPlan,
        data: DataConfig,
        *,
        pin: bool = False,
        share: tuple[int, int] = (0, 1),
    ):
        self.plan = plan
        size = plan.batch // share[1]
        self.places = range(share[0] * size, (share[0] + 1) * size)
        self.spares = SPARE_CLIPS if data.bad_frame == "skip" else 0
        self.dataset = ClipDataset(
            videos,
            size=loaded_size(data),
            fit=data.fit,
            bad_frame=data.bad_frame,
            scaled_jpeg=data.scaled_jpeg,
            seconds=data.sample_seconds,
        )
        self.workers = data.workers
        self.pin = pin

    def batches(self, start: int = 0) -> Generator[Arrays, None, None]:
        """The batches of steps start, start + 1, ...; the same ones whatever `start` a run came from.

        Raises UserError as the reader does, in the words of the reader, and for a sample that takes too long.
        """
        context = multiprocessing.get_context(_start_method()) if self.workers else None
        board = Board(self.workers, context) if self.workers else None
        loader = DataLoader(
            self.dataset,
            batch_sampler=_Samples(self.plan, start, self.places, spares=self.spares),
            num_workers=self.workers,
            collate_fn=_collate,
            pin_memory=self.pin,
            worker_init_fn=None if board is None else partial(_begin, board),
            multiprocessing_context=context,
            timeout=LOOK_EVERY if self.workers else 0,
            generator=torch.Generator(),  # else each start takes a number from the global generator
        )
        for batch in loader if board is None else watched(loader, board, self.dataset.seconds):
            if isinstance(batch, _Failure):
                raise UserError(batch.sentence)
            yield batch


@dataclass(frozen=True)
class Sample:
    """What a worker is asked for. seed: of all its random choices. spares: clips in place of a bad `clip`."""

    clip: Clip
    seed: tuple[int, int, int]
    spares: tuple[Clip, ...] = ()


@dataclass(frozen=True)
class _Failure:
    sentence: str


class _Samples(Sampler[list[Sample]]):
    """The samples of each step from `start` on, across epochs; of its clips those at `places`."""

    def __init__(self, plan: ClipPlan, start: int, places: range, *, spares: int):
        self.plan = plan
        self.start = start
        self.places = places
        self.spares = spares

    def __iter__(self) -> Iterator[list[Sample]]:
        plan, step = self.plan, self.start
        epoch, offset = plan.locate(step)
        while True:
            clips = plan.epoch(epoch)
            for first in range(offset * plan.batch, len(clips) - plan.batch + 1, plan.batch):
                yield [self._sample(clips, first + i, (plan.seed, step, i)) for i in self.places]
                step += 1
            epoch, offset = epoch + 1, 0

    def _sample(self, clips: list[Clip], index: int, seed: tuple[int, int, int]) -> Sample:
        spares = np.random.default_rng((*seed, 1)).integers(len(clips), size=self.spares)
        return Sample(clips[index], seed, tuple(clips[i] for i in spares))


class ClipDataset(Dataset):
    """Sample -> (frames uint8 (T, 3, H, W), labels uint8 (T, H, W) or None, what the clip is made of);
    holds the last few videos. Labels come with videos that have truth."""

    def __init__(
        self,
        videos: Sequence[Video],
        *,
        size: tuple[int, int],
        fit: str,
        bad_frame: str,
        scaled_jpeg: bool = False,
        seconds: float | None = None,
    ):
        self.videos = videos
        self.size = size
        self.fit = fit
        self.bad_frame = bad_frame
        self.at_least = max(size) if scaled_jpeg and fit == "crop" else None  # stretching is as published
        self.seconds = seconds
        self.note: Callable[[str], None] = _nobody
        self._reading = ""
        self._known: OrderedDict[int, FrameSource] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": OrderedDict(), "note": _nobody}

    def __getitem__(self, sample: Sample) -> Item | _Failure:
        for clip in (sample.clip, *sample.spares):
            try:
                with time_limit(self.seconds, lambda: self._reading):
                    return self._read(clip, np.random.default_rng(sample.seed))
            except MemoryError:
                failure = _Failure(f"{self._reading or 'a clip'}: {OUT_OF_MEMORY}")
            except OSError as error:
                if (sentence := refused_by_system(error)) is None:
                    raise
                failure = _Failure(sentence)
                self._known.pop(clip.sequence, None)
            except UserError as error:
                failure = _Failure(str(error))  # an exception would arrive with the worker's traceback in it
                self._known.pop(clip.sequence, None)  # it may have been left in the middle of a read
            finally:
                self._note("")
        return failure

    def _read(self, clip: Clip, rng: np.random.Generator) -> Item:
        source, video = self._source(clip.sequence), self.videos[clip.sequence]
        place = (rng.random(), rng.random()) if self.fit == "crop" else None
        labels = None
        if video.truth:
            self._note(f"{video.source}, or a mask of it,")
            clip, maps = with_object(clip, video, count=len(source), rng=rng)
            labels = np.stack([fit_labels(m, self.size, fit=self.fit, place=place) for m in maps])
        fitted = {
            index: fit_frame(self._frame(source, index), self.size, fit=self.fit, place=place)
            for index in dict.fromkeys(clip.frames)  # a still is read once
        }
        frames = np.stack([fitted[index] for index in clip.frames])
        about = {
            "sequence": video.name,
            "frames": [source.names[i] for i in clip.frames],
        }
        return frames.transpose(0, 3, 1, 2), labels, about

    def _frame(self, source: FrameSource, index: int) -> np.ndarray:
        self._note(source.where(index))
        return source[index]

    def _note(self, name: str) -> None:
        """Put down what is read now, for whoever waits."""
        self._reading = name
        self.note(name)

    def _source(self, sequence: int) -> FrameSource:
        """The video, known or looked up, its decoder among the last `OPEN_VIDEOS` that stay open."""
        source = self._known.pop(sequence, None)
        if source is None:
            video = self.videos[sequence]
            self._note(str(video.source))
            at_least = None if video.truth else self.at_least  # masks stay on their pixels
            source = video.open(bad_frame=self.bad_frame, at_least=at_least)
        self._known[sequence] = source  # the last used comes last
        if len(self._known) > OPEN_VIDEOS:
            self._known[list(self._known)[-1 - OPEN_VIDEOS]].close()
        if len(self._known) > KNOWN_VIDEOS:
            self._known.popitem(last=False)
        return source


def loaded_size(data: DataConfig) -> tuple[int, int]:
    """(H, W) of the frames that workers hand over."""
    side = data.load_size or data.size
    return data.box if data.fit == "letterbox" else (side, side)


def fit_frame(
    frame: np.ndarray, size: tuple[int, int], *, fit: str, place: Sequence[float] | None
) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (*size, 3) as `data.fit` says; for `place` see `fit_square`."""
    if fit != "letterbox":
        return fit_square(frame, size[0], place=place)
    frame = upright(frame)
    inner, (left, right, top, bottom) = letterbox((frame.shape[0], frame.shape[1]), size)
    if frame.shape[:2] != inner:
        shrunk = resize(torch.tensor(frame).permute(2, 0, 1).float(), inner)
        frame = shrunk.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.pad(frame, ((top, bottom), (left, right), (0, 0)))


def fit_square(frame: np.ndarray, size: int, *, place: Sequence[float] | None) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (size, size, 3).

    place: None stretches the whole frame, bilinear without antialiasing, as published (MAMP, A3); (x, y) in
    [0, 1] takes the square of the frame's short side at that part of the way from left to right and from top
    to bottom, by Pillow's bilinear, which averages when it shrinks.
    """
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    if place is None:
        stretched = resize(torch.tensor(frame).permute(2, 0, 1).float(), (size, size))
        return stretched.round().to(torch.uint8).permute(1, 2, 0).numpy()
    box = square_at(place, (height, width))
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR, box=box))


def _collate(samples: list[Any]) -> Arrays | _Failure:
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
    frames = torch.from_numpy(np.stack([frames for frames, _, _ in samples]))
    maps = [labels for _, labels, _ in samples if labels is not None]
    labels = torch.from_numpy(np.stack(maps)) if maps else None
    return frames, labels, tuple(about for _, _, about in samples)


def _start_method() -> str | None:
    """How workers begin: forked, which takes no time, unless decord was used, which crashes in a fork."""
    if sys.platform != "linux":
        return None
    return "forkserver" if "decord" in sys.modules else "fork"


def _nobody(_: str) -> None:
    """Do nothing."""


def _begin(board: Board, worker: int) -> None:
    """In each worker, before its first sample."""
    _ignore_signals(worker)
    board.begin(worker)
    info: Any = get_worker_info()
    info.dataset.note = partial(board.note, worker)


def _ignore_signals(_: int) -> None:
    """Ctrl-C and a scheduler's signals reach the whole group. The engine decides what workers do."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):  # Windows has neither SIGHUP nor SIGUSR
            signal.signal(getattr(signal, name), signal.SIG_IGN)
