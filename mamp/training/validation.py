"""Measure a network while it trains, on other video: the loss, and J&F where there are masks."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from PIL import Image

from mamp import methods
from mamp.config import Affine, Augment, Config, Moves
from mamp.core.errors import UserError, plural
from mamp.datasets import sequences as datasets
from mamp.datasets.sequences import Sequence as Video
from mamp.loading.census import Census
from mamp.loading.clips import ClipPlan
from mamp.loading.loader import ClipLoader
from mamp.methods.task import Batch, TrainingTask
from mamp.ops.folding import fold_batch_norms
from mamp.scoring import Scores
from mamp.segmentation.model import Model
from mamp.segmentation.scored import score_sequences, segmented
from mamp.segmentation.segmenter import Segmenter
from mamp.training.randomness import random_state, set_random_state, step_generator
from mamp.training.trainer import Trainer
from mamp.video.overlay import blend, contact_sheet

SHOWN = 8  # frames of the picture of a carried mask
SHOWN_FRAMES = 32  # of the clip that they are taken from
SHOWN_SIZE = 320  # pixels of the longer side of a held-aside clip; a labelled one is segmented as it is
VALIDATED = {"val_loss": "loss", "val_jf": "J&F", "val_j": "J", "val_f": "F"}  # as a line for people has them
FIGURES = {"val_jf": "J&F-Mean", "val_j": "J-Mean", "val_f": "F-Mean"}


def hold_aside(videos: Sequence[Video], share: float) -> tuple[list[Video], list[Video]]:
    """(videos to train on, videos held aside), each in the given order.

    Those whose names have the smallest SHA-256 are held aside: `share` of them all, at least one where share
    is not 0. Another seed, place or order of the folders changes nothing, and a new video changes at most
    one. Raises UserError when none would be left to train on.
    """
    count = max(1, round(share * len(videos))) if share else 0
    if count and count >= len(videos):
        raise UserError(
            f"validation.share={share:g} of {len(videos)} videos leaves none to train on; lower it, or add"
            " video with data.root"
        )
    by_hash = sorted(
        videos, key=lambda video: hashlib.sha256(video.name.encode(errors="surrogateescape")).digest()
    )
    names = {video.name for video in by_hash[:count]}
    return [v for v in videos if v.name not in names], [v for v in videos if v.name in names]


class Validator:
    """Measure the network every `validation.every` steps. State: the clips, decoded at the first use.

    Figures: val_loss, the task's loss on the same clips each time, not augmented but for the moves that make
    clips of stills; and val_jf, val_j, val_f of the labelled set by its protocol, on the first
    `validation.frames` frames of each video. Training goes on as if nothing had been measured.

    aside, census: the videos that are held aside, and what they count. labelled: what `labelled_videos`
    found.
    by_sequence: J and F of each labelled video at the last measurement, the means over its objects.

    Raises UserError when the held-aside videos are too short.
    """

    def __init__(
        self,
        config: Config,
        aside: Sequence[Video],
        labelled: Sequence[Video],
        *,
        census: Census,
        device: torch.device,
    ):
        self.config = config
        self.device = device
        self.aside, self.labelled = list(aside), list(labelled)
        self._batches: list[Batch] = []
        self.by_sequence: dict[str, dict[str, float | None]] = {}
        if aside:
            before = random_state()
            self._plain = methods.require(config.method.name, "task")(_without_augmentation(config))
            set_random_state(before)
            self._plan = _plan(config, census, frames=self._plain.frames)

    def due(self, step: int, *, last: bool, epoch: int | None = None) -> bool:
        """Return whether to measure after `step`; `epoch` (from 1) is the epoch that ends there, or None."""
        knobs = self.config.validation
        if knobs.epochs is None:
            turn = step % knobs.every == 0
        else:
            turn = epoch is not None and epoch % knobs.epochs == 0
        return bool(self.aside or self.labelled) and (last or turn)

    def measure(self, trainer: Trainer) -> dict[str, float | None]:
        """The figures by name; None for one that is not finite."""
        figures: dict[str, float] = {}
        with trainer.evaluating() as task, torch.no_grad():
            if self.aside:
                figures["val_loss"] = self._loss(task, trainer.dtype)
            if self.labelled:
                knobs = self.config.validation
                scores = score_sequences(
                    self.labelled,
                    self._model(task).segmenter,
                    str(knobs.dataset),
                    frames=knobs.frames,
                    bad_frame=self.config.evaluate.bad_frame,
                )
                means = scores.means()
                figures |= {name: means[key] for name, key in FIGURES.items()}
                self.by_sequence = _by_sequence(scores)
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}

    def carried(self, trainer: Trainer) -> np.ndarray | None:
        """Return a picture of masks carried through a clip, uint8 (H, W, 3); None where there is no clip.

        The first labelled video with its own mask; else the first held-aside one, with discs on its first
        frame.
        """
        if not (self.aside or self.labelled):
            return None
        with trainer.evaluating() as task, torch.no_grad():
            segmenter = self._model(task).segmenter()
            if self.labelled:
                frames = segmented(self.labelled[0], segmenter, frames=SHOWN_FRAMES)
                shown = [blend(frame, labels) for _, frame, labels in frames]
            else:
                shown = list(_discs_carried(self.aside[0], segmenter))
        places = np.linspace(0, len(shown) - 1, min(SHOWN, len(shown))).round().astype(int)
        return contact_sheet([shown[place] for place in places])

    def _model(self, task: TrainingTask) -> Model:
        return Model(fold_batch_norms(task.model), self.config, self.device)

    def _loss(self, task: TrainingTask, dtype: torch.dtype | None) -> float:
        """The mean of the task's loss over the clips."""
        total, clips = 0.0, 0
        for number, batch in enumerate(self._clips()):
            generator = step_generator(0, number)
            prepared = self._plain.prepare(batch.to(self.device), generator)
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
                loss, _ = task(prepared)
            total, clips = total + float(loss) * len(batch.frames), clips + len(batch.frames)
        return total / clips

    def _clips(self) -> list[Batch]:
        """The same clips each time, in batches of train.batch; decoded once and kept, 8 bits a value."""
        if not self._batches and self.aside:
            count, most = self.config.validation.clips, self.config.train.batch
            data = self.config.data.model_copy(update={"workers": 0})
            with contextlib.closing(ClipLoader(self.aside, self._plan, data).batches()) as batches:
                ones = [Batch(*arrays) for arrays in islice(batches, count)]
            for first in range(0, count, most):
                some = ones[first : first + most]
                clips = tuple(about for one in some for about in one.clips)
                masks = [one.labels for one in some if one.labels is not None]
                labels = torch.cat(masks) if masks else None
                self._batches.append(Batch(torch.cat([one.frames for one in some]), labels, clips))
        return self._batches


def _by_sequence(scores: Scores) -> dict[str, dict[str, float | None]]:
    """name -> {"j", "f"} of each sequence, the means over its objects."""
    rows: dict[str, list[dict[str, float]]] = {}
    for name, _, row in scores.objects():
        rows.setdefault(name, []).append(row)
    found: dict[str, dict[str, float | None]] = {}
    for name, objects in rows.items():
        means = {letter: [row[f"{letter.upper()}-Mean"] for row in objects] for letter in "jf"}
        finite = {letter: [v for v in values if math.isfinite(v)] for letter, values in means.items()}
        found[name] = {k: sum(values) / len(values) if values else None for k, values in finite.items()}
    return found


def best_figure(figures: Mapping[str, float | None]) -> float | None:
    """Return what checkpoints are compared by, larger is better: J&F, or minus the loss without labels."""
    if "val_jf" in figures:
        return figures["val_jf"]
    loss = figures.get("val_loss")
    return None if loss is None else -loss


def _plan(config: Config, census: Census, *, frames: int) -> ClipPlan:
    """Single clips of the held-aside videos, drawn as training clips are, whatever the run's seed."""
    try:
        return ClipPlan(census, config.data, frames=frames, batch=1, seed=0)
    except UserError:
        raise UserError(
            f"{plural(len(census.counts), 'video')} held aside: too short for a clip of {frames} frames;"
            " raise validation.share, or set it to 0"
        ) from None


def labelled_videos(config: Config) -> list[Video]:
    """The videos of validation.root that have truth after the first frame; none where no set is named.

    Raises UserError when the set is not there or has no truth.
    """
    knobs = config.validation
    if knobs.dataset is None or knobs.root is None:
        return []
    found = datasets.open_dataset(knobs.dataset, knobs.root, knobs.split)
    scored = [
        video for video in found if sum(knobs.frames is None or i < knobs.frames for i in video.truth) >= 2
    ]
    if not scored:
        raise UserError(
            f"validation.root={knobs.root} has no truth to score in split {knobs.split}; name another split,"
            " or raise validation.frames"
        )
    return scored


def _without_augmentation(config: Config) -> Config:
    plain = {"augment": Augment(), "affine": Affine()}
    if config.data.sampling != "stills":  # those are videos by their moves alone, the same each time
        plain["moves"] = Moves()
    return config.model_copy(update={"data": config.data.model_copy(update=plain)})


def _discs_carried(video: Video, segmenter: Segmenter) -> Iterator[np.ndarray]:
    """The first frames of a video without masks, made small, with discs on the first carried along."""
    with video.open() as source:
        for index, frame in islice(source.stream(), SHOWN_FRAMES):
            picture = Image.fromarray(frame)
            picture.thumbnail((SHOWN_SIZE, SHOWN_SIZE))
            small = np.array(picture)
            yield blend(small, segmenter.step(small, discs(small.shape[:2]) if index == 0 else None))


def discs(size: tuple[int, ...]) -> np.ndarray:
    """uint8 (H, W): six discs, 1 to 6, in two rows of three."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.uint8)
    for number in range(6):
        middle_y, middle_x = (number // 3 * 2 + 1) * height / 4, (number % 3 * 2 + 1) * width / 6
        labels[np.hypot(y - middle_y, x - middle_x) < min(height, width) / 8] = number + 1
    return labels
