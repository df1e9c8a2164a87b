"""The loss that a recipe shows along its way, beside the one that is seen."""

from __future__ import annotations

import math

from mamp.config import TrainConfig


def compare_loss(train: TrainConfig, loss: float | None, *, step: int, steps: int) -> list[str]:
    """Return a line for each entry of `train.expect_loss` that is due at `step`, or a warning if far off.

    loss: the mean of that log line. An entry is due on the first log line at or after its part of the steps.
    Nothing where the run has not `train.expect_steps` steps.
    """
    if train.expect_steps not in (None, steps):
        return []
    lines = []
    for part, expected in sorted(train.expect_loss.items()):
        if step != _due(part, steps, train.log_every):
            continue
        seen = "none" if loss is None else f"{loss:.4g}"
        line = f"loss after {part:.3g} of the steps: {seen}, and this recipe expects {expected:.4g}"
        if loss is None or abs(loss - expected) > train.expect_within * abs(expected):
            line = (
                f"warning: {line}, give or take {train.expect_within:.0%}; is the video what the recipe is"
                " for?"
            )
        lines.append(line)
    return lines


def _due(part: float, steps: int, log_every: int) -> int:
    """The step of the first log line at or after `part` of the steps."""
    step = max(1, math.ceil(round(part * steps, 6)))
    return 1 if step == 1 else min(steps, math.ceil(step / log_every) * log_every)
