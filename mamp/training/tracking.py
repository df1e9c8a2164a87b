"""What a run records: log.jsonl and previews/ always, wandb and TensorBoard where they are asked for."""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from mamp.config import Config
from mamp.core.errors import UserError, first_line
from mamp.core.progress import say
from mamp.training.board import Board
from mamp.training.folder import RunFolder
from mamp.training.wandb_run import open_run

TIMEOUT = 60.0  # seconds that wandb may take to begin, and to send the rest at the end
SEQUENCES = "val_sequences"  # in a line of log.jsonl: sequence -> {"j", "f"}; curves val_j/NAME, val_f/NAME
PICTURES = {"step": "preview"}  # what sinks call previews/step-NNNNNNNN.png


class Sink(Protocol):
    """Where figures and pictures go besides the run folder's own files."""

    def log(self, entry: dict[str, Any]) -> None:
        """`step`, `time` where the log has it, and figures by name, None where there is none."""

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture uint8 (H, W, 3)."""

    def close(self, *, well: bool) -> None:
        """Nothing more comes. well: no error ended the run."""


class Tracker:
    """Where the engine records figures and pictures; a context manager. State: the open sinks.

    A run that goes on is the same run in every sink. What a sink lacks of log.jsonl and previews/ is sent to
    it first, so that steps only rise and the newest folder in RUN/wandb, like RUN/tensorboard, is the whole
    run. A fault in a sink never reaches the training: it shows one warning, and the run goes on without the
    sink. Without a key or a connection, wandb is offline. A missing package is a UserError for TensorBoard
    alone.

    code: what `describe_code` returns. step: where the run goes on from. first: False for ranks that record
    nothing. seconds: most that wandb may take to begin and to end, by default TIMEOUT.
    """

    def __init__(
        self,
        folder: RunFolder,
        config: Config,
        code: dict[str, Any],
        *,
        step: int,
        first: bool = True,
        quiet: bool = False,
        seconds: float | None = None,
    ):
        self.folder = folder
        self._sinks: dict[str, Sink] = {}
        if not first:
            return
        run, knobs, wait = folder.path, config.tracking, TIMEOUT if seconds is None else seconds
        if knobs.mode != "disabled":
            self._open("wandb", lambda: open_run(run, config, code, seconds=wait, quiet=quiet))
        if knobs.tensorboard:
            self._open("TensorBoard", lambda: Board(run / "tensorboard", config))
        self._each(lambda sink: _catch_up(sink, run, step))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._each(lambda sink: sink.close(well=kind is None))
        self._sinks = {}

    def log(self, entry: dict[str, Any]) -> None:
        """`step` and figures by name, None where there is none: a line of log.jsonl, and the sinks'."""
        self.folder.log(entry)
        self._each(lambda sink: sink.log(_curves(entry)))

    def picture(self, name: str, picture: np.ndarray, *, step: int) -> None:
        """uint8 (H, W, 3) as previews/NAME-NNNNNNNN.png, and the sinks'."""
        self.folder.write_picture(picture, step=step, name=name)
        self._each(lambda sink: sink.show(PICTURES.get(name, name), picture, step))

    def _open(self, name: str, begin: Callable[[], Sink | None]) -> None:
        try:
            with _apart():
                sink = begin()
        except UserError:
            raise
        except Exception as error:
            _warn(name, error)
            return
        if sink is not None:
            self._sinks[name] = sink

    def _each(self, action: Callable[[Sink], object]) -> None:
        """Do it for every sink that is open; its first failure is its last."""
        for name, sink in list(self._sinks.items()):
            try:
                with _apart():
                    action(sink)
            except Exception as error:
                del self._sinks[name]
                _warn(name, error)


def _catch_up(sink: Sink, run: Path, step: int) -> None:
    """Send what the run folder has up to `step`, step after step."""
    actions: list[tuple[int, Callable[[], None]]] = [
        (entry["step"], partial(sink.log, _curves(entry))) for entry in _entries(run / "log.jsonl")
    ]
    for path, (number, name) in _pictures(run / "previews").items():
        actions.append((number, partial(_show_file, sink, name, path, number)))
    for number, action in sorted(actions, key=lambda each: each[0]):
        if number <= step:
            action()


def _curves(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of the log with a figure for each curve: those of sequences too."""
    found = {key: value for key, value in entry.items() if key != SEQUENCES}
    for name, figures in entry.get(SEQUENCES, {}).items():
        found |= {f"val_{letter}/{name}": value for letter, value in figures.items()}
    return found


def _show_file(sink: Sink, name: str, path: Path, step: int) -> None:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's readers raise whatever they trip over in a damaged file
        say(f"{path} cannot be read ({first_line(error)}); the tracker goes without it")
        return
    sink.show(PICTURES.get(name, name), pixels, step)


def _entries(log: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [json.loads(line) for line in lines]


def _pictures(folder: Path) -> dict[Path, tuple[int, str]]:
    """Each picture's (step, name)."""
    matches = {path: re.fullmatch(r"([a-z]+)-(\d+)\.png", path.name) for path in folder.glob("*.png")}
    return {path: (int(match[2]), match[1]) for path, match in matches.items() if match}


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """A sink may draw at random now and then; the run's own generators do not notice."""
    before, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy)


def _warn(name: str, error: Exception) -> None:
    say(f"warning: {name} fails ({first_line(error)}); the run goes on without it, and log.jsonl has all")
