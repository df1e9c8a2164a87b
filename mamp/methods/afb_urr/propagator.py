"""What happens per frame: the last one goes into the banks with its masks, the next one reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mamp.core.devices import working_bytes
from mamp.methods.afb_urr.bank import FeatureBank, Report
from mamp.methods.afb_urr.config import ON_CPU, AfbConfig
from mamp.methods.afb_urr.fitting import make_fit
from mamp.methods.afb_urr.network import scores
from mamp.methods.base import Propagator
from mamp.methods.stm.fitting import Fit, normalise
from mamp.ops.sizes import size_of
from mamp.propagation.labels import append_empty, drop, impose

CERTAIN = 1000.0  # score of a given mask, as published


@dataclass
class Pending:
    """The frame just stepped: as the network sees it (3, N), its scores and soft labels (K+1, I).

    anew: the banks begin with this frame.
    """

    index: int
    frame: Tensor
    scores: Tensor
    labels: Tensor
    anew: bool = False


class AfbPropagator(Propagator):
    """Carries K masks through one video by a feature bank for each object and one for the background.

    State: the banks, within their budget; the pending frame; and `shown`, which objects have had a mask.
    motion is not used.
    """

    floats_held = (250, 130)

    def __init__(self, model: nn.Module, method: AfbConfig, **places: Any) -> None:
        super().__init__(model, method, **places)
        self.knobs, self.colour = method.propagation, method.network.colour
        knobs = self.knobs
        self.bank = FeatureBank(
            budget=knobs.budget,
            update_rate=knobs.update_rate,
            merge_above=knobs.merge_above,
            whole=knobs.evict == "whole",
            max_bytes=working_bytes(knobs.max_mb, self.device, on_cpu=ON_CPU),
        )
        self.pending: Pending | None = None
        self.fit: Fit | None = None
        self.shown: list[bool] = []  # without the background

    @torch.no_grad()
    def start(self, frame: Tensor, masks: Tensor) -> None:
        """Take the first frame and masks (K, H, W). An object whose mask is empty comes later."""
        self.fit = make_fit(size_of(frame), self.knobs)
        labels = self.fit.masks(self._here(masks))
        self.shown = [bool(mask.any()) for mask in masks]
        self.bank.widen(len(labels))
        self.pending = Pending(self._next(), self._seen(frame), CERTAIN * (2 * labels - 1), labels)

    @torch.no_grad()
    def step(self, frame: Tensor) -> Tensor:
        """Probabilities (K+1, H, W) of the next frame, background first, summing to 1."""
        with self._mixed():
            self._remember()
            seen = self._seen(frame)
            query = self.model.look(seen[None])
            logits = self.model.decode(query, self.bank.read(query.key[0])[None])
            found = self._fit().from_network(scores(logits, least=self.knobs.least)[0])  # (K+1, I)
        for k, shown in enumerate(self.shown, start=1):
            if not shown:
                found[k] = -CERTAIN
        self.pending = Pending(self._next(), seen, found, found.softmax(dim=0))
        return self._fit().to_frame(self.pending.labels)

    @torch.no_grad()
    def correct(self, masks: Tensor, objects: list[int]) -> None:
        """Replace the pending frame's masks of `objects` (0-based) by `masks` (len(objects), H, W)."""
        pending = self._pending()
        given = self._fit().masks(self._here(masks))[1:]
        for k, mask in zip(objects, given, strict=True):
            self.shown[k] = self.shown[k] or bool(mask.any())
        if self.knobs.late == "keep":
            pending.labels = impose(pending.labels, given, [k + 1 for k in objects])
            return
        for k, mask in zip(objects, given, strict=True):
            inside = mask > 0.5
            pending.scores[:, inside] = -CERTAIN
            pending.scores[k + 1] = torch.where(inside, CERTAIN, -CERTAIN)
        pending.labels, pending.anew = pending.scores.softmax(dim=0), True

    @torch.no_grad()
    def add(self, masks: Tensor) -> None:
        """New objects (N, H, W) in {0, 1} appear at the pending frame; they win over what was predicted.

        Each begins its own bank with this frame.
        """
        pending, known, count = self._pending(), len(self.shown), len(masks)
        pending.labels = append_empty(pending.labels, count)
        absent = pending.scores.new_full((count, *pending.scores.shape[1:]), -CERTAIN)
        pending.scores = torch.cat((pending.scores, absent))
        self.shown += [False] * count
        self.bank.widen(count)
        self.correct(masks, list(range(known, known + count)))

    @torch.no_grad()
    def remove(self, objects: list[int]) -> None:
        """Forget these objects (0-based); what was theirs becomes background, later ones move up."""
        pending = self._pending()
        stay = [k for k in range(len(self.shown)) if k not in objects]
        channels = [0, *(k + 1 for k in stay)]
        pending.labels, pending.scores = drop(pending.labels, objects), pending.scores[channels]
        self.bank.select(channels)
        self.shown = [self.shown[k] for k in stay]

    @property
    def memory_bytes(self) -> int:
        """Bytes of the banks."""
        return self.bank.nbytes

    def report(self) -> Report:
        """How the banks were used."""
        return self.bank.report()

    # -- one frame

    def _seen_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return make_fit(size, self.knobs).inner

    def _fit(self) -> Fit:
        assert self.fit is not None
        return self.fit

    def _seen(self, frame: Tensor) -> Tensor:
        return normalise(self._fit().frame(self._here(frame)), self.colour)

    def _remember(self) -> None:
        """Put the pending frame into the banks."""
        pending = self._pending()
        keys, values = self.model.memorise(pending.frame, self._fit().to_network(pending.labels))
        if pending.anew:
            self.bank.forget()
        self.bank.absorb(keys, values, index=pending.index)
