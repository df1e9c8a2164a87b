"""What a run tells of itself: log.jsonl and previews/ always, wandb where it is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from mamp.config import Config, TrackingConfig
from mamp.files import write_text
from mamp.progress import say
from mamp.training.folder import RunFolder

Mode = Literal["disabled", "offline", "online"]
TIMEOUT = 60.0  # seconds that wandb may take to begin, and to send the rest at the end


class Tracker:
    """Where the engine tells figures and pictures; a context manager that ends wandb's part. State: the open wandb run.

    A run that goes on is the same run in wandb: its id lies in RUN/wandb/id. What wandb lacks of log.jsonl and previews/
    (all of it in a new offline folder; what a killed process had not sent yet) is told first, so that steps only rise and
    the newest folder in RUN/wandb is the whole run.
    Nothing that goes wrong in wandb reaches the training: there is one warning, and the run goes on without it; without a
    key or a connection, offline.
    code: what `describe_code` says. step: where the run goes on from. first: False for ranks that tell nothing. seconds: most that wandb may take to begin and to end.
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
        seconds: float = TIMEOUT,
    ):
        self.folder = folder
        self._quiet = quiet
        self._run: Any = None
        if config.tracking.mode == "disabled" or not first:
            return
        with _apart():
            self._run = self._open(config, code, seconds)
            self._try(lambda: self._catch_up(step))

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with _apart():
            self._try(lambda: self._run.finish(exit_code=0 if kind is None else 1))
        self._run = None

    def log(self, entry: dict[str, Any]) -> None:
        """`step` and figures by name, None where there is none: a line of log.jsonl, and wandb's."""
        self.folder.log(entry)
        with _apart():
            self._try(lambda: self._tell(entry))

    def picture(self, name: str, picture: np.ndarray, *, step: int) -> None:
        """uint8 (H, W, 3) as previews/NAME-NNNNNNNN.png, and wandb's."""
        self.folder.write_picture(picture, step=step, name=name)
        with _apart():
            self._try(lambda: self._show(name, picture, step))

    def _tell(self, entry: dict[str, Any]) -> None:
        figures = {key: value for key, value in entry.items() if key != "step" and value is not None}
        if entry["step"] >= self._run.step:
            self._run.log(figures, step=entry["step"])

    def _show(self, name: str, picture: np.ndarray, step: int) -> None:
        import wandb

        if step >= self._run.step:
            self._run.log({PICTURES.get(name, name): wandb.Image(picture)}, step=step)

    def _catch_up(self, step: int) -> None:
        """Tell what the run folder has up to `step`, step after step, as far as wandb lacks it."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (entry["step"], partial(self._tell, entry)) for entry in _entries(self.folder.path / "log.jsonl")
        ]
        for path, (number, name) in _pictures(self.folder.path / "previews").items():
            actions.append((number, partial(self._show_file, name, path, number)))
        for number, action in sorted(actions, key=lambda each: each[0]):
            if number <= step:
                action()

    def _show_file(self, name: str, path: Path, step: int) -> None:
        with Image.open(path) as image:
            self._show(name, np.asarray(image.convert("RGB")), step)

    def _open(self, config: Config, code: dict[str, Any], seconds: float) -> Any:
        """wandb's run, offline if it cannot be online; None when there is none to be had."""
        knobs = config.tracking
        try:
            return self._begin(knobs, knobs.mode, config, code, seconds)
        except Exception as error:
            reason = _first_line(error)
        if knobs.mode == "online":
            with contextlib.suppress(Exception):
                run = self._begin(knobs, "offline", config, code, seconds)
                _warn(
                    f"wandb is not to be had online ({reason}); the run is kept in {self.folder.path / 'wandb'}: "
                    "`wandb login`, then `wandb sync` of the newest folder there, sends it"
                )
                return run
        _warn(f"wandb does not begin ({reason}); the run goes on without it")
        return None

    def _begin(
        self, knobs: TrackingConfig, mode: Mode, config: Config, code: dict[str, Any], seconds: float
    ) -> Any:
        import wandb

        path = self.folder.path.resolve()
        wanted = {
            "console": "off", "silent": True, "disable_git": True, "save_code": False,
            "init_timeout": seconds, "finish_timeout": seconds, "login_timeout": 1,
        }  # fmt: skip
        known = {key: value for key, value in wanted.items() if key in wandb.Settings.model_fields}
        with _nobody_to_ask():
            run = wandb.init(
                dir=str(path),
                id=run_id(self.folder.path),
                resume="allow",
                mode=mode,
                project=knobs.project,
                entity=knobs.entity,
                name=knobs.name or path.name,
                tags=list(knobs.tags),
                config={**config.model_dump(mode="json"), "code": _shortened(code)},
                allow_val_change=True,
                settings=wandb.Settings(**known),
            )
        if mode == "online" and not self._quiet:
            say(f"wandb: {run.url}")
        return run

    def _try(self, action: Callable[[], Any]) -> None:
        """Do it if wandb is there; the first failure is the last."""
        if self._run is None:
            return
        try:
            action()
        except Exception as error:
            self._run = None
            _warn(f"wandb fails ({_first_line(error)}); the run goes on without it, and log.jsonl has all")


PICTURES = {"step": "preview"}  # what wandb calls previews/step-NNNNNNNN.png


def run_id(run: Path) -> str:
    """The id of the run in wandb, kept in RUN/wandb/id; made where there is none."""
    path = run / "wandb" / "id"
    path.parent.mkdir(exist_ok=True)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if re.fullmatch(r"[a-z0-9]{8,}", found := path.read_text().strip()):
            return found
    made = secrets.token_hex(4)
    write_text(path, made + "\n")
    return made


def _shortened(code: dict[str, Any]) -> dict[str, Any]:
    """Without the text of uncommitted changes, which code.json has."""
    return {**code, "diff": bool(code.get("diff"))}


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
    """wandb draws at random now and then; the run's own generators do not notice."""
    before, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy)


@contextlib.contextmanager
def _nobody_to_ask() -> Iterator[None]:
    """No terminal to read from, so that wandb cannot wait for a key to be typed."""
    before = sys.stdin
    with open(os.devnull) as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = before


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)
