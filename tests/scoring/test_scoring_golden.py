"""The recorded figures, computed anew as a reader would: by tests/parity/run.py and
tests/golden/compare.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_recorded_figure_of_the_scoring_holds(repository: Path, tmp_path: Path) -> None:
    recorded = repository / "tests" / "golden" / "metrics_dev.npz"
    out = tmp_path / "out.npz"
    run = [sys.executable, "tests/parity/run.py", "metrics", str(recorded), str(out), "--seed", "dev"]
    subprocess.run(run, cwd=repository, check=True, capture_output=True)
    compare = [sys.executable, "tests/golden/compare.py", "metrics", str(recorded), str(out)]
    told = subprocess.run(compare, cwd=repository, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count(" ok\n") == 32
