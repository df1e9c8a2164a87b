"""What the methods that learn from masks share: initial weights, and reading published checkpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mamp.core.errors import UserError
from mamp.methods.task import TrainingTask
from mamp.ops.folding import BatchNorm


class SupervisedTask(TrainingTask):
    """A training task with initial weights and batch norms that may stay frozen.

    knobs: the method's training section. A method gives `initialise`.
    """

    knobs: Any
    l2: float = 0.0  # the published L2 term, added to the gradient

    def initialise(self, source: str) -> tuple[int, int]:
        """Load the weights of `method.training.init`; return how many entries were set, and of how many."""
        raise NotImplementedError

    def begin(self) -> str | None:
        """The trunks begin as `method.training.init` says."""
        if self.knobs.init is None:
            return None
        taken, entries = self.initialise(self.knobs.init)
        return f"{taken} of the network's {entries} entries begin as in {self.knobs.init}"

    def train(self, mode: bool = True) -> SupervisedTask:
        """As usual, but batch norms stay in evaluation with `method.training.freeze_norm`."""
        super().train(mode)
        if self.knobs.freeze_norm:
            for module in self.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        return self

    def parameter_groups(self) -> list[dict[str, object]]:
        """All parameters, with the L2 term `l2` where it is not 0."""
        group: dict[str, object] = {"params": [p for p in self.parameters() if p.requires_grad]}
        if decay := self.l2:
            group["weight_decay"] = decay
        return [group]


def painted(frames: Tensor, rows: Sequence[Tensor]) -> Tensor:
    """uint8 (3, rows*H, T*W): normalised frames (T, 3, H, W) in grey, under each label map (T, H, W)."""
    from mamp.video.masks import PALETTE

    palette = torch.from_numpy(PALETTE.copy()).to(frames.device).float() / 255
    grey = frames.mean(1, keepdim=True)
    grey = (grey - grey.amin()) / (grey.amax() - grey.amin()).clamp(min=1e-6)
    seen = [0.5 * grey + 0.5 * palette[labels.long()].movedim(-1, 1) for labels in rows]  # (T, 3, H, W) each
    picture = torch.cat([torch.cat(list(row), dim=-1) for row in seen], dim=-2)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """A published entry's name -> ours, by all (pattern, replacement) in turn."""
    for pattern, ours in rules:
        name = re.sub(pattern, ours, name)
    return name


def whole_state(
    ours: dict[str, Tensor], method: Any, *, build: Callable[[Any], nn.Module], checkpoint: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a state dict with the counters that old files lack, and the config that goes with the weights.

    build: makes the network that `method.network` describes. Raises UserError, naming the kind of checkpoint,
    where it has other entries.
    """
    with torch.device("meta"):
        wanted = build(method.network).state_dict()
    for name in wanted.keys() - ours.keys():
        if name.endswith("num_batches_tracked"):
            ours[name] = torch.zeros((), dtype=torch.int64)
    if wrong := sorted(set(wanted) ^ set(ours)):
        raise UserError(
            f"this {checkpoint} checkpoint has {len(wrong)} missing or surplus entries, first {wrong[0]};"
            f" give a published {checkpoint} one"
        )
    return ours, method.model_dump(mode="json", include={"name", "network"})


def no_checkpoint(checkpoint: str, missing: Exception) -> UserError:
    """The error for a file that lacks an entry by which the network is known."""
    return UserError(
        f"this is no {checkpoint} checkpoint: it has no entry that means {missing}; give a published"
        f" {checkpoint} one"
    )


def trunk_of(
    ours: Mapping[str, Tensor],
    stages: Sequence[str],
    *,
    known: Mapping[str, tuple[tuple[int, ...], bool]],
    wide: bool,
    checkpoint: str,
) -> str:
    """Which trunk entries named as ours are of.

    stages: what names of each stage's blocks begin with, before the block's number. known: trunk -> blocks of
    each stage, and whether blocks are bottlenecks; wide: whether these ones are. Raises UserError where none
    fits.
    """
    counts = tuple(
        1 + max((int(m[1]) for name in ours if (m := re.match(stage + r"(\d+)\.", name))), default=-1)
        for stage in stages
    )
    for trunk, found in known.items():
        if found == (counts, wide):
            return trunk
    raise UserError(
        f"this {checkpoint} checkpoint has trunks of {counts} blocks, which is none of {', '.join(known)}"
    )
