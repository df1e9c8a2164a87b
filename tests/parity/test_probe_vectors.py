"""The published label-propagation scripts' recorded vectors, through the presets of the probe."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "golden")]

import probe_vectors  # noqa: E402
from compare import error  # noqa: E402


@pytest.fixture(scope="module")
def recorded():
    with np.load(HERE.parent / "golden" / "probe_dev.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def computed(recorded):
    inputs = {key: value for key, value in recorded.items() if key.startswith("in.")}
    return probe_vectors.run(inputs, "dev")


@pytest.mark.parametrize("key", probe_vectors.rules())
def test_a_recorded_vector_holds(key, recorded, computed):
    rule = probe_vectors.rules()[key]
    assert error(rule["kind"], recorded[key], computed[key]) <= rule["tolerance"]
