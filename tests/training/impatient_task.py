"""fake_task.py, with little patience for wandb."""

from __future__ import annotations

import fake_task

from mamp.training import tracking


def main(run, *overrides):
    """The exit status of `mamp train` on this method."""
    tracking.TIMEOUT = 2.0
    return fake_task.main(run, *overrides)
