"""Weights and checkpoints of odd shape."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections import OrderedDict
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, mamp, written_whole
from odd.values import damaged, deep_text, scalar, spoiled

METHODS = ("mamp", "stm", "afb_urr", "ssm")


def tensor(rng: Random, like: Any) -> Any:
    """A tensor in place of another: of another type, shape, layout, or with values that are no numbers."""
    import torch

    forms: dict[str, Any] = {
        "nan": lambda: torch.full_like(like, float("nan")) if like.is_floating_point() else like,
        "one nan": lambda: _with(like, float("nan")),
        "inf": lambda: _with(like, float("-inf")),
        "huge": lambda: like.double() * 1e300,
        "half": lambda: like.half(),
        "bf16": lambda: like.bfloat16(),
        "double": lambda: like.double(),
        "int": lambda: like.to(torch.int64),
        "bool": lambda: like > 0,
        "complex": lambda: like.to(torch.complex64),
        "float8": lambda: like.to(torch.float8_e4m3fn),
        "sparse": lambda: like.to_sparse() if like.dim() else like,
        "csr": lambda: torch.eye(4).to_sparse_csr(),
        "meta": lambda: torch.empty_like(like, device="meta"),
        "quantised": lambda: torch.quantize_per_tensor(torch.rand(3, 3), 0.1, 0, torch.quint8),
        "empty": lambda: torch.empty(0),
        "scalar": lambda: torch.tensor(1.0),
        "flat": lambda: like.reshape(-1),
        "more": lambda: torch.stack([like, like]),
        "wide": lambda: torch.empty(1).expand(30_000, 30_000, 1000),
        "transposed": lambda: like.transpose(0, -1) if like.dim() > 1 else like,
        "seven": lambda: torch.zeros((1,) * 7),
        "parameter": lambda: torch.nn.Parameter(like.float()),
        "nested": lambda: torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]),
    }
    form = rng.choice(list(forms))
    try:
        return forms[form]()
    except (RuntimeError, NotImplementedError):  # of one that is odd already
        return torch.full((2, 2), float("nan"))


def _with(like: Any, value: float) -> Any:
    changed = like.clone().float()
    if changed.numel():
        changed.view(-1)[-1] = value
    return changed


def odd_state(rng: Random) -> Any:
    """A state dict with another tensor, name, or place."""
    state: dict[Any, Any] = dict(right.state())
    for _ in range(rng.choice((1, 1, 3))):
        if not state:
            break
        name = rng.choice(list(state))
        how = rng.random()
        if how < 0.6:
            state[name] = tensor(rng, state[name]) if hasattr(state[name], "dim") else scalar(rng)
        elif how < 0.7:
            del state[name]
        elif how < 0.8:
            state[
                rng.choice(("", "x" * 400, "\x1b[31m", "a.b", "module." + str(name), "module.module.a"))
            ] = state.pop(name)
        elif how < 0.85:
            state[rng.choice((1, None, 0.5, ("a", 1), b"a"))] = state[name]
        elif how < 0.95:
            state[name] = scalar(rng)
        else:
            state = {name: state[name]}
    if rng.random() < 0.1:
        return rng.choice(({}, OrderedDict(state), list(state.values()), {"state_dict": state}, scalar(rng)))
    return state


def checkpoint(rng: Random) -> Any:
    """What `torch.save` may write: a checkpoint of a run, of another program, or none."""
    how = rng.random()
    if how < 0.15:
        return odd_state(rng)
    if how < 0.3:
        key = rng.choice(("state_dict", "model_dict", "model", "net", "network"))
        return {key: odd_state(rng), "epoch": 3}
    if how < 0.35:
        return scalar(rng)
    made = {
        "model": right.state(),
        "optimizer": {"state": {}, "param_groups": []},
        "step": 3,
        "steps": 5,
        "rng": {},
        "config": {"train": {"steps": 5, "epochs": 1.0}},
        "method": dict(right.SMALL),
        "provenance": {"commit": "x", "data": {"videos": 3}},
        "ema": None,
    }
    for _ in range(rng.choice((1, 1, 2, 4))):
        key = rng.choice(list(made))
        if key == "model" and rng.random() < 0.6:
            made[key] = odd_state(rng)
        elif key == "ema":
            made[key] = rng.choice((scalar(rng), {"weights": odd_state(rng)}, {"weights": scalar(rng)}, {}))
        elif isinstance(made[key], dict) and rng.random() < 0.6 and key != "model":
            made[key] = spoiled(made[key], rng)
        else:
            made[key] = scalar(rng)
    if rng.random() < 0.2:
        del made[rng.choice(list(made))]
    return made


def _write_torch(path: Path, value: Any, rng: Random) -> None:
    import torch

    try:
        torch.save(value, path, _use_new_zipfile_serialization=rng.random() < 0.85)
    except Exception:  # a tensor that cannot be written
        torch.save({"model": {}, "method": scalar(rng)}, path)


def _metadata(rng: Random) -> dict[str, str] | None:
    method: Any = dict(right.SMALL)
    how = rng.random()
    if how < 0.35:
        method = spoiled(method, rng)
    elif how < 0.5:
        method = spoiled({**right.SMALL, "preset": "tuned", "propagation": {"top_k": 5}, "motion": {}}, rng)
    provenance: Any = {
        "commit": "x",
        "changed": True,
        "data": {"videos": 3},
        "recipe": {"train": {"lr": 0.1}},
        "init": {"path": "a", "provenance": {"commit": "y"}},
        "licence": "none",
    }
    if rng.random() < 0.5:
        provenance = spoiled(provenance, rng)
    told = {"method": _json(method), "provenance": _json(provenance)}
    if rng.random() < 0.1:
        told[rng.choice(("method", "provenance"))] = rng.choice(
            (deep_text(rng), "", "{", "null", "NaN", "9" * 6000)
        )
    if rng.random() < 0.05:
        return rng.choice((None, {}, {"method": told["method"]}))
    return told


def _json(value: Any) -> str:
    try:
        return json.dumps(value, default=str)
    except (ValueError, TypeError, RecursionError):
        return '{"name": "mamp", "a": ' + "9" * 5000 + "}"


def write_safetensors(path: Path, rng: Random) -> None:
    import torch
    from safetensors.torch import save_file

    state = odd_state(rng) if rng.random() < 0.6 else right.state()
    if not isinstance(state, dict):
        state = right.state()
    kept = {}
    for name, value in state.items():
        if isinstance(name, str) and isinstance(value, torch.Tensor) and value.numel() < 10**7:
            kept[name] = value
    try:
        save_file({n: v.contiguous() for n, v in kept.items()}, path, _metadata(rng))
    except Exception:  # what the format has no form for
        save_file(right.state(), path, _metadata(rng))


def weights(rng: Random, folder: Path) -> Case:
    """A file of weights, given to one of the commands that take one."""
    path = folder / rng.choice(("w.safetensors", "w.safetensors", "w.pt", "w.pth"))
    if path.suffix == ".safetensors":
        write_safetensors(path, rng)
    else:
        _write_torch(path, checkpoint(rng), rng)
    if rng.random() < 0.15:
        path.write_bytes(damaged(path.read_bytes(), rng))
    if rng.random() < 0.03:
        path.unlink()
        path.mkdir()
    source: Any = path
    if rng.random() < 0.1:  # as a run's
        run = folder / "run"
        run.mkdir()
        path.rename(run / "weights.safetensors")
        source = run
    out = folder / "out"
    use = rng.choice(
        ("info", "copy", "half", "convert", "convert", "segment", "segment", "widen", "onnx", "init", "probe")
    )
    target = out / "made.safetensors"
    words: list[Any] = {
        "info": ["weights", "info", source],
        "copy": ["weights", "copy", source, target],
        "half": ["weights", "copy", source, target, "--half", "--licence", "x"],
        "convert": ["weights", "convert", source, target, "--method", rng.choice(METHODS)],
        "widen": ["weights", "widen", source, target, "--width", "0.25"],
        "onnx": ["weights", "onnx", source, out],
        "init": [
            "train",
            _recipe(folder),
            "--run",
            out,
            f"train.init={source}",
            f"data.root={_videos(folder)}",
        ],
        "segment": right.segment(_videos(folder) / "a", _mask(folder), "--out", out, network=source),
        "probe": [
            "segment",
            _videos(folder) / "a",
            "--mask",
            _mask(folder),
            "--out",
            out,
            "--weights",
            source,
            "--quiet",
            "method.name=probe",
            "method.propagation.radius=3",
        ],
    }[use]
    check = (
        written_whole(out)
        if use in ("copy", "half", "convert", "widen", "onnx", "segment")
        else lambda said: ""
    )
    return Case(f"{use} {path.name}", lambda: mamp(*words), [out], check)


def _videos(folder: Path) -> Path:
    if not (folder / "videos").exists():
        right.write_video_folder(folder / "videos" / "a", 3)
    return folder / "videos"


def _mask(folder: Path) -> Path:
    (folder / "mask.png").write_bytes(right.mask_png())
    return folder / "mask.png"


def _recipe(folder: Path) -> Path:
    """A training that ends at once: its first batch is larger than the data."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "method: {name: mamp, encoder: {width: 0.125, features: 8}}\ntrain: {steps: 1, batch: 100}\n"
        "data: {workers: 0, size: 32}\n"
    )
    return recipe


@functools.cache
def _run() -> Path:
    """A run of two steps, whose folder holds its last checkpoint."""
    folder = right.room() / "run"
    folder.mkdir()
    said = mamp("train", *_steps(folder, 2))
    assert said.status == 0, said
    return folder / "run"


@functools.cache
def _saved() -> dict[str, Any]:
    """The last checkpoint of that run; what is spoiled is a copy."""
    import torch

    return torch.load(sorted((_run() / "checkpoints").glob("step-*.pt"))[-1], weights_only=True)


def _steps(folder: Path, steps: int) -> list[Any]:
    words = ("train.batch=1", f"train.steps={steps}", "data.sampling=random", "data.intervals=[1]")
    return [
        _recipe(folder),
        "--run",
        folder / "run",
        f"data.root={_videos(folder)}",
        "--quiet",
        *words,
        "data.interval_chances=[1]",
        "method.training.references=1",
        "train.checkpoint_every=1",
    ]


def resumed(rng: Random, folder: Path) -> Case:
    """A run's folder whose checkpoints are odd: the run goes on, or says why not."""
    run = folder / "run"
    shutil.copytree(_run(), run)
    path = sorted((run / "checkpoints").glob("step-*.pt"))[-1]
    how = rng.random()
    untouched = how < 0.05
    if untouched:
        pass
    elif how < 0.2:
        _write_torch(path, checkpoint(rng), rng)
    elif how < 0.4:
        path.write_bytes(damaged(path.read_bytes(), rng))
    else:
        state = dict(_saved())
        for _ in range(rng.choice((1, 1, 2))):
            key = rng.choice(list(state))
            if key == "model" and rng.random() < 0.7:
                state[key] = odd_state(rng)
            elif isinstance(state[key], (dict, list)) and rng.random() < 0.8:
                state[key] = spoiled(state[key], rng)
            elif rng.random() < 0.2:
                del state[key]
            else:
                state[key] = scalar(rng)
        _write_torch(path, state, rng)
    if not untouched and rng.random() < 0.2:
        scores = rng.choice(("{}", "[]", "null", deep_text(rng), '{"a": "x"}', '{"a": 1e400}'))
        (run / "checkpoints" / "scores.json").write_text(scores)
    if not untouched and rng.random() < 0.2:
        file = run / rng.choice(("log.jsonl", "code.json", "config.yaml"))
        file.write_bytes(damaged(file.read_bytes(), rng))
    kept = "" if untouched or rng.random() > 0.3 else _odd_history(run, rng)
    words = _steps(folder, rng.choice((2, 2, 3)))  # the run is finished already, or goes on for a step
    return Case(
        "resume",
        lambda: mamp("train", *words),
        [run],
        lambda said: (
            f"refuses what a run wrote: {said.err}"
            if untouched and said.status
            else f"loses {kept!r} of the history, and says {said.err!r}"
            if kept and not _somewhere(run, kept.encode())
            else ""
        ),
    )


def _odd_history(run: Path, rng: Random) -> str:
    """Make something beside the checkpoints odd; a text that must still be somewhere in the folder."""
    code, log = run / "code.json", run / "log.jsonl"
    how = rng.choice(
        ("list", "resumed", "number", "fifo", "zero", "previews", "begun", "deep", "text", "lock")
    )
    if how == "previews":
        shutil.rmtree(run / "previews", ignore_errors=True)
        (run / "previews").write_text("a file")
    elif how == "begun":  # killed before its first checkpoint
        for path in (run / "checkpoints").iterdir():
            path.unlink()
        log.write_text('{"step": 1, "loss": 0.123456789}\n')
        return "0.123456789"
    elif how in ("fifo", "zero", "lock"):
        place = run / ".lock" if how == "lock" else rng.choice((code, log))
        place.unlink(missing_ok=True)
        os.symlink("/dev/zero", place) if how == "zero" else os.mkfifo(place)
    else:
        odd = {
            "list": '["kept-1"]',
            "resumed": '{"commit": "kept-2", "resumed": 5}',
            "number": '{"commit": "kept-3", "a": -1e400, "resumed": [{"step": NaN}]}',
            "deep": f'{{"commit": "kept-4", "a": {deep_text(rng)}}}',
            "text": "kept-5",
        }[how]
        code.write_text(odd)
        return "kept-"
    return ""


def _somewhere(run: Path, text: bytes) -> bool:
    files = (path for path in run.rglob("*") if path.is_file() and path.suffix != ".pt")
    return any(text in path.read_bytes() for path in files)


KINDS = {"weights": weights, "checkpoints": resumed}
