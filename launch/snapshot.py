"""The code of a run, kept beside it: later edits change neither the job nor its next starts."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from mamp import __version__
from mamp.core.errors import UserError
from mamp.core.files import write_json
from mamp.core.provenance import PACKAGE, checkout


def keep(folder: Path) -> Path:
    """Write FOLDER/code-DIGEST with the package, and code.json with its commit and diff, or null.

    The same code is kept once. Raises UserError where it cannot be written.
    """
    files = sorted(p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    commit, diff = checkout(PACKAGE)
    digest = hashlib.sha256(str(commit).encode())
    for file in files:
        digest.update(f"{file.relative_to(PACKAGE)}\0".encode() + file.read_bytes())
    code = folder / f"code-{digest.hexdigest()[:12]}"
    if code.exists():
        return code
    partial = folder / f".{code.name}.{os.getpid()}.partial"
    try:
        for file in files:
            target = partial / PACKAGE.name / file.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        write_json(partial / "code.json", {"mamp": __version__, "commit": commit, "diff": diff})
        partial.rename(code)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); give another folder with --run"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return code
