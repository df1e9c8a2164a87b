"""This mamp reads, continues and finishes what an earlier one wrote; data/README.md says how that was
made.
"""

from __future__ import annotations

import contextlib
import io
import json
import lzma
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from training_results import machine, results

import mamp
from mamp.app.project import Project
from mamp.app.studio import Studio
from mamp.cli import main

DATA = Path(__file__).parent / "data"
WEIGHTS = "weights/small.safetensors"
# the settings it was made with; those below the first line did not exist then, and this is what they were
PROPAGATION = ["method.propagation.radius=1", "method.propagation.top_k=4096"]
PROPAGATION += [f"method.propagation.{old}" for old in ("search=exact", "distilled=false", "edge_fit=exact")]
PROPAGATION += ["method.propagation.sharpen=1", "method.propagation.background=1"]
MADE_BY = "f5461132b3c38f72953344d837c13b5de5e16936"  # the commit


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of the data is the working directory; one thread, as when it was made."""
    shutil.copytree(DATA, tmp_path / "data")
    for packed in (tmp_path / "data").rglob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    monkeypatch.chdir(tmp_path / "data")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def command(*words: str) -> str:
    """What a command that succeeds prints on standard output."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        status = main(list(words))
    assert status == 0, error.getvalue()
    return out.getvalue()


def train(recipe: str, run: str, *overrides: str) -> None:
    command("train", recipe, "--run", run, "--device", "cpu", "--quiet", *overrides)


def evaluate(out: str) -> str:
    options = ["--weights", WEIGHTS, "--out", out, "--device", "cpu", "--quiet", *PROPAGATION]
    return command("evaluate", "folder", "clips", *options)


def logged(run: str, *, until: int) -> list[str]:
    """The lines of the log up to step `until`, with their times: a step that is done again has others."""
    lines = Path(run, "log.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["step"] <= until]


def masks(folder: Path | str) -> dict[str, np.ndarray]:
    return {
        path.relative_to(folder).as_posix(): np.asarray(Image.open(path))
        for path in sorted(Path(folder).rglob("*.png"))
    }


def assert_same_masks(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    assert {name: int((found[name] != expected[name]).sum()) for name in found} == dict.fromkeys(found, 0)


def files(folder: Path | str) -> dict[Path, tuple[bytes, int]]:
    """Content and time of every file: one that is written again differs."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".lock")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def assert_same_training(run: str, expected: dict[str, Any]) -> None:
    """Equal on the machine of the recorded run; close on others, whose sums round differently."""
    found = results(Path(run))
    if machine() == expected["machine"]:
        assert found == {key: expected[key] for key in found}
        return
    for line, wanted in zip(found["log"], expected["log"], strict=True):
        assert line == pytest.approx(wanted, rel=1e-4)
    assert found["tensors"].keys() == expected["tensors"].keys()
    for name, value in found["tensors"].items():
        assert value == pytest.approx(expected["tensors"][name], rel=1e-3, abs=1e-3), name


# ---------------------------------------------------------------- training runs


saved_steps = pytest.mark.parametrize(("run", "saved"), [("mamp_run/run", 4), ("stm_run/run", 5)])


@saved_steps
def test_an_interrupted_run_goes_on_to_the_recorded_end(run, saved):
    recipe = Path(run).with_name("recipe.yaml")
    train(str(recipe), run)
    assert_same_training(run, json.loads(recipe.with_name("expected.json").read_text()))


@saved_steps
def test_steps_before_the_checkpoint_are_not_done_again(run, saved):
    # an interrupted validation of the saved step is made up, and its line is added
    before = [line for line in logged(run, until=saved) if "clips_per_s" in line]
    train(str(Path(run).with_name("recipe.yaml")), run)
    assert [line for line in logged(run, until=saved) if "clips_per_s" in line] == before
    code = json.loads(Path(run, "code.json").read_text())
    assert (code["commit"], code["step"]) == (MADE_BY, 0)
    assert [resumed["step"] for resumed in code["resumed"]] == [saved]


def test_a_run_that_was_continued_to_its_end_is_finished():
    train("mamp_run/recipe.yaml", "mamp_run/run")
    before = files("mamp_run/run")
    train("mamp_run/recipe.yaml", "mamp_run/run")
    assert files("mamp_run/run") == before


def test_an_interrupted_run_with_another_recipe_is_refused(capsys):
    words = ["train", "mamp_run/recipe.yaml", "--run", "mamp_run/run", "--device", "cpu", "train.lr=0.1"]
    assert main(words) == 2
    assert "train.lr=0.001" in capsys.readouterr().err


def test_the_video_of_an_interrupted_run_may_have_moved():
    shutil.move("clips", "elsewhere")
    before = logged("mamp_run/run", until=4)
    train("mamp_run/recipe.yaml", "mamp_run/run", "data.root=elsewhere")
    assert logged("mamp_run/run", until=4) == before


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("name", ["weights", "mamp_run", "stm_run"])
def test_weights_and_checkpoints_hold_what_was_recorded(name, tmp_path):
    recorded = json.loads(Path("weights/expected.json").read_text())[name]
    for place in (recorded["path"], str(tmp_path / "copy.safetensors")):
        told = command("weights", "info", place)
        assert re.search(r"^sha256 +(\w+)$", told, re.MULTILINE)[1] == recorded["sha256"]
        assert re.search(r"^method +(\w+)$", told, re.MULTILINE)[1] == recorded["method"]
        if place == recorded["path"]:
            command("weights", "copy", place, str(tmp_path / "copy.safetensors"))


def test_weights_segment_as_they_did():
    made = mamp.segment_video(
        "clips/JPEGImages/ant",
        "clips/Annotations/ant/00000.png",
        weights=WEIGHTS,
        device="cpu",
        overrides=PROPAGATION,
    )
    found = {f"{name}.png": labels for name, labels in made}
    assert_same_masks(found, masks("evaluation_finished/evaluation/masks/ant"))


@pytest.mark.parametrize("name", ["mamp_run", "stm_run"])
def test_a_checkpoint_of_a_run_that_is_not_finished_segments(name):
    recorded = json.loads(Path("weights/expected.json").read_text())[name]
    segmenter = mamp.load(recorded["path"], device="cpu").segmenter()
    first = np.asarray(Image.open("clips/Annotations/ant/00000.png"))
    frames = [np.asarray(Image.open(f"clips/JPEGImages/ant/0000{t}.png")) for t in (0, 1)]
    assert np.array_equal(segmenter.step(frames[0], first), first)
    labels = segmenter.step(frames[1])
    assert labels.shape == first.shape and set(np.unique(labels)) <= {0, 1, 2}


def test_a_new_run_begins_with_weights_and_packed_clips():
    words = ["data.root=packed/clips", f"train.init={WEIGHTS}", "train.steps=2", "validation.share=0"]
    train("mamp_run/recipe.yaml", "new", *words)
    recorded = json.loads(Path("packed/expected.json").read_text())
    found = [json.loads(line)["loss"] for line in Path("new/log.jsonl").read_text().splitlines()]
    assert found == pytest.approx(
        recorded["losses"], rel=0.01
    )  # other builds of FFmpeg round colours otherwise
    init = json.loads(safetensors_metadata(Path("new/weights.safetensors"))["provenance"])["init"]
    assert init["provenance"]["commit"] == MADE_BY


def safetensors_metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        return opened.metadata()


# ---------------------------------------------------------------- evaluations


def test_an_interrupted_evaluation_goes_on_to_the_recorded_end():
    found, expected = Path("evaluation_interrupted/evaluation"), Path("evaluation_finished/evaluation")
    evaluate(str(found))
    assert_same_masks(masks(found / "masks"), masks(expected / "masks"))
    for name in ("scores.json", "frames.json"):
        scores, recorded = (json.loads((folder / name).read_text()) for folder in (found, expected))
        assert flat(scores) == pytest.approx(flat(recorded))


def test_a_finished_sequence_is_not_done_again():
    finished = files("evaluation_interrupted/evaluation/masks/ant")
    told = evaluate("evaluation_interrupted/evaluation")
    assert files("evaluation_interrupted/evaluation/masks/ant") == finished
    assert MADE_BY[:12] in told, "the masks are of two versions, which is said beside the scores"


def test_a_finished_evaluation_is_left_as_it_is():
    before = files("evaluation_finished/evaluation")
    evaluate("evaluation_finished/evaluation")
    after = files("evaluation_finished/evaluation")
    assert {path: content for path, (content, _) in after.items()} == {
        path: content for path, (content, _) in before.items()
    }
    written = {path.name for path in after if after[path] != before[path]}
    assert written <= {"scores.json", "scores.csv", "frames.json"}


def test_a_finished_evaluation_is_scored_and_reported():
    folder = "evaluation_finished/evaluation"
    recorded = json.loads(Path(folder, "scores.json").read_text())
    options = ["--protocol", "folder", "--processes", "1", "--json", "again.json"]
    command("score", "clips", f"{folder}/masks", *options)
    assert json.loads(Path("again.json").read_text())["J&F-Mean"] == pytest.approx(recorded["J&F-Mean"])
    pytest.importorskip("jinja2")
    command("report", folder, "mamp_run/run", "--out", "page.html", "--quiet")
    assert f"{100 * recorded['J&F-Mean']:.1f}" in Path("page.html").read_text()


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping."""
    if not isinstance(value, (dict, list)):
        return {name: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: leaf for inner, part in pairs for key, leaf in flat(part, f"{name}/{inner}").items()}


# ---------------------------------------------------------------- the page's projects


@pytest.fixture
def studio() -> Iterator[Studio]:
    model = mamp.load(WEIGHTS, device="cpu", overrides=PROPAGATION)
    studio = Studio(model, out=Path("project/work"))
    studio.open(Path("clips/JPEGImages/ant"))
    yield studio
    studio.close()


def project_of(studio: Studio) -> Project:
    assert studio.project is not None
    return studio.project


def test_a_project_opens_with_all_that_was_saved(studio):
    project = project_of(studio)
    assert [(o.id, o.name) for o in project.objects] == [(1, "left"), (2, "the other")]
    assert [frame.kind for frame in project.frames()] == ["drawn", "forward", "drawn", "forward", "", ""]
    assert [frame.locked for frame in project.frames()] == [False, True, False, False, False, False]
    assert [frame.stale for frame in project.frames()] == [False, False, False, True, False, False]


def test_opening_a_project_changes_no_mask():
    before = files("project/work/masks"), files("project/work/drawn")
    studio = Studio(mamp.load(WEIGHTS, device="cpu"), out=Path("project/work"))
    studio.open(Path("clips/JPEGImages/ant"))
    studio.close()
    assert (files("project/work/masks"), files("project/work/drawn")) == before


def propagate(studio: Studio, index: int) -> None:
    assert studio.engine is not None
    studio.engine.start(index, "forward")
    studio.engine.wait(60)
    assert not studio.engine.status.running and not studio.engine.status.error


def test_a_project_goes_on_to_the_recorded_masks(studio):
    kept = {path: state for path, state in files("project/work/masks").items() if path.stem < "00003"}
    propagate(studio, 3)
    assert_same_masks(masks("project/work/masks"), masks("project/expected"))
    assert kept.items() <= files("project/work/masks").items()
    frames = project_of(studio).frames()
    assert not any(frame.stale for frame in frames)
    assert [frame.kind for frame in frames][3:] == ["forward"] * 3


def test_the_drawn_masks_of_a_project_guide_the_command():
    options = ["--mask", "project/work/drawn", "--out", "made", "--weights", WEIGHTS, "--device", "cpu"]
    command("segment", "clips/JPEGImages/ant", *options, *PROPAGATION)
    assert_same_masks(masks("made"), masks("project/expected"))


# ---------------------------------------------------------------- packed clips


def test_packed_clips_are_sound_and_not_packed_again():
    before = {path: state for path, state in files("packed/clips").items() if path.suffix == ".mp4"}
    command("data", "check", "packed/clips", "--deep", "--processes", "1")
    options = ["--size", "32", "--processes", "1", "--quiet"]
    command("data", "pack", "clips/JPEGImages", "packed/clips", *options)
    assert before.items() <= files("packed/clips").items()


def test_interrupted_packing_goes_on():
    clips = files("packing_interrupted/clips")
    before = {path: state for path, state in clips.items() if path.suffix == ".mp4"}
    options = ["--size", "32", "--processes", "1", "--quiet"]
    command("data", "pack", "clips/JPEGImages", "packing_interrupted/clips", *options)
    assert before.items() <= files("packing_interrupted/clips").items()
    index = json.loads(Path("packing_interrupted/clips/pack.json").read_text())
    recorded = json.loads(Path("packed/clips/pack.json").read_text())
    assert index["clips"].keys() == recorded["clips"].keys()
    assert index["clips"]["ant"] == recorded["clips"]["ant"]
    assert not Path("packing_interrupted/clips/.unfinished").exists()
