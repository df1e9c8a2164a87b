"""Checkpoints: one file each, written whole, read without running code; the last and the best few stay."""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from mamp.core.errors import UserError, first_line
from mamp.core.files import make_folder, whole, write_json
from mamp.core.texts import read_json
from mamp.weights import CHECKPOINTS

SCORES = (  # file name -> validation score of the checkpoints that have one; the greater the better
    "scores.json"
)
DAMAGE = (
    *(
        OSError,
        RuntimeError,
        ValueError,
        LookupError,
        EOFError,
        AttributeError,
        NotImplementedError,
        TypeError,
    ),
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error),
)


def save(
    folder: Path,
    state: dict[str, Any],
    *,
    step: int,
    keep: int,
    score: float | None = None,
    keep_best: int = 0,
    keep_at: Collection[int] = (),
) -> Path:
    """Write `state` (tensors and plain values) as step-NNNNNNNN.pt, whole or not at all; drop old ones.

    keep: how many last ones stay. keep_best: how many of those with the greatest `score` stay besides.
    keep_at: steps whose checkpoints always stay.

    Raises UserError where it cannot be written.
    """
    make_folder(folder)
    path = folder / CHECKPOINTS.replace("*", f"{step:08d}")
    try:
        with whole(path) as part, part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except RuntimeError as error:  # so torch reports a full disk
        raise UserError(
            f"checkpoint {path} cannot be written ({first_line(error)}); make room and start the run again"
        ) from None
    _drop_old(folder, path, keep=keep, score=score, keep_best=keep_best, keep_at=keep_at)
    return path


def _drop_old(
    folder: Path,
    new: Path,
    *,
    keep: int,
    score: float | None,
    keep_best: int,
    keep_at: Collection[int],
) -> None:
    paths = listed(folder)
    known = scores(folder)
    if score is not None and math.isfinite(score):
        known[new.name] = score
    best = sorted(
        (path for path in paths if path.name in known), key=lambda path: (known[path.name], path.name)
    )
    always = {CHECKPOINTS.replace("*", f"{step:08d}") for step in keep_at}
    stay = {*paths[-keep:], *best[len(best) - keep_best :], *(p for p in paths if p.name in always)}
    for path in paths:
        if path not in stay:
            path.unlink()
    if known:
        write_json(
            folder / SCORES, {path.name: known[path.name] for path in paths if path in stay & set(best)}
        )


def scores(folder: Path) -> dict[str, float]:
    """File name -> validation score, of the checkpoints that have one."""
    try:
        return {str(name): float(score) for name, score in read_json(folder / SCORES).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def listed(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob(CHECKPOINTS))


def load_last(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that is whole, or None when there is none at all.

    A damaged one is renamed to *.damaged with a warning. Raises UserError when all are damaged, or one cannot
    be opened.
    """
    paths = listed(folder)
    for path in reversed(paths):
        try:
            content = path.read_bytes()
        except OSError as error:  # this says nothing about what is in it
            raise UserError(
                f"checkpoint {path} cannot be opened ({first_line(error)}); make it readable, or move it away"
                " to go on from the one before"
            ) from None
        try:
            return _read(content)
        except DAMAGE:
            os.replace(path, path.with_suffix(".pt.damaged"))
            print(f"warning: checkpoint {path} is damaged; going on from the one before it", file=sys.stderr)
    if paths:
        raise UserError(
            f"none of the {len(paths)} checkpoints in {folder} can be read; delete the folder to start the"
            " run anew"
        )
    return None


def _read(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.testzip() is not None:  # torch itself does not look at the checksums
            raise ValueError("checksum")
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not {"model", "optimizer", "step", "rng", "config"} <= state.keys():
        raise ValueError("keys")
    _refuse_other_shape(state)
    return state


def _refuse_other_shape(state: dict[str, Any]) -> None:
    """ValueError where what a run reads before it loads the state is not what `Trainer.state` writes."""
    kinds = {"config": dict, "model": dict, "provenance": dict, "method": dict, "step": int, "steps": int}
    if wrong := [key for key, kind in kinds.items() if not isinstance(state.get(key), kind)]:
        raise ValueError(wrong[0])
    if not (0 <= state["step"] < 2**31 and 0 <= state["steps"] < 2**31):
        raise ValueError("step")
    average = state.get("ema")
    if average is not None and not (isinstance(average, dict) and isinstance(average.get("weights"), dict)):
        raise ValueError("ema")
    train, census = state["config"].get("train"), state["provenance"].get("data")
    if not isinstance(train, dict) or not {"steps", "epochs"} <= train.keys():
        raise ValueError("config")
    if not isinstance(census, dict) or not {"digest", "videos", "frames"} <= census.keys():
        raise ValueError("provenance")


@contextlib.contextmanager
def fitting(step: int) -> Iterator[None]:
    """Turn what goes wrong when the state of a checkpoint is loaded into a UserError."""
    try:
        yield
    except (*DAMAGE, ArithmeticError) as error:
        if isinstance(error, RuntimeError) and "out of memory" in str(error):
            raise
        raise UserError(
            f"the checkpoint of step {step} does not fit this run ({first_line(error)}); remove it to go on"
            " from the one before, or give another --run"
        ) from None
