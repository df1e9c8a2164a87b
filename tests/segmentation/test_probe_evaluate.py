"""The probe from the command line: the documents' own example, resumed, compared on the report's page."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from scenes import write_video

from mamp.cli import main

SMALL = ["method.propagation.radius=3", "method.propagation.context=2"]


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """A data set of two sequences, packed as DAVIS-2017."""
    for name in ("ant", "bee"):
        write_video(tmp_path / "plain", name=name, frames=5)
    root = tmp_path / "davis"
    for kind in ("JPEGImages", "Annotations"):
        shutil.copytree(tmp_path / "plain" / kind, root / kind / "480p")
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("ant\nbee\n")
    return root


@pytest.fixture
def example(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command in docs/probe.md for a user's own encoder, in a folder that has the file shown there."""
    text = (repository / "docs" / "probe.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "my_nets.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (command,) = re.findall(r"^mamp (evaluate .*my_nets.py:make.*)$", text, flags=re.MULTILINE)
    return shlex.split(command)


def run(words: list[str], davis: Path, *more: str) -> int:
    given = [str(davis) if word == "DAVIS" else word for word in words]
    return main([*given, "--device", "cpu", "--quiet", *SMALL, *more])


def test_the_documents_own_encoder_is_scored(example, davis, capsys):
    assert run(example, davis) == 0
    out = davis.parent / "runs" / "mine"
    assert {path.name for path in (out / "masks").iterdir()} == {"ant", "bee"}
    record = json.loads((out / "run.json").read_text())
    assert record["name"] == "probe my_nets.py:make crw context=2 radius=3"
    assert record["peak_memory_mb"] > 0 and record["frames_per_second"] > 0
    assert record["config"]["method"]["preset"] == "crw"
    assert 0 < json.loads((out / "scores.json").read_text())["J&F-Mean"] <= 1
    assert "J&F" in capsys.readouterr().out


def test_an_interrupted_evaluation_goes_on_and_other_settings_are_kept_apart(example, davis, capsys):
    assert run(example, davis) == 0
    out = davis.parent / "runs" / "mine"
    kept = {path: path.stat().st_mtime_ns for path in (out / "masks" / "ant").iterdir()}
    (out / "sequences" / "bee.json").unlink()
    assert run(example, davis) == 0
    assert kept == {path: path.stat().st_mtime_ns for path in (out / "masks" / "ant").iterdir()}
    assert run(example, davis, "method.propagation.top_k=3") == 2
    assert "choose another --out" in capsys.readouterr().err


def test_the_report_compares_presets_by_name(example, davis):
    assert run(example, davis) == 0
    assert (
        run(
            [word.replace("crw", "vfs").replace("mine", "other") for word in example],
            davis,
            "--baseline",
            "untrained",
        )
        == 0
    )
    assert main(["report", "runs/mine", "runs/other", "--out", "page.html", "--quiet"]) == 0
    page = Path("page.html").read_text()
    assert "probe my_nets.py:make crw context=2 radius=3" in page
    assert "probe my_nets.py:make vfs context=2 radius=3 untrained" in page


def test_a_wrong_encoder_ends_with_status_two_and_the_forms(davis, capsys):
    words = ["evaluate", "davis2017", "DAVIS", "--out", "out", "method=probe", "method.encoder=resnet18"]
    assert run(words, davis) == 2
    assert "use torchvision:NAME, timm:NAME" in capsys.readouterr().err
