"""Where this machine keeps what was fetched for later use."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """$MAMP_CACHE, or `mamp` in the system's folder for such files ($XDG_CACHE_HOME, ~/.cache)."""
    if own := os.environ.get("MAMP_CACHE"):
        return Path(own).expanduser()
    if usual := os.environ.get("XDG_CACHE_HOME"):
        return Path(usual).expanduser() / "mamp"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "mamp" / "Cache"
    home = Path.home()
    return home / "Library" / "Caches" / "mamp" if sys.platform == "darwin" else home / ".cache" / "mamp"


def cached_weights(name: str) -> Path:
    """Where published weights of this name lie, once they were fetched."""
    return cache_folder() / "weights" / f"{name}.safetensors"
