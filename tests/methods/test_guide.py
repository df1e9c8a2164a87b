"""The method that the guide builds (docs/guides/add-a-method.md) works as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scenes import write_video

FILES = ("config.py", "propagator.py", "__init__.py")


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with the guide's folder and its line in the registry."""
    pytest.importorskip("cv2", reason="needs OpenCV, of the extra opencv")
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*resnet18*")
    shutil.copytree(repository / "mamp", root / "mamp", ignore=ignored)
    guide = (repository / "docs" / "guides" / "add-a-method.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", guide, flags=re.S | re.M)
    folder = root / "mamp" / "methods" / "drift"
    folder.mkdir()
    for name, program in zip(FILES, programs, strict=True):
        (folder / name).write_text(program)
    registry = root / "mamp" / "methods" / "__init__.py"
    registry.write_text(registry.read_text().replace('    "flow",\n', '    "flow",\n    "drift",\n', 1))
    return root


def run(copy: Path, *words: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)


def test_its_settings_are_listed(copy: Path):
    printed = run(copy, "mamp", "config", "drift").stdout
    assert "method.propagation.labels = soft" in printed


def test_it_segments_a_video(copy: Path, tmp_path: Path):
    frames = write_video(tmp_path, frames=3)
    mask = tmp_path / "Annotations" / "clip" / "00000.png"
    for labels in ("soft", "hard"):
        out = tmp_path / labels
        words = [
            "segment",
            frames,
            "--mask",
            mask,
            "--out",
            out,
            "method=drift",
            f"method.propagation.labels={labels}",
        ]
        made = run(copy, "mamp", *words, "--device", "cpu")
        assert made.returncode == 0, made.stderr
        assert (out / "00002.png").is_file()


def test_it_keeps_the_contract(copy: Path, repository: Path):
    shutil.copytree(
        repository / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__", "compat")
    )
    shutil.copytree(repository / "configs", copy / "configs")
    shutil.copy(repository / "setup.cfg", copy)
    ran = run(copy, "pytest", "-q", "-n", "0", "-k", "drift", "tests/methods/test_contract.py")
    assert ran.returncode == 0, ran.stdout[-3000:]
