from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from launch import snapshot


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a package and an uncommitted change."""
    root = tmp_path / "checkout"
    (root / "mamp").mkdir(parents=True)
    (root / "mamp" / "__init__.py").write_text("value = 1\n")
    git = ["git", "-C", str(root), "-c", "user.name=A", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    (root / "mamp" / "__init__.py").write_text("value = 2\n")
    (root / "mamp" / "new.py").write_text("# not added yet\n")
    monkeypatch.setattr(snapshot, "PACKAGE", root / "mamp")
    return root / "mamp"


def test_the_code_is_kept_with_its_commit_and_diff(package: Path, tmp_path: Path):
    code = snapshot.keep(tmp_path / "launch")
    told = json.loads((code / "code.json").read_text())
    assert len(told["commit"]) == 40
    assert "+value = 2" in told["diff"]
    assert (code / "mamp" / "__init__.py").read_text() == "value = 2\n"
    assert (code / "mamp" / "new.py").exists()


def test_later_edits_change_nothing_and_make_a_copy_of_their_own(package: Path, tmp_path: Path):
    first = snapshot.keep(tmp_path / "launch")
    assert snapshot.keep(tmp_path / "launch") == first
    (package / "__init__.py").write_text("value = 3\n")
    assert snapshot.keep(tmp_path / "launch") != first
    assert (first / "mamp" / "__init__.py").read_text() == "value = 2\n"


def test_code_outside_of_a_checkout_has_no_commit(package: Path, tmp_path: Path):
    subprocess.run(["rm", "-rf", str(package.parent / ".git")], check=True)
    told = json.loads((snapshot.keep(tmp_path / "launch") / "code.json").read_text())
    assert (told["commit"], told["diff"]) == (None, None)


def test_a_run_from_kept_code_tells_the_commit_it_was_copied_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mamp.core import provenance

    (tmp_path / "mamp").mkdir()
    (tmp_path / "code.json").write_text('{"commit": "abc", "diff": "some"}')
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "mamp")
    code = provenance.describe_code(torch.device("cpu"))
    assert (code["commit"], code["diff"]) == ("abc", "some")
