"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent


# Small tests run fastest on few threads; torch reads this when it is imported, in loader processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A worker takes a whole file, whose tests share what they set up; one takes all that send jobs to the one SLURM."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            place = "slurm" if item.get_closest_marker("slurm") else item.nodeid.split("::")[0]
            item.add_marker(pytest.mark.xdist_group(place))


settings.register_profile("mamp", deadline=None)  # a busy machine is no failure
settings.load_profile("mamp")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and recorded results beside the repository, or the one MAMP_SHARED names."""
    folder = Path(os.environ.get("MAMP_SHARED") or REPOSITORY.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder} of real data; MAMP_SHARED=FOLDER names another")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def golden() -> Path:
    """The recorded vectors and state-dict names kept in tests/golden."""
    return Path(__file__).parent / "golden"
