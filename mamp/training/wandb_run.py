"""A training run as wandb has it: one run, however often it was interrupted."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mamp.config import Config
from mamp.core.errors import first_line
from mamp.core.files import write_text
from mamp.core.progress import say

Mode = Literal["disabled", "offline", "online"]


class WandbRun:
    """A run that is open in wandb. Steps only rise there: what it has already is not sent again."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._last: tuple[int, float | None] = (-1, None)  # step and time of the last line

    def log(self, entry: dict[str, Any]) -> None:
        """`step`, `time` and figures by name, None where there is none."""
        renamed = {**entry, "_timestamp": entry.get("time")}  # as wandb calls it
        figures = {k: v for k, v in renamed.items() if k not in ("step", "time") and v is not None}
        self._last = entry["step"], entry.get("time")
        if entry["step"] >= self._run.step:
            self._run.log(figures, step=entry["step"])

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture uint8 (H, W, 3)."""
        import wandb

        if step >= self._run.step:
            at = {"_timestamp": self._last[1]} if self._last[0] == step and self._last[1] else {}
            self._run.log({name: wandb.Image(picture), **at}, step=step)

    def close(self, *, well: bool) -> None:
        """well: no error ended the run."""
        self._run.finish(exit_code=0 if well else 1)


def open_run(
    run: Path, config: Config, code: dict[str, Any], *, seconds: float, quiet: bool = False
) -> WandbRun | None:
    """Open wandb's run of the run folder `run`, offline if it must be; None, with a warning, if it cannot.

    Its id lies in RUN/wandb/id. code: what `describe_code` says. seconds: most that wandb may take to begin
    and to end.
    """
    mode = config.tracking.mode
    try:
        begun = _begin(run, mode, config, code, seconds)
        if mode == "online" and not quiet:
            say(f"wandb: {begun.url}")
        return WandbRun(begun)
    except Exception as error:
        reason = first_line(error)
    if mode == "online":
        try:
            _forget()
            begun = _begin(run, "offline", config, code, seconds)
            say(
                f"warning: wandb cannot be reached ({reason}); the run is kept in {run / 'wandb'}: "
                "`wandb login`, then `wandb sync` of the newest offline folder there, sends it"
            )
            return WandbRun(begun)
        except Exception as error:
            reason = f"{reason}; offline: {first_line(error)}"
    say(f"warning: wandb does not begin ({reason}); the run goes on without it")
    return None


def _forget() -> None:
    """End wandb's process: it holds the id of a run that did not begin, and would refuse it offline."""
    import wandb

    with contextlib.suppress(Exception):
        wandb.teardown()


def _begin(run: Path, mode: Mode, config: Config, code: dict[str, Any], seconds: float) -> Any:
    import wandb

    knobs, path = config.tracking, run.resolve()
    wanted = {
        "console": "off", "silent": True, "disable_git": True, "save_code": False,
        "init_timeout": seconds, "finish_timeout": seconds, "login_timeout": 1,
    }  # fmt: skip
    known = {key: value for key, value in wanted.items() if key in wandb.Settings.model_fields}
    with _nobody_to_ask():
        begun = wandb.init(
            dir=str(path),
            id=run_id(run),
            resume="allow",
            mode=mode,
            project=knobs.project,
            entity=knobs.entity,
            name=knobs.name or path.name,
            group=knobs.group,
            job_type=knobs.job_type,
            tags=list(knobs.tags),
            notes=knobs.notes,
            config={**config.model_dump(mode="json"), "code": _shortened(code)},
            allow_val_change=True,
            settings=wandb.Settings(**known),
        )
    _keep_diff(begun, code)
    return begun


def _keep_diff(begun: Any, code: dict[str, Any]) -> None:
    """The uncommitted changes, as the file diff.patch of wandb's run."""
    if code.get("diff"):
        with contextlib.suppress(Exception):  # code.json has them too
            path = Path(begun.dir) / "diff.patch"
            write_text(path, code["diff"] + "\n")
            begun.save(glob.escape(str(path)), base_path=begun.dir, policy="now")


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
    """Without the text of uncommitted changes, which diff.patch and code.json have."""
    return {**code, "diff": bool(code.get("diff"))}


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
