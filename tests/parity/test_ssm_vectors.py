"""SSM-VOS's recorded vectors, through the converter and code that users run."""

import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "golden")]

import ssm_vectors  # noqa: E402
from compare import error  # noqa: E402


@pytest.fixture(scope="module")
def recorded():
    with np.load(HERE.parent / "golden" / "ssm_dev.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def computed(recorded):
    inputs = {key: value for key, value in recorded.items() if key.startswith("in.")}
    return ssm_vectors.run(inputs, "dev")


@pytest.mark.parametrize("key", ssm_vectors.rules())
def test_a_recorded_vector_holds(key, recorded, computed):
    rule = ssm_vectors.rules()[key]
    assert error(rule["kind"], recorded[key], computed[key]) <= rule["tolerance"]
