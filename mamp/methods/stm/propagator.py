"""What happens per frame: remember the last one with its masks, read the memory, decode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mamp.core.devices import working_bytes
from mamp.methods.base import Propagator
from mamp.methods.stm.config import ON_CPU, StmConfig
from mamp.methods.stm.correction import Reference, corrected
from mamp.methods.stm.fitting import Fit, make_fit, normalise
from mamp.methods.stm.memory import Memory, Remembered
from mamp.methods.stm.network import Query, aggregate
from mamp.ops.sizes import size_of
from mamp.propagation.labels import append_empty, drop, normalised
from mamp.propagation.readout import memory_read

ERF_LOOPS = 10  # where no correction is asked for


@dataclass
class Pending:
    """The frame just stepped: (1, 3, N) as the network sees it, labels (K+1, I), its encoding once made."""

    index: int
    frame: Tensor
    labels: Tensor
    query: Query | None = None
    given: bool = False


class StmPropagator(Propagator):
    """Carries K masks through one video by a space-time memory.

    State: the memory, bounded by its rule; the pending frame; and, for gradient correction, the frames with
    given masks, one encoding for each mask given at most. motion is not used.
    """

    floats_held = (300, 60)

    def __init__(self, model: nn.Module, method: StmConfig, **places: Any) -> None:
        super().__init__(model, method, **places)
        self.knobs, self.colour = method.propagation, method.network.colour
        knobs = self.knobs
        self.memory = Memory(every=knobs.every, keep_given=knobs.keep_given, max_frames=knobs.max_frames)
        self.max_bytes = working_bytes(knobs.max_mb, self.device, on_cpu=ON_CPU)
        self.references: list[Reference] = []
        self.pending: Pending | None = None
        self.fit: Fit | None = None

    def start(self, frame: Tensor, masks: Tensor) -> None:
        """First frame float (3, H, W) RGB in [0, 1] with its masks (K, H, W) in {0, 1}."""
        with self._computing():
            self.fit = make_fit(size_of(frame), self.knobs)
            labels = self.fit.masks(self._here(masks))
            self.pending = self._see(frame, labels)
            self._refer(list(range(len(masks))), labels)

    def step(self, frame: Tensor) -> Tensor:
        """Probabilities (K+1, H, W) of the next frame, background first, summing to 1."""
        with self._computing():
            self._remember()
            self.pending = pending = self._see(frame, torch.empty(0))
            pending.labels = result = self._read(pending).softmax(dim=0)
            loops, written = self.knobs.correction_loops, self.knobs.correction_written
            if loops and pending.index % self.knobs.every == 0:
                pending.labels = self._correct(pending.labels, loops)
                result = normalised(pending.labels.clamp(min=0)) if written else result
            return self._fit().to_frame(result)

    def correct(self, masks: Tensor, objects: list[int]) -> None:
        """Replace the pending frame's masks of `objects` (0-based) by `masks` (len(objects), H, W)."""
        with self._computing():
            pending = self._pending()
            given = self._fit().masks(self._here(masks))
            channels = [k + 1 for k in objects]
            if self.knobs.late == "replace":
                pending.labels = torch.zeros_like(pending.labels)
                pending.labels[0] = given[0]
                pending.labels[channels] = given[1:]
                self._refer(list(range(len(pending.labels) - 1)), pending.labels)
            else:
                others = pending.labels.clone()
                others[channels] = 0
                pending.labels = others * (1 - given[1:].sum(0)).clamp(min=0)
                pending.labels[channels] = given[1:]
                shown = [
                    n for n, mask in enumerate(masks) if mask.any()
                ]  # what is hidden here is found again as before
                if shown:
                    self._refer([objects[n] for n in shown], given[[0, *(n + 1 for n in shown)]])
            pending.given = True

    def add(self, masks: Tensor) -> None:
        """New objects (N, H, W) in {0, 1} appear at the pending frame; they win over what was predicted.

        They read from this frame on.
        """
        with self._computing():
            pending, count = self._pending(), len(masks)
            known = len(pending.labels) - 1
            pending.labels = append_empty(pending.labels, count)
            self.memory.widen(count)
            self.correct(masks, list(range(known, known + count)))

    def remove(self, objects: list[int]) -> None:
        """Forget these objects (0-based); what was theirs becomes background, later ones move up."""
        with self._computing():
            pending = self._pending()
            stay = [k for k in range(len(pending.labels) - 1) if k not in objects]
            pending.labels = drop(pending.labels, objects)
            self.memory.select(stay)
            self._keep_references(stay)
            for reference in self.references:
                reference.objects = [stay.index(k) for k in reference.objects]

    @property
    def memory_bytes(self) -> int:
        """Bytes of keys and values."""
        return self.memory.nbytes

    def receptive_field(self) -> Tensor:
        """Cycle-ERF of the pending frame: (K, H, W), 0 or more; what of it the reference frames are found by.

        The correction's steps, begun at empty masks (STM-Cycle, eq. 6).
        """
        with self._computing():
            start = torch.zeros_like(self._pending().labels)
            field = self._correct(start, self.knobs.correction_loops or ERF_LOOPS).relu()
            return self._fit().to_frame(field)[1:]

    # -- one frame

    def _seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return make_fit(size, self.knobs).inner

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """No gradients, but tensors that the correction can take some through; mixed precision as asked."""
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            self._mixed(),
        ):
            yield

    def _fit(self) -> Fit:
        assert self.fit is not None
        return self.fit

    def _see(self, frame: Tensor, labels: Tensor) -> Pending:
        fitted = self._fit().frame(self._here(frame))
        return Pending(self._next(), normalise(fitted, self.colour)[None], labels)

    def _look(self, pending: Pending) -> Query:
        """The pending frame's encoding, made once."""
        if pending.query is None:
            pending.query = self.model.look(pending.frame)
        return pending.query

    def _remember(self) -> None:
        """Put the pending frame into memory."""
        pending = self._pending()
        masks = self._fit().to_network(pending.labels[1:])
        keys, values = self.model.memorise(pending.frame, masks, self._owner(len(masks)))
        known = torch.ones(len(masks), dtype=torch.bool)
        self.memory.push(Remembered(pending.index, keys, values, known, pending.given or pending.index == 0))

    def _read(self, pending: Pending) -> Tensor:
        """Logits (K+1, I) of the pending frame from the memory."""
        query, frames = self._look(pending), self.memory.frames
        owner = self._owner(len(frames[0].keys))
        read = memory_read(
            query.key[owner],
            [entry.keys for entry in frames],
            [entry.values for entry in frames],
            known=[entry.known for entry in frames],
            top_k=self.knobs.top_k,
            max_bytes=self.max_bytes,
        )
        return aggregate(self._fit().from_network(self.model.decode(query, read, owner)))

    def _owner(self, objects: int) -> Tensor:
        return torch.zeros(objects, dtype=torch.int64, device=self.device)

    # -- correction

    def _correct(self, labels: Tensor, loops: int) -> Tensor:
        return corrected(
            self.model,
            self._pending().frame,
            labels,
            self.references,
            self._fit(),
            loops=loops,
            rate=self.knobs.correction_rate,
        )

    def _refer(self, objects: list[int], labels: Tensor) -> None:
        """These objects are found again in the pending frame from now on, by labels (N+1, I)."""
        pending = self._pending()
        self._keep_references([k for k in range(len(pending.labels) - 1) if k not in objects])
        self.references.append(Reference(pending.frame, objects, labels, pending.query))

    def _keep_references(self, objects: list[int]) -> None:
        """Drop all other objects from the reference frames, and frames that have none left."""
        for reference in self.references:
            held = [n for n, k in enumerate(reference.objects) if k in objects]
            gone = [n + 1 for n in range(len(reference.objects)) if n not in held]
            labels = reference.labels[[0, *(n + 1 for n in held)]]
            labels[0] += reference.labels[gone].sum(0)
            reference.objects, reference.labels = [reference.objects[n] for n in held], labels
        self.references = [reference for reference in self.references if reference.objects]
