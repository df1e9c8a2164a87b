"""What happens to a batch on the device, between the loader and the network.

The `prepare` of each task calls one of these functions, once.

Order: first `data.moves` changes each frame by itself. Then `data.augment`, or `data.affine` for clips with
masks, changes each clip as one. SSM-VOS cuts out an object instead, by its own settings.

Random numbers: a step has one generator, on the CPU. `Batch.draw` draws a row for every clip of the step and
returns those of the batch's clips. So a clip gets the same numbers on any number of ranks, in any part of a
step, and after a resume. What is one for the whole step is drawn from the generator itself. Rows are drawn
whole, whatever is switched on, and are wider than needed. Keep their width: another one gives other numbers
to every later clip, and other weights to a run that goes on from an earlier version.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mamp.config import DataConfig
from mamp.loading.augmentation import labelled, moves, unlabelled
from mamp.loading.batch import Batch
from mamp.loading.labels import UNLABELLED
from mamp.ops.sizes import size_of


def moved(batch: Batch, data: DataConfig, generator: torch.Generator) -> Batch:
    """Return the batch with each frame moved by itself, as `data.moves` says; frames stay uint8."""
    if not data.moves.on:
        return batch
    draw = batch.draw(batch.frames.shape[1], moves.DRAWS, generator=generator)
    size = moves.trained_size(data, size_of(batch.frames))
    frames, labels = moves.move_frames(batch.frames, batch.labels, data.moves, size=size, draw=draw)
    return replace(batch, frames=frames, labels=labels, read=None)


def augmented(batch: Batch, data: DataConfig, generator: torch.Generator) -> Tensor:
    """Return float frames (B, T, 3, S, S) in [0, 1], by `data.moves` and `data.augment`.

    S is `data.size`, or the one of `data.augment.scales` that is drawn for the whole step.
    """
    batch, knobs = moved(batch, data, generator), data.augment
    side = float(torch.rand((), generator=generator))
    size = knobs.scales[int(side * len(knobs.scales))] if knobs.scales else data.size
    draw = batch.draw(unlabelled.DRAWS, generator=generator)
    return unlabelled.augment(batch.frames, knobs, size=size, draw=draw)


def augmented_with_masks(
    batch: Batch, data: DataConfig, generator: torch.Generator, *, most: int, others: int = UNLABELLED
) -> tuple[Tensor, Tensor, list[int]]:
    """Return float frames (B, T, 3, H, W), uint8 labels (B, T, H, W), and how many objects each clip has.

    By `data.moves` and `data.affine`, which does not cut values to [0, 1]. A clip keeps `most` of its first
    frame's objects, numbered from 1 on; others: see `choose_objects`. They are counted, one at least, before
    `data.affine` may push them out of the picture.
    """
    batch = moved(batch, data, generator)
    assert batch.labels is not None
    draw = batch.draw(labelled.DRAWS + labelled.CHOICES, generator=generator)
    pairs = zip(batch.labels_to_read(), draw[:, labelled.DRAWS :], strict=True)
    chosen = [labelled.chosen_objects(clip[0], most, row, others=others) for clip, row in pairs]
    labels = labelled.renumbered(batch.labels, torch.stack([table for table, _ in chosen]))
    counts = [max(1, count) for _, count in chosen]
    frames, labels = labelled.augment_masked(
        batch.frames, labels, data.affine, draw=draw[:, : labelled.DRAWS]
    )
    return frames, labels, counts
