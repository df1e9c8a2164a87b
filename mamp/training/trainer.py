"""What a step changes: network, optimiser, scaler, counters; and how it is put into a checkpoint and back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamp.config import Config, TrainConfig
from mamp.errors import UserError
from mamp.methods.base import Batch, TrainingTask
from mamp.ops.devices import amp_dtype
from mamp.training.checkpoints import random_state, set_random_state
from mamp.training.schedule import learning_rate


class Trainer:
    """A run between two steps: task, optimiser, scaler, steps done, and the scalars no log line has told yet.

    steps: where the run ends. provenance: plain values kept with checkpoints and weights.
    """

    def __init__(
        self,
        task: TrainingTask,
        config: Config,
        device: torch.device,
        *,
        steps: int,
        provenance: dict[str, Any],
    ):
        train = config.train
        self.dtype = amp_dtype(train.amp, device)
        self.task = task.to(device).to(memory_format=torch.channels_last)
        self.config = config
        self.device = device
        self.steps = steps
        self.provenance = provenance
        self.optimizer = _optimizer(task, train)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.step = 0
        self.lr = 0.0
        self.told: list[dict[str, float]] = []
        self._untold: list[
            dict[str, Tensor]
        ] = []  # on the device, so that a step does not wait for the one before
        self._prepared: Any = None

    @property
    def precision(self) -> str:
        """The number format of the network's products."""
        return str(self.dtype or torch.float32).removeprefix("torch.")

    def learn(self, batch: Batch) -> None:
        """One optimiser step. What it draws at random depends on the seed and the step's number alone."""
        train = self.config.train
        self.task.train()
        self._prepared = self.task.prepare(batch.to(self.device), step_generator(train.seed, self.step))
        self.lr = learning_rate(train, self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            loss, scalars = self.task(self._prepared)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, train.clip_norm or math.inf)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._untold.append({**scalars, "loss": loss.detach(), "grad_norm": norm.detach()})

    def settle(self) -> None:
        """Fetch the scalars of the last steps; UserError at the first one that broke down."""
        first = self.step - len(self._untold) + 1
        for step, scalars in enumerate(self._untold, start=first):
            numbers = torch.stack([value.detach().float() for value in scalars.values()]).tolist()
            values = dict(zip(scalars, numbers, strict=True))
            # with fp16 the scaler leaves out a step whose gradient is not finite
            judged = ("loss",) if self.dtype == torch.float16 else ("loss", "grad_norm")
            if not all(math.isfinite(values[name]) for name in judged):
                raise UserError(
                    f"training broke down at step {step}: loss {values['loss']}, norm of the gradient {values['grad_norm']}; "
                    "begin a new run with a lower train.lr, a train.clip_norm, or train.amp=off"
                )
            self.told.append(values)
        self._untold.clear()

    def summarise(self) -> dict[str, float | None]:
        """Means of the scalars since the last call, loss and grad_norm first; None where a mean is not finite."""
        self.settle()
        names = sorted(self.told[-1], key=lambda name: (name != "loss", name != "grad_norm", name))
        means = {name: sum(values[name] for values in self.told) / len(self.told) for name in names}
        self.told.clear()
        return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[TrainingTask]:
        """The task, set to evaluation; afterwards it is back in training, and the random generators where they were."""
        before = random_state()
        self.task.eval()
        try:
            with torch.no_grad():
                yield self.task
        finally:
            self.task.train()
            set_random_state(before)

    def preview(self) -> Tensor:
        """The task's picture of the last batch, uint8 (3, H, W); leaves the run as it was."""
        with self.evaluating() as task:
            return task.preview(self._prepared).cpu()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, as tensors and plain values."""
        self.settle()
        everything = self.task.state_dict()
        return {
            "model": self.task.model.state_dict(),
            "method": self.config.method.model_dump(mode="json"),
            "provenance": {**self.provenance, "step": self.step},
            "config": self.config.model_dump(mode="json"),
            "task": {name: value for name, value in everything.items() if not name.startswith("model.")},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "steps": self.steps,
            "told": self.told,
            "rng": random_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Undo `state`."""
        self.task.load_state_dict(
            {**state["task"], **{f"model.{name}": value for name, value in state["model"].items()}}
        )
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.told = list(state["told"])
        set_random_state(state["rng"])


def step_generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator of one step: the same whatever steps this process did before it."""
    value = int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
    return torch.Generator().manual_seed(value)


def _optimizer(task: TrainingTask, train: TrainConfig) -> torch.optim.Optimizer:
    groups = task.parameter_groups()
    if train.weight_decay:
        return torch.optim.AdamW(groups, lr=train.lr, betas=train.betas, weight_decay=train.weight_decay)
    return torch.optim.Adam(groups, lr=train.lr, betas=train.betas)
