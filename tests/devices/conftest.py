"""The pretend device for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pretend import Gpu, absent, pretend


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    """A pretend CUDA device; its counts begin at 0."""
    if lacking := absent():
        pytest.skip(f"the pretend device needs {', '.join(lacking)}, which this torch does not have")
    with pretend() as device:
        yield device
