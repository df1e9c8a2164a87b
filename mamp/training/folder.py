"""The run folder: config.yaml, log.jsonl, code.json, checkpoints/, previews/. One process writes it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image
from pydantic import BaseModel

from mamp import config as configs
from mamp import weights
from mamp.config import TrainConfig
from mamp.core.errors import UserError, first_line
from mamp.core.files import folder_for, refuse_target, remove_leftovers, whole, write_json, write_text
from mamp.core.texts import parse_json
from mamp.training import checkpoints
from mamp.training.history import WRITTEN, read_code, resumed, set_aside


class RunFolder:
    """The files of one run, locked for as long as this is open; a start that fails leaves no folder behind.

    writes: False for ranks other than the first: they lock nothing, and what they are asked to write is not
    written.
    """

    def __init__(self, path: Path, *, writes: bool = True):
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._writes = writes
        self._log: TextIO | None = None
        self._lock: TextIO | None = None
        with contextlib.ExitStack() as stack:
            if writes:
                stack.enter_context(folder_for(path))
                _refuse_others(path)
                self._lock = _lock(path / ".lock")
                stack.callback(self._unlock)
            self._open = stack.pop_all()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError):  # what a full disk did not take is still in its buffer
                self._log.close()
        self._open.close()

    def _unlock(self) -> None:
        """Let go of the folder; one with nothing in it is left without the lock's file, too."""
        assert self._lock is not None
        with contextlib.suppress(OSError):
            if [child.name for child in self.path.iterdir()] == [".lock"]:
                (self.path / ".lock").unlink()
        self._lock.close()

    def begin(
        self,
        config: BaseModel,
        code: dict[str, Any],
        *,
        step: int,
        changed: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin the run, or go on with it after `step`.

        config.yaml is the whole resolved config. code.json is what made the run; each start that goes on is
        added under `resumed`, with what was different. changed: settings that are no longer those of the
        checkpoint. What an interrupted process logged past `step` is dropped; where no checkpoint is there
        (`step` is 0), what it wrote is set aside.
        """
        if not self._writes:
            return
        for folder in (self.path, self.checkpoints, self.path / "previews"):
            remove_leftovers(folder)
        if not step:
            set_aside(self.path)
        first = read_code(self.path / "code.json") if step else None
        write_text(self.path / "config.yaml", configs.dump(config))
        if first is None:
            first = code
        else:
            first["resumed"] = [*first.get("resumed", []), resumed(first, code, changed or {})]
        write_json(self.path / "code.json", first)
        log = self.path / "log.jsonl"
        lines = log.read_bytes().decode(errors="replace").splitlines() if log.exists() else []
        write_text(log, "".join(f"{line}\n" for line in lines if _step_of(line) <= step))
        self._log = log.open("a", encoding="utf-8")

    def log(self, entry: dict[str, Any]) -> None:
        """One line of log.jsonl, given to the system when this returns."""
        if not self._writes:
            return
        assert self._log is not None, "begin comes first"
        try:
            self._log.write(json.dumps(entry, allow_nan=False) + "\n")
            self._log.flush()
        except OSError as error:
            raise UserError(
                f"{self.path / 'log.jsonl'} cannot be written ({first_line(error)}); make room and start the"
                " run again"
            ) from None

    def save(
        self, state: dict[str, Any], *, step: int, knobs: TrainConfig, score: float | None = None
    ) -> None:
        """Save a checkpoint. The last `knobs.keep` stay, the best `knobs.keep_best`, and `knobs.keep_at`."""
        if self._writes:
            checkpoints.save(
                self.checkpoints,
                state,
                step=step,
                keep=knobs.keep,
                score=score,
                keep_best=knobs.keep_best,
                keep_at=knobs.keep_at,
            )

    def write_weights(self, state: Mapping[str, Any]) -> Path:
        """Write weights.safetensors from the last checkpoint, unless it is there already."""
        path = self.path / "weights.safetensors"
        if self._writes and not (path.exists() and weights.read(path).provenance == state["provenance"]):
            model = state["ema"]["weights"] if state.get("ema") else state["model"]
            weights.save(path, model, method=state["method"], provenance=state["provenance"])
        return path

    def write_picture(self, picture: np.ndarray, *, step: int, name: str = "step") -> None:
        """previews/NAME-NNNNNNNN.png from uint8 (H, W, 3)."""
        if not self._writes:
            return
        path = self.path / "previews" / f"{name}-{step:08d}.png"
        path.parent.mkdir(exist_ok=True)
        with whole(path) as part:
            Image.fromarray(picture).save(part, format="PNG")


def _lock(path: Path) -> TextIO:
    """Hold `path` against other processes. A record lock: forked loader workers do not inherit it."""
    try:
        file = path.open("a+")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({first_line(error)}); give another folder with --run"
        ) from None
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise UserError(
            f"run folder {path.parent} is being written by {holder or 'another process'}; wait for it, or"
            " give another with --run"
        ) from None
    if not path.exists() or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
        file.close()  # a start that failed has just removed it
        return _lock(path)
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"process {os.getpid()} on {os.uname().nodename}".encode())
    return file


def _refuse_others(run: Path) -> None:
    """UserError where something else stands in place of a file or folder of the run."""
    for name in (*WRITTEN, "weights.safetensors"):
        refuse_target(run / name)
    for name in ("checkpoints", "previews"):
        if os.path.lexists(run / name) and not (run / name).is_dir():
            raise UserError(
                f"{run / name} is not a folder, where the run keeps its {name}; move it away, or give another"
                " folder with --run"
            )


def _step_of(line: str) -> float:
    """The step a log line speaks of; a line cut short is past every step."""
    try:
        step = parse_json(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
    return step if isinstance(step, (int, float)) else float("inf")
