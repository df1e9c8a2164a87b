"""Which code runs, and where: commit, uncommitted changes, versions, hardware. torch only when asked for."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mamp import __version__

if TYPE_CHECKING:
    import torch

PACKAGE = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "torchvision", "kornia", "decord", "av", "numpy", "pillow")


def describe_code(device: torch.device) -> dict[str, Any]:
    """Commit and diff of the code that runs (null where it is not known), versions, hardware."""
    import torch

    commit, diff = _commit_and_diff()
    return {
        "mamp": __version__,
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


def code_in_brief(code: Mapping[str, Any]) -> dict[str, Any]:
    """What `describe_code` says, with `changed` (null where it is no checkout) instead of the diff."""
    changed = None if code["diff"] is None else bool(code["diff"])
    return {"mamp": code["mamp"], "commit": code["commit"], "changed": changed} | {
        key: code[key] for key in ("versions", "hardware")
    }


def checkout(package: Path) -> tuple[str | None, str | None]:
    """Return commit and diff of the checkout with the folder `package`; None without a checkout."""
    commit = _git(package, "rev-parse", "HEAD")
    return commit, _git(package, "diff", "HEAD") if commit else None


def _commit_and_diff() -> tuple[str | None, str | None]:
    """Of the package's checkout, or from code.json beside a copy of it that a launch kept."""
    try:
        kept = json.loads(PACKAGE.with_name("code.json").read_text(encoding="utf-8"))
        return kept["commit"], kept["diff"]
    except (OSError, ValueError, KeyError, TypeError):
        return checkout(PACKAGE)


def _git(package: Path, *command: str) -> str | None:
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
