"""AFB-URR's recorded vectors, through the converter and code that users run."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "golden")]

import afb_urr_vectors  # noqa: E402
from compare import error  # noqa: E402


@pytest.fixture(scope="module")
def recorded():
    with np.load(HERE.parent / "golden" / "afb_urr_dev.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def computed(recorded):
    inputs = {key: value for key, value in recorded.items() if key.startswith("in.")}
    return afb_urr_vectors.run(inputs, "dev")


@pytest.mark.parametrize("key", afb_urr_vectors.rules())
def test_a_recorded_vector_holds(key, recorded, computed):
    rule = afb_urr_vectors.rules()[key]
    assert error(rule["kind"], recorded[key], computed[key]) <= rule["tolerance"]
