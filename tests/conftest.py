"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["dataset_fixtures"]  # tests/helpers

REPOSITORY = Path(__file__).resolve().parent.parent


# Small tests run fastest on few threads; torch reads this when it is imported, in loader processes too. A
# worker has one, whatever it inherits: two workers of two threads each on two cores take several times as
# long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes a whole file, whose tests share what they set up; one takes all that send jobs to the
    one SLURM.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "slurm" if file.startswith("tests/slurm/") else file

    return Scheduling(config, log)


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


@pytest.fixture(scope="session")
def stand_in_package() -> Path:
    """What jobs may run in place of mamp."""
    return Path(__file__).parent / "launch" / "stand_in" / "mamp"


@pytest.fixture
def stand_in(stand_in_package: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """stand_in(trouble) -> jobs run the stand-in for mamp, with that trouble."""
    from launch import snapshot

    monkeypatch.setattr(snapshot, "PACKAGE", stand_in_package)
    return lambda trouble: monkeypatch.setenv("STAND_IN", trouble)


@pytest.fixture(scope="session")
def write_clip() -> Callable[..., None]:
    """write_clip(root, name, seed=, frames=, size=): a rendered clip of two objects,
    JPEGImages/NAME/00000.png .. and Annotations/NAME/00000.png .. below the root."""
    from PIL import Image

    from mamp.video.masks import write_mask
    from mamp.video.synthetic import render_clip

    def write(root: Path, name: str, *, seed: int, frames: int, size: tuple[int, int]) -> None:
        clip = render_clip(seed, frames=frames, size=size, objects=2)
        pictures, masks = root / "JPEGImages" / name, root / "Annotations" / name
        pictures.mkdir(parents=True)
        masks.mkdir(parents=True)
        for t, (frame, labels) in enumerate(zip(clip.frames, clip.labels, strict=True)):
            Image.fromarray(frame).save(pictures / f"{t:05d}.png")
            write_mask(masks / f"{t:05d}.png", labels)

    return write
