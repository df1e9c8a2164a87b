"""Benchmarks run and write the figures that are asked of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_propagation_benchmark_writes_its_figures(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "propagation.py"
    result = subprocess.run(
        [sys.executable, script, "--quick", "--json", file], capture_output=True, text=True, check=True
    )
    figures = json.loads(file.read_text())
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
    assert "threads" in result.stdout and "published way" in result.stdout
    shipped = figures["shipped"]["96x54"]
    for kind in ("seconds", "cpu_seconds", "peak_bytes", "over_exact"):
        assert shipped[kind].keys() == {"tuned", "fast", "exact", "published"}
        assert min(shipped[kind].values()) > 0


def test_the_stream_benchmark_tells_of_flat_memory(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "stream.py"
    subprocess.run(
        [sys.executable, script, "--quick", "--memory", "budget", "--json", file],
        capture_output=True,
        check=True,
    )
    figures = json.loads(file.read_text())
    assert figures["frames"] == 270 and figures["last_over_first"] < 1.1
    assert figures["at"][-1]["memory_frames"] <= 2e5


def test_the_bank_benchmark_tells_of_a_budget_that_is_kept(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "bank.py"
    subprocess.run([sys.executable, script, "--quick", "--json", file], capture_output=True, check=True)
    figures = json.loads(file.read_text())
    assert len(figures["at"]) == 10 and figures["memory_ratio"] < 1.1
    assert 0.9 * figures["budget"] < figures["most_cells"] <= figures["budget"]
    assert figures["usage"]["evicted"] > figures["budget"]


def test_the_augmentation_benchmark_writes_its_figures(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "augmentation.py"
    result = subprocess.run(
        [sys.executable, script, "--quick", "--eager", "--json", file],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(file.read_text())
    assert {"nothing", "crop", "flip", "Lab", "published recipe", "crop, flip, Lab"} <= figures[
        "eager"
    ].keys()
    assert all(seconds > 0 for seconds in figures["eager"].values()) and figures["compiled"] == {}
    assert "threads" in result.stdout and "ms a clip" in result.stdout


def test_the_stm_benchmark_writes_its_figures(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "stm.py"
    subprocess.run([sys.executable, script, "--quick", "--json", file], check=True, capture_output=True)
    figures = json.loads(file.read_text())
    assert {"seconds a frame", "frame over floor", "seconds a correction loop"} <= figures.keys()
    assert figures["late over early memory"] <= 1.01


def test_the_table_of_methods_has_a_row_for_each(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "methods.py"
    words = [sys.executable, script, "--quick", "--only", "mamp", "probe, ResNet-18", "--json", file]
    subprocess.run(words, check=True, capture_output=True)
    rows = json.loads(file.read_text())["rows"]
    assert rows.keys() == {"mamp", "probe, ResNet-18"}
    assert all(min(row[key] for key in ("parameters", "seconds", "peak_mb")) > 0 for row in rows.values())


def test_the_probe_benchmark_finds_the_same_label_maps_as_the_published_way(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "probe.py"
    words = [sys.executable, script, "--quick", "--only", "s8", "--json", file]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    figures = json.loads(file.read_text())["s8"]
    assert figures["different_pixels"] == 0 and figures["pixels"] == 5 * 96 * 128
    assert {"seconds", "cpu_seconds", "peak_mb"} <= figures["ours"].keys() == figures["published way"].keys()
    assert "pixels differ" in result.stdout


@pytest.mark.parametrize("own", [False, True])
def test_the_training_benchmark_writes_its_figures(repository: Path, tmp_path: Path, write_clip, own: bool):
    file = tmp_path / "figures.json"
    command = [
        sys.executable,
        repository / "scripts" / "benchmarks" / "training.py",
        "--quick",
        "--json",
        file,
    ]
    if own:  # videos of unequal length
        for name, frames in (("ant", 7), ("bee", 16)):
            write_clip(tmp_path / "own", name, seed=1, frames=frames, size=(40, 56))
        command += ["--source", tmp_path / "own"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(file.read_text())
    assert figures["step_over_compute"].keys() == {"frames", "packed"}
    assert figures["packed_over_jpeg"] > 0 and min(figures["step_over_compute"].values()) > 0
    assert {"JPEG, plain", "JPEG, draft", "packed 1, by its index", "packed 12, PyAV"} <= figures[
        "readers"
    ].keys()
    assert figures["loaders"]["packed 4"].keys() == {"0", "1"}
    assert "step over compute: frames " in result.stdout


def test_the_loader_soak_tells_of_flat_memory(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "soak.py"
    subprocess.run(
        [sys.executable, script, "--soak", "40", "--workers", "1", "--json", file],
        capture_output=True,
        check=True,
    )
    figures = json.loads(file.read_text())
    assert figures.keys() == {"frames", "packed", "video files"}
    for kind in figures.values():
        assert [mark["step"] for mark in kind["at"]] == [10, 20, 30, 40] and kind["last_over_first"] < 1.1


def test_the_apps_benchmark_tells_how_soon_one_can_draw_and_see_the_first_mask(
    repository: Path, tmp_path: Path
):
    pytest.importorskip("uvicorn", reason="needs uvicorn, of the extra app")
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "app.py"
    subprocess.run([sys.executable, script, "--quick", "--json", file], check=True, capture_output=True)
    figures = json.loads(file.read_text())
    assert figures["first_frame_seconds"] > 0
    assert figures["first_mask_over_step"] == figures["first_mask_seconds"] / figures["step_seconds"]


def test_the_benchmark_of_corrections_tells_what_each_is_worth(
    repository: Path, shared: Path, tmp_path: Path
):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "correction.py"
    quick = ["method.propagation.short_side=null", "method.propagation.radius=4"]
    words = [
        sys.executable,
        script,
        shared / "data/DAVIS2016",
        "--sequences",
        "surf",
        "--frames",
        "5",
        "--json",
        file,
    ]
    subprocess.run([*words, *quick], check=True, capture_output=True)
    figures = json.loads(file.read_text())["sequences"]["surf"]
    assert figures["J&F"].keys() == {"unsure", "even"} and len(set(figures["chosen"])) == 3
    for row in figures["J&F"].values():
        assert len(row) == 4 and row[0] < row[3] <= 1
    assert figures["mid"]["stepped"] == 3 and figures["mid"]["frames"] == 5


def test_the_ssm_benchmark_writes_its_figures(repository: Path, tmp_path: Path):
    file = tmp_path / "figures.json"
    script = repository / "scripts" / "benchmarks" / "ssm.py"
    result = subprocess.run(
        [sys.executable, script, "--quick", "--objects", "3", "--cpu-time", "--json", file],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(file.read_text())
    assert {"seconds a frame, one object", "3 objects over one"} <= figures.keys()
    assert all(value > 0 for value in figures.values())
    assert "crops 64x64" in result.stdout
