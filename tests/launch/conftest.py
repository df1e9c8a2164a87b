from __future__ import annotations

import os
from pathlib import Path

import pytest

PROGRAMS = {
    "sbatch": (
        'cp "$1" "$TOLD/sbatch-$(ls "$TOLD" | grep -c sbatch)"; echo "Submitted batch job $((700 + $(ls'
        ' "$TOLD" | grep -c sbatch)))"'
    ),
    "srun": "exit 1",
    "squeue": 'cat "$TOLD/queue" 2>/dev/null || true',
    "sacct": 'cat "$TOLD/accounts" 2>/dev/null || true',
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "train: {steps: 5}\ndata: {root: /nowhere, workers: 3}\nmethod: {propagation: {top_k: 7}}\n"
        "slurm: {time: 4h, partition: gpu, mem: 32G, setup: [module load cuda]}\n"
    )
    return path


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for SLURM's programs; the folder where sbatch leaves what it was given and squeue finds its
    answer.
    """
    programs, told = tmp_path / "programs", tmp_path / "told"
    programs.mkdir()
    told.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TOLD", str(told))
    return told
