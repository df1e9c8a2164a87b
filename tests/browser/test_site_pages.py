"""The documentation site as a browser shows it from disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocstrings", reason="needs mkdocs, of the extra docs")
    out = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "-f",
        "docs/site/mkdocs.yml",
        "-d",
        str(out),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return out


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, False), (1200, True)])
@pytest.mark.parametrize(
    "page", ["index", "how-it-works", "results", "reference/settings-mamp", "reference/messages"]
)
def test_pages_fit_the_window_and_ask_nothing_of_the_network(browser, site, page, width, dark):
    browser.open(site / f"{page}.html", width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def test_search_finds_a_page_from_disk(browser, site):
    browser.open(site / "index.html")
    browser.run("document.querySelector('[data-md-toggle=search]').click()")
    browser.run("document.querySelector('[data-md-component=search-query]').focus()")
    browser.type("correct frame")
    browser.wait("document.querySelectorAll('.md-search-result__item').length > 3")
    assert browser.text(".md-search-result__item h1") == "Corrections and several objects"
    assert browser.errors == []
