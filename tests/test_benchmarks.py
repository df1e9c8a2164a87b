"""Benchmarks run and write the figures that are asked of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Measured = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def measured(repository: Path, tmp_path: Path) -> Measured:
    """measured(name, *words) -> the figures that scripts/benchmarks/NAME.py writes, and what it prints."""

    def run(name: str, *words: str | Path) -> tuple[dict[str, Any], str]:
        file = tmp_path / "figures.json"
        script = repository / "scripts" / "benchmarks" / f"{name}.py"
        command = [sys.executable, script, *words, "--json", file]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return json.loads(file.read_text()), printed

    return run


def test_the_propagation_benchmark_writes_its_figures(measured: Measured):
    figures, printed = measured("propagation", "--quick")
    assert figures["48"].keys() >= {
        "step_over_encoder",
        "published_over_step",
        "ten_objects_over_one",
        "seconds",
    }
    assert {"step, 1 object, coarse", "step, 1 object, RAFT (random weights)"} <= figures["48"][
        "seconds"
    ].keys()
    assert figures["peak_40_over_20"] < 1.05
    assert "threads" in printed and "published way" in printed
    shipped = figures["shipped"]["96x54"]
    for kind in ("seconds", "cpu_seconds", "peak_bytes", "over_exact"):
        assert shipped[kind].keys() == {"tuned", "fast", "exact", "published"}
        assert min(shipped[kind].values()) > 0


def test_the_bank_benchmark_tells_of_a_budget_that_is_kept(measured: Measured):
    figures, _ = measured("bank", "--quick")
    assert len(figures["at"]) == 10 and figures["memory_ratio"] < 1.1
    assert 0.9 * figures["budget"] < figures["most_cells"] <= figures["budget"]
    assert figures["usage"]["evicted"] > figures["budget"]


def test_the_augmentation_benchmark_writes_its_figures(measured: Measured):
    figures, printed = measured("augmentation", "--quick", "--eager")
    assert {"nothing", "crop", "flip", "Lab", "published recipe", "crop, flip, Lab"} <= figures[
        "eager"
    ].keys()
    assert all(seconds > 0 for seconds in figures["eager"].values()) and figures["compiled"] == {}
    assert "threads" in printed and "ms a clip" in printed


def test_the_table_of_methods_has_a_row_for_each(measured: Measured):
    rows = measured("methods", "--quick", "--only", "mamp", "probe, ResNet-18")[0]["rows"]
    assert rows.keys() == {"mamp", "probe, ResNet-18"}
    assert all(min(row[key] for key in ("parameters", "seconds", "peak_mb")) > 0 for row in rows.values())


def test_the_probe_benchmark_finds_the_same_label_maps_as_the_published_way(measured: Measured):
    whole, printed = measured("probe", "--quick", "--only", "s8")
    figures = whole["s8"]
    assert figures["different_pixels"] == 0 and figures["pixels"] == 5 * 96 * 128
    assert {"seconds", "cpu_seconds", "peak_mb"} <= figures["ours"].keys() == figures["published way"].keys()
    assert "pixels differ" in printed


@pytest.mark.parametrize("own", [False, True])
def test_the_training_benchmark_writes_its_figures(measured: Measured, tmp_path: Path, write_clip, own: bool):
    words: list[str | Path] = ["--quick"]
    if own:  # videos of unequal length
        for name, frames in (("ant", 7), ("bee", 16)):
            write_clip(tmp_path / "own", name, seed=1, frames=frames, size=(40, 56))
        words += ["--source", tmp_path / "own"]
    figures, printed = measured("training", *words)
    assert figures["step_over_compute"].keys() == {"frames", "packed"}
    assert figures["packed_over_jpeg"] > 0 and min(figures["step_over_compute"].values()) > 0
    assert {"JPEG, plain", "JPEG, draft", "packed 1, by its index", "packed 12, PyAV"} <= figures[
        "readers"
    ].keys()
    assert figures["loaders"]["packed 4"].keys() == {"0", "1"}
    assert "step over compute: frames " in printed


def test_the_loader_soak_tells_of_flat_memory(measured: Measured):
    figures, _ = measured("soak", "--soak", "40", "--workers", "1")
    assert figures.keys() == {"frames", "packed", "video files"}
    for kind in figures.values():
        assert [mark["step"] for mark in kind["at"]] == [10, 20, 30, 40] and kind["last_over_first"] < 1.1


def test_the_apps_benchmark_tells_how_soon_one_can_draw_and_see_the_first_mask(measured: Measured):
    pytest.importorskip("uvicorn", reason="needs uvicorn, of the extra app")
    figures, _ = measured("app", "--quick")
    assert figures["first_frame_seconds"] > 0
    assert figures["first_mask_over_step"] == figures["first_mask_seconds"] / figures["step_seconds"]


def test_the_benchmark_of_corrections_tells_what_each_is_worth(measured: Measured, shared: Path):
    quick = ["method.propagation.short_side=null", "method.propagation.radius=4"]
    words = [shared / "data/DAVIS2016", *quick, "--sequences", "surf", "--frames", "5"]
    figures = measured("correction", *words)[0]["sequences"]["surf"]
    assert figures["J&F"].keys() == {"unsure", "even"} and len(set(figures["chosen"])) == 3
    for row in figures["J&F"].values():
        assert len(row) == 4 and row[0] < row[3] <= 1
    assert figures["mid"]["stepped"] == 3 and figures["mid"]["frames"] == 5


def test_the_benchmark_of_suggestions_writes_a_row_for_each_object(measured: Measured, shared: Path):
    pytest.importorskip("scipy", reason="needs scipy, of the extra app")
    words = [shared / "data/DAVIS2016", "--sequences", "surf", "--clicks", "2"]
    figures, printed = measured("suggest", *words)
    assert [row["name"] for row in figures["rows"]] == ["surf/1"] and "largest loss" in printed
    assert len(figures["mean"]["clicks"]) == 2 and len(figures["mean"]["box"]) == 4


def test_the_benchmark_of_long_videos_measures_time_and_memory(measured: Measured):
    pytest.importorskip("uvicorn", reason="needs uvicorn, of the extra app")
    figures, _ = measured("page_scale", "--frames", "20", "--size", "48", "64")
    assert figures["frames"] == 20 and figures["MB at most"] >= figures["MB at first"] > 0


def test_the_benchmark_of_many_objects_writes_its_figures(measured: Measured):
    figures, printed = measured(
        "many", "--objects", "30", "--size", "96x54", "--frames", "2", "method.preset=fast"
    )
    assert len(figures["seconds"]) == 2 and figures["right"][0] == 1 and "peak" in printed


def test_large_data_is_measured_on_a_tree_that_it_writes(repository: Path, tmp_path: Path):
    script = repository / "scripts" / "benchmarks" / "scale.py"
    small = ["--videos", "12", "--frames", "11", "--sequences", "9", "--processes", "3"]
    words = [sys.executable, script, *small, "--folder", tmp_path, "--skip", "step,pack"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "| census: 12 videos, 132 frames |" in printed and "| check |" in printed
    assert "an epoch of 100,008" in printed and "| evaluate 9 sequences by 3 processes" in printed
    assert not list(tmp_path.iterdir())


def test_the_levers_benchmark_goes_on_and_compares(measured: Measured, tmp_path: Path):
    rng = np.random.default_rng(0)
    (tmp_path / "ImageSets" / "2016").mkdir(parents=True)
    (tmp_path / "ImageSets/2016/tune.txt").write_text("ant\nbee\n")
    for name in ("ant", "bee"):
        for folder in ("JPEGImages", "Annotations"):
            (tmp_path / folder / "480p" / name).mkdir(parents=True)
        for index in range(3):
            pixels, mask = rng.integers(0, 256, (32, 48, 3), np.uint8), np.zeros((32, 48), np.uint8)
            mask[8:20, 10:30] = 255
            Image.fromarray(pixels).save(tmp_path / f"JPEGImages/480p/{name}/{index:05d}.jpg")
            Image.fromarray(mask).save(tmp_path / f"Annotations/480p/{name}/{index:05d}.png")
    words = [tmp_path, "own", "--out", tmp_path / "lines.jsonl", "--only", "plain,edges"]
    figures, printed = measured("levers", *words)
    again, _ = measured("levers", *words)
    assert figures == again and figures.keys() == {"plain", "edges"}
    assert figures["plain"]["difference"] == 0 and figures["edges"]["sequences"] == 2
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 4 and "ant" in printed


def test_settings_of_the_readout_are_set_beside_the_default(measured: Measured, shared: Path, tmp_path: Path):
    out, cache = tmp_path / "rows.jsonl", tmp_path / "features"
    words = [shared / "data/DAVIS2016", "--splits", "tune", "--sequences", "surf", "--frames", "5"]
    words += ["--base", "preset=fast", "--settings", "background=0.7", "--out", out, "--cache", cache]
    figures, printed = measured("readout", *words)
    assert figures.keys() == {"", "background=0.7"} and figures[""].keys() == {"surf"}
    assert 0.5 < figures[""]["surf"] < 1 and "less the base: " in printed and "| surf | " in printed
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 2 and len(list(cache.iterdir())) == 1
    assert rows[0]["J&F"] == (rows[0]["J"] + rows[0]["F"]) / 2


def test_intervals_of_evaluations_and_of_their_difference(measured: Measured, tmp_path: Path):
    for name, gain in (("one", 0.0), ("two", 0.1)):
        objects = {k: {"1": {"J-Mean": 0.1 * k + gain, "F-Mean": 0.1 * k + gain}} for k in range(1, 9)}
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(json.dumps({"sequences": objects}))
    figures, printed = measured("intervals", tmp_path / "one", tmp_path / "two")
    first, second, less = printed.splitlines()
    assert "J&F 0.450 [0." in first and "J&F 0.550 [0." in second
    assert less == "  less the first: +0.1000 [+0.1000, +0.1000], better in 8 of 8"
    assert len(figures) == 2
