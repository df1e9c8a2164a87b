"""The report as a browser shows it."""

from __future__ import annotations

import shutil

import pytest

SEQUENCES = (
    "[...document.querySelectorAll('table.sortable tbody tr')].map(r => r.cells[0].dataset.value +"
    " r.cells[1].dataset.value)"
)


def test_it_loads_without_errors_and_asks_nothing_of_the_network(browser, report):
    browser.open(report)
    assert browser.run("document.querySelectorAll('section').length") == 5
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []


def test_a_click_on_a_heading_sorts_and_another_one_turns_the_order(browser, report):
    browser.open(report)
    click = "document.querySelectorAll('table.sortable thead tr:last-child button')[{}].click()"
    last = browser.run("document.querySelectorAll('table.sortable thead tr:last-child button').length") - 1
    values = (
        "[...document.querySelectorAll('table.sortable tbody tr')].map(r =>"
        f" Number(r.cells[{last}].dataset.value))"
    )
    browser.run(click.format(last))
    ascending = browser.run(values)
    assert ascending == sorted(ascending) and len(set(ascending)) > 1
    browser.run(click.format(last))
    assert browser.run(values) == ascending[::-1]
    browser.run(click.format(0))
    assert [name[:3] for name in browser.run(SEQUENCES)] == ["ant", "ant", "bee"]
    browser.run(click.format(0))
    assert [name[:3] for name in browser.run(SEQUENCES)] == ["bee", "ant", "ant"]


def test_a_film_plays(browser, report):
    browser.open(report)
    browser.run("window.film = document.querySelector('video'); film.loop = false; film.play()")
    browser.wait("film.currentTime > 0.1")
    assert browser.run("film.videoWidth") == 96
    browser.wait("document.querySelector('article .cursor').getAttribute('x1') > 43")
    assert browser.errors == []


def test_truth_and_predictions_are_switched_at_the_same_moment(browser, report):
    browser.open(report)
    buttons = "document.querySelector('article .views').querySelectorAll('button')"
    assert browser.run(f"[...{buttons}].map(b => b.textContent)") == ["truth", "steady", "drifting"]
    browser.run("window.film = document.querySelector('video'); film.load()")
    browser.wait("film.readyState >= 2")
    browser.run("film.currentTime = 0.5")
    browser.wait("!film.seeking")
    before = browser.run("film.currentSrc")
    browser.run(f"{buttons}[0].click()")
    browser.wait("film.readyState >= 2 && !film.seeking")
    assert browser.run("film.currentSrc") != before
    assert browser.run("film.currentTime") == pytest.approx(0.5, abs=0.05)
    assert browser.run(f"[...{buttons}].map(b => b.ariaPressed)") == ["true", "false", "false"]


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_reaches_beyond_the_window(browser, report, width):
    browser.open(report, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_dark_is_dark(browser, report):
    def brightness() -> int:
        return browser.run("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")

    browser.open(report, dark=True)
    assert brightness() < 60
    browser.open(report)
    assert brightness() > 200


def test_films_in_a_folder_beside_the_page_play_too(browser, report, tmp_path, monkeypatch):
    from mamp.report import page

    monkeypatch.setattr(page, "EMBEDDED", 0)
    base = report.parent
    page.write_report([base / "drifting"], tmp_path / "my page.html", root=base / "data", quiet=True)
    assert len(list((tmp_path / "my page_files").glob("*.mp4"))) == 4
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(tmp_path / "my page.html", moved)
    shutil.move(tmp_path / "my page_files", moved)
    browser.open(moved / "my page.html")
    browser.run("window.film = document.querySelector('video'); film.play()")
    browser.wait("film.currentTime > 0.05")
    assert browser.errors == []
