"""What is read of runs."""

from __future__ import annotations

import json

import pytest

from mamp.core.errors import UserError
from mamp.report.runs import Evaluation, ObjectFrames, read_runs, worst_frames


def test_an_evaluation_is_read_with_means_objects_and_frames(world):
    (run,), trainings = read_runs([world.drifting])
    scores = json.loads((world.drifting / "scores.json").read_text())
    assert trainings == [] and run.name == "drifting"
    assert run.means["J-Mean"] == scores["J-Mean"]
    row = scores["sequences"]["ant"]["2"]
    assert run.rows["ant", "2"]["J&F-Mean"] == (row["J-Mean"] + row["F-Mean"]) / 2
    assert run.frames["ant", "2"].frames == tuple(f"{t:05d}" for t in range(1, 23))
    assert sum(run.frames["ant", "2"].j) / 22 == pytest.approx(row["J-Mean"], abs=1e-12)


def test_settings_tell_what_made_the_masks(world):
    (run,), _ = read_runs([world.drifting])
    settings = dict(run.settings())
    assert settings["data"] == "davis2017 val" and settings["preset"] == "tuned"
    assert settings["weights"] == "ab12cd34ef00"
    assert (
        settings["weights' commit"] == "c0ffeec0ffee, changed since" and settings["commit"] == "deadbeefdead"
    )
    assert settings["frames/s"] == "6.00" and settings["memory"] == "512 MB"
    assert settings["frames"] == "48" and settings["size"] == "96x64"
    assert settings["device"] == "cpu" and settings["threads"] and settings["torch"]


def test_the_worst_frame_of_each_object_comes_worst_first(tmp_path):
    def scores(*values: float) -> ObjectFrames:
        return ObjectFrames(tuple("abc"[: len(values)]), values, values)

    frames = {("s", "1"): scores(0.9, 0.5, 0.6), ("s", "2"): scores(0.7, 0.2), ("t", "1"): scores()}
    run = Evaluation("run", tmp_path, {}, frames=frames)
    assert [entry[:3] for entry in worst_frames(run, count=5)] == [
        (0.2, ("s", "2"), "b"),
        (0.5, ("s", "1"), "b"),
    ]
    assert len(worst_frames(run, count=1)) == 1


def test_a_training_run_is_read_up_to_the_line_that_is_being_written(world):
    _, (run,) = read_runs([world.train])
    steps, losses = run.curves["loss"]
    assert steps == list(range(1, 41)) and losses[3] == 0.25
    assert set(run.curves) == {
        "loss",
        "J&F on the labelled set",
        "loss on held-aside video",
        "learning rate",
        "clips per second",
    }
    assert run.curves["J&F on the labelled set"] == ([10, 20, 30, 40], [0.6, 0.7, 0.8, 0.9])
    captions = [caption for caption, _ in run.previews]
    assert captions == ["step 20", "step 40", "masks carried at step 20", "masks carried at step 40"]
    assert dict(run.settings) == {"steps": "40", "commit": "deadbeefdead", "precision": "float32"}


def write_sequences(folder):
    folder.mkdir()
    figures = [(0.5, 0.7, 0.4, None), (0.8, 0.9, 0.3, 0.2)]
    lines = [
        {"step": 10 * n, "val_sequences": {"ant": {"j": a, "f": b}, "bee": {"j": c, "f": d}, "odd": 3}}
        for n, (a, b, c, d) in enumerate(figures, start=1)
    ]
    lines += [{"step": 30, "val_sequences": [1]}, {"step": 31, "loss": 1.0}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_sequences_of_the_labelled_set_have_curves_the_worst_at_the_end_first(tmp_path):
    _, (run,) = read_runs([write_sequences(tmp_path / "run")])
    assert list(run.sequences) == ["bee", "ant"]
    assert run.sequences["ant"] == {"J": ([10, 20], [0.5, 0.8]), "F": ([10, 20], [0.7, 0.9])}
    assert run.sequences["bee"] == {"J": ([10, 20], [0.4, 0.3]), "F": ([20], [0.2])}


def test_the_page_draws_them(tmp_path):
    page = pytest.importorskip("mamp.report.page")
    page.write_report([write_sequences(tmp_path / "run")], tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert "J and F of each sequence of the labelled set" in text
    assert text.count("J and F over steps</title>") == 2 and "bee: J and F" in text


def test_runs_of_the_same_name_are_told_apart(world, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "out").mkdir(parents=True)
        (tmp_path / name / "out" / "run.json").write_text("{}")
    runs, _ = read_runs([tmp_path / "a" / "out", tmp_path / "b" / "out"])
    assert [run.name for run in runs] == ["a/out", "b/out"]


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(UserError, match="neither run.json nor log.jsonl"):
        read_runs([tmp_path])


@pytest.mark.parametrize(
    ("file", "text"), [("run.json", "[]"), ("scores.json", '{"sequences": {"a": {"1": 3}}}')]
)
def test_damaged_files_are_named(tmp_path, file, text):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError, match=str(tmp_path)):
        read_runs([tmp_path])
