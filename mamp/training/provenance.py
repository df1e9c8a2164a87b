"""What made a run: commit, uncommitted changes, versions, hardware, the weights it began with."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mamp
from mamp import weights
from mamp.config import Config
from mamp.data.census import Census
from mamp.errors import UserError
from mamp.segmentation.model import checksum

PACKAGES = ("torch", "torchvision", "kornia", "decord", "av", "numpy", "pillow")


def describe_code(device: torch.device) -> dict[str, Any]:
    """Commit and diff of the code that runs (null where nothing tells), versions, hardware."""
    commit, diff = _commit_and_diff()
    return {
        "mamp": mamp.__version__,
        "commit": commit,
        "diff": diff,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "hardware": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        },
    }


def provenance(
    config: Config, census: Census, code: Mapping[str, Any], init: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Plain values that go with checkpoints and weights; places on this machine are left out.

    init: of the weights that the network began with, as `begin_with` gives it.
    """
    values = config.model_dump(mode="json")
    recipe = {
        "data": {k: v for k, v in values["data"].items() if k not in ("root", "leave_out")},
        "train": {k: v for k, v in values["train"].items() if k != "init"},
    }
    return {
        "mamp": code["mamp"],
        "commit": code["commit"],
        "changed": bool(code["diff"]),
        "data": {
            "videos": len(census.counts),
            "frames": census.frames,
            "digest": census.digest,
            "left_out": census.left_out,
        },
        "recipe": recipe,
        **({"init": init} if init else {}),
    }


def begin_with(model: nn.Module, config: Config) -> dict[str, Any] | None:
    """Put the weights `train.init` into the network; what is told of them later: name, checksum, provenance.

    Raises UserError when there are no such weights, or they are of another method, width or form.
    """
    if config.train.init is None:
        return None
    found = weights.read(config.train.init)
    kept = found.method.get("name")
    if kept != config.method.name:
        raise UserError(
            f"train.init={config.train.init} holds weights of method {kept}, not {config.method.name}; give others"
        )
    weights.fill(model, found, remedy="set train.init to weights that fit, or method.encoder as they have it")
    return {
        "weights": found.path.name,
        "sha256": checksum(found.state),
        "provenance": dict(found.provenance),
    }


def _git(*command: str) -> str | None:
    """The answer of git about the checkout that holds this very file; None where that is no checkout."""
    package = Path(mamp.__file__).parent
    try:
        for arguments in (("ls-files", "--error-unmatch", "__init__.py"), command):
            answer = subprocess.run(
                ["git", "-C", str(package), *arguments],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _commit_and_diff() -> tuple[str | None, str | None]:
    """Of the checkout that holds the package, or as noted in code.json beside a copy of it that a launch kept."""
    try:
        kept = json.loads(Path(mamp.__file__).parent.with_name("code.json").read_text(encoding="utf-8"))
        return kept["commit"], kept["diff"]
    except (OSError, ValueError, KeyError, TypeError):
        commit = _git("rev-parse", "HEAD")
        return commit, _git("diff", "HEAD") if commit else None
