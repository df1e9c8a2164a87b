"""What a run remembers of itself: where each start ran, what was changed, when a line was logged."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mamp.config import Config
from mamp.core.errors import UserError, first_line
from mamp.core.progress import say
from mamp.core.terminal import clipped
from mamp.core.texts import read_json
from mamp.loading.clips import ClipPlan
from mamp.training.resume import values_of, written

WRITTEN = ("log.jsonl", "code.json", "config.yaml")  # of a start, beside its checkpoints
JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")  # where schedulers put the number of a job


def start_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """Date, host and job of a start, for code.json. job: null where no scheduler began it."""
    array = [environment.get(f"SLURM_ARRAY_{name}") for name in ("JOB_ID", "TASK_ID")]
    job = "_".join(map(str, array)) if all(array) else None
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "host": os.uname().nodename if hasattr(os, "uname") else environment.get("COMPUTERNAME"),
        "job": job or next((environment[name] for name in JOBS if environment.get(name)), None),
    }


def set_aside(run: Path) -> None:
    """Move what an earlier start wrote to RUN/before-N, where a run begins anew, and say so."""
    written = [run / name for name in WRITTEN if (run / name).exists()]
    if not any(path.name != "config.yaml" and path.stat().st_size for path in written):
        return
    place = _free(run / "before")
    place.mkdir()
    for path in written:
        os.replace(path, place / path.name)
    names = ", ".join(path.name for path in written)
    say(
        f"warning: run folder {run} has no checkpoint, so the run begins anew; {names} of the start before"
        f" are kept in {place.name}"
    )


def read_code(path: Path) -> dict[str, Any] | None:
    """Return what code.json says; None where it is not there, or not as a run writes it.

    One that is not is renamed to code.json.damaged-N with a warning. Raises UserError where it cannot be
    opened.
    """
    if not path.exists():
        say(f"warning: {path} is missing, so that the history of the run begins with this start")
        return None
    try:
        found = read_json(path)
        if not isinstance(found, dict):
            raise ValueError("it holds no names")
        starts = found.get("resumed", [])
        if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
            raise ValueError("its `resumed` is no list of starts")
        json.dumps(found, allow_nan=False)
        return found
    except OSError as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}); move it away to go on") from None
    except ValueError as error:
        kept = _free(path.with_name("code.json.damaged"))
        os.replace(path, kept)
        say(
            f"warning: {path} is not as a run writes it ({first_line(error)}); it is kept as {kept.name}, and"
            " the history of the run begins with this start"
        )
        return None


def _free(path: Path) -> Path:
    """PATH-1, PATH-2 and so on: the first that is not there."""
    number = 1
    while os.path.lexists(f"{path}-{number}"):
        number += 1
    return Path(f"{path}-{number}")


def resumed(first: Mapping[str, Any], code: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The entry under `resumed` in code.json of a start that goes on.

    first: code.json as it is. code: what describes this start. changed: what `changed_settings` gives.
    The entry has step, date, host and job, what else differs from the start before, and `settings`.
    """
    known: dict[str, Any] = dict(first)
    for entry in first.get("resumed", []):
        known |= entry
    always = {key: code[key] for key in ("step", "date", "host", "job") if key in code}
    differs = {key: value for key, value in code.items() if known.get(key) != value}
    return always | differs | ({"settings": dict(changed)} if changed else {})


def changed_settings(begun: Mapping[str, Any], config: Config) -> dict[str, dict[str, Any]]:
    """key -> {"before", "now"} of every setting in which `config` differs from that of a checkpoint."""
    before, now = values_of(begun), values_of(config.model_dump(mode="json"))
    keys = [*now, *(key for key in before if key not in now)]
    return {
        key: {"before": _finite(before.get(key)), "now": now.get(key)}
        for key in keys
        if before.get(key) != now.get(key)
    }


def _finite(value: Any) -> Any:
    """A value of a checkpoint's config, such that JSON has it: text in place of an infinite number."""
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def describe_changes(changed: Mapping[str, Mapping[str, Any]]) -> str:
    """`data.workers=2 (was 0), train.keep=3 (was 2)`."""
    return ", ".join(
        f"{clipped(key)}={written(v['now'])} (was {written(v['before'])})" for key, v in changed.items()
    )


def refuse_fewer_steps(step: int, steps: int, config: Config, run: Path) -> None:
    """UserError where the run has done more steps than it is now to have."""
    if steps < step:
        asked = config.train.steps
        key = f"train.epochs={config.train.epochs:g}" if asked is None else f"train.steps={asked}"
        raise UserError(
            f"run {run} is at step {step} already, and {key} ends it after {steps}; pass train.steps={step}"
            " to end it here, more to go on, or another --run to begin anew"
        )


def moment(plan: ClipPlan, step: int) -> dict[str, Any]:
    """What begins a line of log.jsonl: step, epochs and clips seen after it, seconds since 1970 (UTC)."""
    return {
        "step": step,
        "epoch": round(plan.epochs_after(step), 4),
        "clips": step * plan.batch,
        "time": round(time.time(), 3),
    }
