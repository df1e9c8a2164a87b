"""The runs that reports are made of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from report_world import write_data, write_evaluation, write_training


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> SimpleNamespace:
    """data, and the runs steady, drifting and train."""
    base: Path = tmp_path_factory.mktemp("world")
    data = write_data(base / "data")
    return SimpleNamespace(
        data=data,
        steady=write_evaluation(base / "steady", data, drift=0),
        drifting=write_evaluation(base / "drifting", data, drift=0.5),
        train=write_training(base / "train"),
    )
