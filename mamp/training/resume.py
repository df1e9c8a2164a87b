"""Whether a run may go on with the config at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mamp.config import Config
from mamp.core.errors import UserError
from mamp.core.terminal import clipped
from mamp.loading.census import Census
from mamp.training.schedule import looks_ahead

# What may differ from the run's first config: nothing here changes what a step does. The videos themselves
# are compared by the census, so that they may move to another place.
FREE = (
    "method.preset",
    "method.propagation",
    "method.motion",
    "data.root",
    "data.leave_out",
    "data.expect",
    "data.workers",
    "data.sample_seconds",
    "train.max_skipped",
    "train.rank_timeout",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep",
    "train.keep_best",
    "train.keep_at",
    "train.expect_loss",
    "train.expect_within",
    "train.expect_steps",
    "validation.every",
    "validation.epochs",
    "validation.clips",
    "validation.dataset",
    "validation.root",
    "validation.split",
    "validation.frames",
    "tracking",
    "evaluate",
    "slurm",
)
LENGTH = ("train.steps", "train.epochs")  # free too, unless the schedule looks ahead to the end


def refuse_other_config(begun: Mapping[str, Any], config: Config, run: Path) -> None:
    """UserError naming the first key in which `config` differs from the one the run was begun with."""
    free = FREE if looks_ahead(config.train) else FREE + LENGTH
    before, now = values_of(begun), values_of(config.model_dump(mode="json"))
    for key in sorted(before.keys() | now.keys()):
        if any(key == name or key.startswith(f"{name}.") for name in free):
            continue
        if before.get(key) != now.get(key):
            why = (
                " (its schedule of rates ends there)" if key in LENGTH and before.get(key) is not None else ""
            )
            begun_with = f"{clipped(key)}={written(before.get(key))}"
            raise UserError(
                f"run {run} was begun with {begun_with}{why}, and this config says {written(now.get(key))};"
                f" pass {begun_with} to go on, or another --run to begin anew"
            )


def refuse_other_videos(begun: Mapping[str, Any], census: Census, run: Path) -> None:
    """UserError when the videos are not those that the run was begun on."""
    if begun["digest"] != census.digest:
        raise UserError(
            f"run {run} was begun on {begun['videos']} videos with {begun['frames']} frames (list"
            f" {begun['digest']}), and data.root now gives {len(census.counts)} with {census.frames} (list"
            f" {census.digest}); give the same video, or another --run"
        )


def is_finished(saved: Mapping[str, Any], config: Config) -> bool:
    """Whether the checkpoint is the last of its run, and `config` does not ask for more."""
    then, now = saved["config"]["train"], config.train
    same = (then["steps"], then["epochs"]) == (now.steps, now.epochs)
    return saved["step"] >= saved["steps"] and same


def values_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """`section.key` -> value of a config that was saved; a setting that is newer has its default."""
    with contextlib.suppress(ValidationError):
        config = Config.model_validate(config).model_dump(mode="json")
    return dict(_flat(config))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def written(value: Any) -> str:
    """A setting's value in a sentence; places of video by their paths."""
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "path" in one for one in value):
        return ",".join(str(one["path"]) for one in value)
    return "null" if value is None else clipped(str(value).replace(" ", ""))
