"""What each kind of run takes, and the `mamp` command that its jobs give."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

OPTIONS = {  # options of `mamp` that are handed on as they are
    "train": (),
    "evaluate": ("--split", "--weights", "--baseline", "--processes"),
    "pack": ("--size", "--keyframes", "--quality", "--split", "--bad-frame"),
    "score": ("--protocol", "--split", "--seen", "--decay"),
}
POSITIONALS = {
    "train": (),
    "evaluate": ("DATASET", "ROOT"),
    "pack": ("SOURCE",),
    "score": ("TRUTH", "PREDICTIONS"),
}
WORDS = {"train": ("train",), "evaluate": ("evaluate",), "pack": ("data", "pack"), "score": ("score",)}
SHARED = ("evaluate",)  # whose work several jobs and tasks may share
PACKED = "packed"  # a packing's own folder: mamp data pack needs it empty
SEVERAL_TASKS = ("train", *SHARED)
SETTINGS = ("method", "evaluate")  # sections that an evaluation takes


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Put what `command` takes besides CONFIG into the parser."""
    for name in POSITIONALS[command]:
        parser.add_argument(name.lower(), metavar=name)
    for option in OPTIONS[command]:
        parser.add_argument(option, help=f"as of mamp {command}")


def arguments(args: argparse.Namespace, run: Path, *, given: Mapping[str, Any], cpus: int) -> list[str]:
    """The arguments of `mamp` for the run in the folder `run`.

    given: the settings that the user gave; an evaluation takes the rest from its weights. cpus: that a task
    has.
    """
    command = args.command
    words = list(WORDS[command])
    if command == "train":
        return [*words, str(recipe(run)), "--run", str(run)]
    words += [vars(args)[name.lower()] for name in POSITIONALS[command]]
    for option in OPTIONS[command]:
        value = vars(args)[option[2:].replace("-", "_")]
        words += [option, value] if value is not None else []
    if command == "evaluate":
        return [*words, "--out", str(run), *flat({k: given[k] for k in SETTINGS if k in given})]
    if command == "pack":
        return [*words, str(run / PACKED), "--processes", str(cpus)]
    files = ["--json", str(run / "scores.json"), "--csv", str(run / "scores.csv")]
    return [*words, "--processes", str(cpus), *files]


def recipe(run: Path) -> Path:
    """The whole config that a training job reads."""
    return run / "launch.yaml"


def flat(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`key=value` for every value below `values`."""
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
            found.append(f"{prefix}{key}={text.removesuffix('...' + chr(10)).strip()}")
    return found


def product(command: str, run: Path) -> Path:
    """What a finished run has in its folder."""
    names = {"train": "weights.safetensors", "evaluate": "run.json", "pack": PACKED, "score": "scores.json"}
    return run / names[command]
