"""Each method's recorded vectors, through the converters and code that users run."""

from __future__ import annotations

import importlib
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
sys.path[:0] = [str(HERE), str(GOLDEN)]

from compare import error  # noqa: E402

RULES: dict[str, dict[str, dict[str, object]]] = json.loads((GOLDEN / "outputs.json").read_text())
METHODS = sorted(path.stem.removesuffix("_vectors") for path in HERE.glob("*_vectors.py"))
Arrays = dict[str, np.ndarray]


@cache
def vectors(method: str) -> tuple[Arrays, Arrays]:
    """What is recorded, and what we compute."""
    with np.load(GOLDEN / f"{method}_dev.npz") as arrays:
        recorded = dict(arrays)
    inputs = {key: value for key, value in recorded.items() if key.startswith("in.")}
    return recorded, importlib.import_module(f"{method}_vectors").run(inputs, "dev")


@pytest.mark.parametrize(("method", "key"), [(method, key) for method in METHODS for key in RULES[method]])
def test_a_recorded_vector_holds(method: str, key: str):
    if method == "mamp":
        pytest.importorskip("cv2", reason="the vectors hold OpenCV's Lab; the extra opencv is not installed")
    recorded, computed = vectors(method)
    rule = RULES[method][key]
    assert error(rule["kind"], recorded[key], computed[key]) <= rule["tolerance"]
