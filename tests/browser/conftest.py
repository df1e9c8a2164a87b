"""A browser, and a page for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))

from chromium import Browser, find_chromium  # noqa: E402
from report_world import write_data, write_evaluation, write_training  # noqa: E402


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The page of two evaluations and a training run."""
    pytest.importorskip("jinja2", reason="needs jinja2, of the extra report")
    from mamp.report import write_report

    base = tmp_path_factory.mktemp("report")
    data = write_data(base / "data")
    runs = [
        write_evaluation(base / "steady", data, drift=0),
        write_evaluation(base / "drifting", data, drift=0.5),
        write_training(base / "train"),
    ]
    write_report(runs, base / "page.html", root=data, quiet=True)
    return base / "page.html"


@pytest.fixture(scope="package")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    """The browser with a tab of the test's own, which ends with it: a page left open goes on asking its
    server.
    """
    yield chromium
    used = chromium.tab()
    chromium.close(used)


@pytest.fixture(scope="session")
def model():
    from page_world import QUICK

    from mamp.segmentation.model import load

    return load(None, device="cpu", overrides=QUICK)


@pytest.fixture(scope="session")
def clip(shared, tmp_path_factory) -> Path:
    """Six frames of DAVIS, half as large."""
    from page_world import FRAMES, SIZE

    folder = tmp_path_factory.mktemp("video") / "surf"
    folder.mkdir()
    for path in sorted((shared / "data/DAVIS2016/JPEGImages/480p/surf").glob("*.jpg"))[:FRAMES]:
        with Image.open(path) as image:
            image.resize(SIZE, Image.Resampling.LANCZOS).save(folder / path.name, quality=95)
    return folder


@pytest.fixture
def app(clip, model, tmp_path):
    """The page's server, with a project on the clip in tmp_path / "work"."""
    from page_world import App

    started = App(model, tmp_path / "work", clip)
    yield started
    started.end()
