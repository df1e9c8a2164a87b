"""STM's recorded vectors, through the converter and code that users run."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "golden")]

import stm_vectors  # noqa: E402
from compare import error  # noqa: E402


@pytest.fixture(scope="module")
def recorded():
    with np.load(HERE.parent / "golden" / "stm_dev.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def computed(recorded):
    inputs = {key: value for key, value in recorded.items() if key.startswith("in.")}
    return stm_vectors.run(inputs, "dev")


@pytest.mark.parametrize("key", stm_vectors.rules())
def test_a_recorded_vector_holds(key, recorded, computed):
    rule = stm_vectors.rules()[key]
    assert error(rule["kind"], recorded[key], computed[key]) <= rule["tolerance"]
