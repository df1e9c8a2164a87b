"""The pretend device for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from counting import raft_weights
from pretend import Gpu, absent, pretend


@pytest.fixture(scope="session")
def possible() -> None:
    """Skip where no GPU can be pretended."""
    if lacking := absent():
        pytest.skip(f"the pretend device needs {', '.join(lacking)}, which this torch does not have")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA GPU: test_cuda.py runs on it, and none is pretended")


@pytest.fixture
def gpu(possible: None) -> Iterator[Gpu]:
    """A pretend CUDA device; its counts begin at 0."""
    with pretend() as device:
        yield device


@pytest.fixture
def singles(possible: None) -> Iterator[Gpu]:
    """A pretend CUDA device without float64, as Apple's; its counts begin at 0."""
    with pretend(doubles=False) as device:
        yield device


@pytest.fixture(scope="session")
def raft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights of RAFT's small network."""
    return raft_weights(tmp_path_factory.mktemp("raft"))
