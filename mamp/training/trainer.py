"""What a step changes: network, optimiser, scaler, counters; and how it is put into a checkpoint and back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mamp.config import Config, TrainConfig
from mamp.core.devices import amp_dtype, backward_on
from mamp.core.errors import UserError
from mamp.methods.task import Batch, TrainingTask
from mamp.training import checkpoints
from mamp.training.averaging import WeightAverage
from mamp.training.distributed import Ranks
from mamp.training.randomness import random_state, set_random_state, step_generator
from mamp.training.schedule import learning_rate

IN_ALL = 10  # times train.max_skipped: steps that a run may leave out in all


class Trainer:
    """A run between two steps: task, optimiser, scaler, steps done, and scalars that are not in the log yet.

    ranks: the processes that train it together. steps: where the run ends. provenance: plain values kept with
    checkpoints and weights. `learn`, `summarise` and `state` are called by all ranks at the same step.
    """

    def __init__(
        self, task: TrainingTask, config: Config, ranks: Ranks, *, steps: int, provenance: dict[str, Any]
    ):
        train, device = config.train, ranks.device
        self.dtype = amp_dtype(train.amp, device)
        self.task = task.to(device).to(memory_format=torch.channels_last)
        if train.compile:
            self.task.compile()
        self.config = config
        self.ranks = ranks
        self.device = device
        self.steps = steps
        self.provenance = provenance
        self.optimizer = _optimizer(task, train, fused=device.type == "cuda")
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.average = WeightAverage(task.model, train.ema) if train.ema else None
        self.wrapped = ranks.wrap(task, sync_batch_norm=train.sync_batch_norm)
        self.step = 0
        self.lr = 0.0
        self.unlogged: list[dict[str, float]] = []
        self.skipped = self.skipped_in_a_row = 0
        self._untold: list[
            dict[str, Tensor]
        ] = []  # on the device, so that a step does not wait for the one before
        self._prepared: Any = None

    @property
    def precision(self) -> str:
        """The number format of the network's products."""
        return str(self.dtype or torch.float32).removeprefix("torch.")

    def learn(self, batch: Batch) -> None:
        """Do one optimiser step. Its random numbers depend on seed, step number and the clip's place alone.

        A step whose loss or gradient is not finite, on any rank, leaves network and optimiser as they were.
        """
        train = self.config.train
        self.task.train()
        self.lr = learning_rate(train, self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        buffers = [b for b in self.task.buffers() if b.is_floating_point()]
        before = [buffer.clone() for buffer in buffers]
        parts = list(batch.split(train.accumulate))
        scalars = []
        for part in parts:
            with self._only_added(part is not parts[-1]):
                scalars.append(self._add_gradient(part.to(self.device), 1 / len(parts)))
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, train.clip_norm or math.inf)
        self._update(norm)
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(torch.where(norm.isfinite(), buffer, old))
        self.step += 1
        means = {name: torch.stack([s[name].float() for s in scalars]).mean() for name in scalars[0]}
        self._untold.append({**means, "grad_norm": norm.detach()})

    def _add_gradient(self, part: Batch, share: float) -> dict[str, Tensor]:
        """Forward and backward of a part of the step's clips; its scalars."""
        generator = step_generator(self.config.train.seed, self.step)
        self._prepared = self.task.prepare(part, generator)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            loss, scalars = self.wrapped(self._prepared)
        value = loss.detach()
        # a loss that is not finite makes the whole gradient so, which the other ranks then see too
        weight = torch.where(value.isfinite(), share, math.nan)
        with backward_on(self.device, self.task):
            self.scaler.scale(loss * weight).backward()
        return {**{name: scalar.detach() for name, scalar in scalars.items()}, "loss": value}

    def _only_added(self, added: bool) -> contextlib.AbstractContextManager[None]:
        """Whether this rank's gradient is only added up, or becomes the mean over ranks."""
        if added and isinstance(self.wrapped, nn.parallel.DistributedDataParallel):
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    def _update(self, norm: Tensor) -> None:
        """The optimiser's step, unless the gradient is not finite."""
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif self.device.type == "cuda":  # the fused optimiser looks by itself: here nobody waits for the GPU
            self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif norm.isfinite():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()

    def settle(self) -> list[str]:
        """Fetch the scalars of the last steps; a sentence on each step that was left out.

        Raises UserError when there were too many of them, or the gradients of fp16 are finite at no scale.
        """
        warnings: list[str] = []
        if not self._untold:
            return warnings
        names = list(self._untold[0])
        table = torch.stack([torch.stack([s[name].float() for name in names]) for s in self._untold])
        rows = self.ranks.mean(table.cpu().double()).tolist()  # MPS has no doubles
        # with fp16 the scaler leaves out a step whose gradient is not finite, and tries a smaller scale
        judged = ("loss",) if self.scaler.is_enabled() else ("loss", "grad_norm")
        for step, row in enumerate(rows, start=self.step - len(rows) + 1):
            values = dict(zip(names, row, strict=True))
            if all(math.isfinite(values[name]) for name in judged):
                self.skipped_in_a_row = 0
                self.unlogged.append(values)
            else:
                what = f"step {step}: loss {values['loss']}, norm of the gradient {values['grad_norm']}"
                self._count_skipped(what)
                warnings.append(f"warning: left out {what}")
        self._untold.clear()
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:  # 65536 at first
            raise UserError(
                f"training broke down by step {self.step}: with train.amp=fp16 no scale makes the gradient"
                " finite; begin a new run with train.amp=bf16 or off, or a lower train.lr"
            )
        return warnings

    def _count_skipped(self, what: str) -> None:
        most = self.config.train.max_skipped
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row > most or self.skipped > IN_ALL * most:
            raise UserError(
                f"training broke down at {what}; {self.skipped_in_a_row} such steps in a row and"
                f" {self.skipped} in all are more than train.max_skipped={most} allows: begin a new run with"
                " a lower train.lr, a train.clip_norm, or train.amp=off"
            )

    def summarise(self) -> dict[str, float | None]:
        """Return means of the scalars since the last call, loss and grad_norm first; None if not finite.

        Steps that were left out are not in them; `settle` comes first. With fp16 the scaler itself leaves out
        steps whose gradient is not finite: grad_norm is the mean of the others.
        """
        seen = self.unlogged[-1] if self.unlogged else {"loss": 0.0, "grad_norm": 0.0}
        names = sorted(seen, key=lambda name: (name != "loss", name != "grad_norm", name))
        columns = {name: [values[name] for values in self.unlogged] for name in names}
        columns["grad_norm"] = [norm for norm in columns["grad_norm"] if math.isfinite(norm)]
        means = {name: sum(column) / (len(column) or math.nan) for name, column in columns.items()}
        self.unlogged.clear()
        return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[TrainingTask]:
        """The task as it would be used now: evaluation mode, averaged weights; the run is left as it was."""
        before = random_state()
        self.task.eval()
        try:
            with self.average.swapped_in() if self.average else contextlib.nullcontext():
                yield self.task
        finally:
            self.task.train()
            set_random_state(before)

    def preview(self) -> Tensor:
        """The task's picture of the last batch, uint8 (3, H, W)."""
        with self.evaluating() as task, torch.no_grad():
            return task.preview(self._prepared).cpu()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as tensors and plain values; `settle` comes first."""
        everything = self.task.state_dict()
        states = self.ranks.gather(random_state())
        return {
            "model": self.task.model.state_dict(),
            "method": self.config.method.model_dump(mode="json"),
            "provenance": {**self.provenance, "step": self.step},
            "config": self.config.model_dump(mode="json"),
            "task": {name: value for name, value in everything.items() if not name.startswith("model.")},
            "ema": self.average.state() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "steps": self.steps,
            "told": self.unlogged,
            "skipped": [self.skipped, self.skipped_in_a_row],
            "rng": states[0],
            "rng_of_other_ranks": states[1:],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`. Ranks that were not there before draw from generators that begin anew."""
        with checkpoints.fitting(state["step"]):
            self._load(state)

    def _load(self, state: dict[str, Any]) -> None:
        self.task.load_state_dict(
            {**state["task"], **{f"model.{name}": value for name, value in state["model"].items()}}
        )
        if self.average is not None:
            self.average.load(state["ema"])
        for group, own in zip(state["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            group["fused"] = own["fused"]  # the device's, not the run's
        self.optimizer.load_state_dict(state["optimizer"])
        for weight, kept in self.optimizer.state.items():
            if not {"step", "exp_avg", "exp_avg_sq"} <= kept.keys():  # Adam's
                raise ValueError("the optimiser's averages are not all there")
            for name, value in kept.items():
                if not isinstance(value, torch.Tensor) or (value.dim() and value.shape != weight.shape):
                    raise ValueError(f"the optimiser's {name} is of another shape")
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.unlogged = [{str(name): float(value) for name, value in line.items()} for line in state["told"]]
        if any(line.keys() != self.unlogged[0].keys() for line in self.unlogged):
            raise ValueError("the scalars that are not in the log yet are of several kinds")
        self.skipped, self.skipped_in_a_row = state.get("skipped", (0, 0))
        states = [state["rng"], *state.get("rng_of_other_ranks", ())]
        if self.ranks.rank < len(states):
            set_random_state(states[self.ranks.rank])


def _optimizer(task: TrainingTask, train: TrainConfig, *, fused: bool) -> torch.optim.Optimizer:
    groups = task.parameter_groups()
    if train.weight_decay and any(group.get("weight_decay") for group in groups):
        raise UserError(
            "train.weight_decay, which is AdamW's, and method.training.weight_decay, an L2 term, are both"
            " set; set one of them to 0"
        )
    knobs: dict[str, Any] = {"lr": train.lr, "betas": train.betas, "fused": fused or None}
    if train.weight_decay:
        return torch.optim.AdamW(groups, **knobs, weight_decay=train.weight_decay)
    return torch.optim.Adam(groups, **knobs)
