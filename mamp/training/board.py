"""A training run as TensorBoard has it: event files in RUN/tensorboard (the extra `tensorboard`)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from mamp import config as configs
from mamp.config import Config
from mamp.core.errors import UserError


class Board:
    """An open event file, which is given to the system with every entry.

    A run that goes on has a new file with all that was there before; older ones go, and TensorBoard forgets
    what it read of them.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer: Any = SummaryWriter(str(folder), purge_step=0)
        text = configs.dump(config).replace("\n", "\n    ")
        self._writer.add_text("config", f"    {text}", 0)  # indented, which is how Markdown keeps lines

    def log(self, entry: dict[str, Any]) -> None:
        """`step`, `time` and figures by name, None where there is none."""
        for name, value in entry.items():
            if name not in ("step", "time") and value is not None:
                self._writer.add_scalar(name, value, entry["step"], walltime=entry.get("time"))
        self._writer.flush()

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture uint8 (H, W, 3)."""
        self._writer.add_image(name, picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self, *, well: bool) -> None:
        """well: no error ended the run; TensorBoard has no place for that."""
        self._writer.close()


def require_tensorboard() -> None:
    """UserError where the package is not installed."""
    try:
        importlib.import_module("tensorboard")
    except ImportError:
        raise UserError(
            "tracking.tensorboard=true needs TensorBoard; install it with pip install mamp[tensorboard], or"
            " leave it out"
        ) from None
