"""A new method is its folder and its line in the registry; everything else follows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from scenes import write_video

FOLDER = {
    "__init__.py": '''
"""The last mask again: a method as small as the contract allows."""

from mamp.methods.base import Method, later
from mamp.methods.still.config import StillConfig

METHOD = Method(
    name="still",
    description="the last mask again",
    config=StillConfig,
    build_propagator=later("mamp.methods.still.propagator:StillPropagator"),
    needs_weights=False,
)
''',
    "config.py": '''
"""Settings of the method `still`."""

from typing import Literal

from pydantic import Field

from mamp.core.section import MethodConfig


class StillConfig(MethodConfig):
    """The last mask again."""

    name: Literal["still"] = Field("still", description="which method")
    fade: float = Field(0.0, ge=0, lt=0.5, description="how much of each object is lost with each frame")
''',
    "propagator.py": '''
"""What happens per frame: nothing."""

import torch

from mamp.methods.base import Propagator
from mamp.propagation.labels import append_empty, drop, impose, with_background


class StillPropagator(Propagator):
    """Repeats the masks. State: the pending frame's probabilities."""

    def start(self, frame, masks):
        self.pending = with_background(self._here(masks))

    def step(self, frame):
        return self._pending()

    def correct(self, masks, objects):
        self.pending = impose(self._pending(), self._here(masks), [k + 1 for k in objects])

    def add(self, masks):
        known = len(self._pending()) - 1
        self.pending = append_empty(self.pending, len(masks))
        self.correct(masks, list(range(known, known + len(masks))))

    def remove(self, objects):
        self.pending = drop(self._pending(), objects)

    @property
    def memory_bytes(self):
        return 0
''',
}


@pytest.fixture(scope="module")
def copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the folder and the line."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(repository / name, root)
    for name in ("mamp", "configs", "launch"):
        shutil.copytree(repository / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "mamp" / "methods" / "still"
    folder.mkdir()
    for name, text in FOLDER.items():
        (folder / name).write_text(text.lstrip())
    registry = root / "mamp" / "methods" / "__init__.py"
    registry.write_text(registry.read_text().replace('    "mamp",\n', '    "mamp",\n    "still",\n', 1))
    return root


def run(copy: Path, *words: object, module: str = "mamp") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)


def test_the_command_line_lists_it_with_its_settings(copy: Path):
    assert "| `still` | the last mask again | nothing | none |" in run(copy, "config").stdout
    assert "method.fade = 0.0" in run(copy, "config", "still").stdout
    assert "still" in run(copy, "app", "--help").stdout


def test_it_segments_a_video_and_is_evaluated(copy: Path, tmp_path: Path):
    frames = write_video(tmp_path, frames=3)
    mask = tmp_path / "Annotations" / "clip" / "00000.png"
    place = ["--device", "cpu", "--quiet", "method=still"]
    made = run(copy, "segment", frames, "--mask", mask, "--out", tmp_path / "masks", *place)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "masks" / "00002.png").is_file()
    scored = run(copy, "evaluate", "folder", tmp_path, "--out", tmp_path / "scores", *place)
    assert scored.returncode == 0, scored.stderr
    assert (tmp_path / "scores" / "scores.json").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", os.devnull], "method still is not trained; it needs no weights"),
        (["segment", "v", "--mask", "m", "--out", "o", "--weights", "w"], "method still needs no weights"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(copy: Path, words: list[str], sentence: str):
    refused = run(copy, *words, "method=still")
    assert refused.returncode == 2 and sentence in refused.stderr


def test_a_wheel_holds_it(copy: Path):
    code = "from setuptools.build_meta import build_wheel; build_wheel('built')"
    (copy / "built").mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)
    (wheel,) = (copy / "built").glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {f"mamp/methods/still/{name}" for name in FOLDER} <= held
