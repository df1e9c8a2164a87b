"""The first run, other videos, settings, exports, the timeline's zoom, what was before, what comes next."""

from __future__ import annotations

import urllib.request
import zipfile
from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn, of the extra app")

from page_world import COMPUTED, QUICK, SAVED, App, paint, show, stroke  # noqa: E402

from mamp.segmentation.model import load  # noqa: E402

HINT = "document.querySelector('#hint').textContent"
LEAD = "(lead => lead.hidden ? '' : lead.textContent)(document.querySelector('#lead'))"
VISITED = "document.body.dataset.shown"


@pytest.fixture
def home(monkeypatch, tmp_path):
    """Where projects without a folder of their own are."""
    monkeypatch.setattr("mamp.app.studio.HOME", tmp_path / "home")
    return tmp_path / "home"


def at_frame(browser, index: int) -> None:
    browser.wait(f"document.querySelector('#timeline').getAttribute('aria-valuenow') === '{index}'")


def test_the_first_run_is_led_from_a_box_to_a_key(browser, app):
    show(browser, app)
    browser.run("localStorage.clear()")
    show(browser, app)
    browser.wait(f"{LEAD}.includes('drag a box')")
    stroke(browser, (60, 20), (150, 100))
    browser.wait(f"{LEAD}.includes('press F')")
    browser.press("f")
    browser.wait(COMPUTED)
    browser.wait(f"{LEAD} === ''")
    show(browser, app)
    assert browser.run(LEAD) == "" and not browser.errors


def test_next_uncertain_names_the_object_and_the_timeline_shows_it_by_object(browser, app):
    project = app.studio.project
    project.add_object("the kite")
    mask = np.zeros(project.size, np.uint8)
    mask[20:40, 20:60], mask[60:90, 60:90] = 1, 2
    project.draw(0, mask)
    for index in range(1, 6):
        project.write(index, mask, kind="forward", unsure={1: 0.05, 2: 0.1 if index < 3 else 0.6})
    app.studio.changed()
    show(browser, app)
    assert browser.run("document.querySelector('#objects li[aria-current]').dataset.id") == "1"
    browser.press("u")
    browser.wait(f"{HINT}.includes('Look at the kite: about 60% of it may be wrong')")
    at_frame(browser, 3)
    assert browser.run("document.querySelector('#objects li[aria-current]').dataset.id") == "2"
    browser.wait("document.querySelector('#about-frame').textContent.includes('about 60% wrong')")
    browser.press("1")
    browser.wait("document.querySelector('#about-frame').textContent.includes('about 5% wrong')")


def test_the_timeline_zooms_and_follows_the_frame(browser, app, monkeypatch):
    show(browser, app)
    assert browser.run("document.querySelector('#timeout').disabled")
    box = browser.box("#timeline")
    wheel = {"type": "mouseWheel", "x": box[0] + 1, "y": box[1] + 20, "deltaX": 0, "deltaY": -600}
    browser.call("Input.dispatchMouseEvent", **wheel)
    browser.wait("!document.querySelector('#timeout').disabled")
    browser.press("End")
    at_frame(browser, 5)
    assert not browser.run("document.querySelector('#head').hidden") and not browser.errors


def test_the_mask_before_the_last_change_can_be_seen(browser, app):
    show(browser, app)
    paint(browser, (50, 60), (90, 60))
    paint(browser, (50, 90), (90, 90))
    np.testing.assert_array_equal(app.studio.project.before(0)[90, 60:80], 0)
    assert app.studio.project.before(0)[60, 70] == 1
    browser.call("Input.dispatchKeyEvent", type="rawKeyDown", key="c", windowsVirtualKeyCode=67)
    browser.wait("!document.querySelector('#old').hidden")
    browser.call("Input.dispatchKeyEvent", type="keyUp", key="c", windowsVirtualKeyCode=67)
    browser.wait("document.querySelector('#old').hidden")


def test_an_export_of_a_folder_is_a_zip_by_the_objects_names(browser, app):
    app.studio.project.rename(1, "surf board")
    show(browser, app)
    paint(browser, (50, 60), (90, 60))
    browser.click("#export")
    browser.click("[data-export=objects]")
    browser.wait("[...document.querySelectorAll('#banners button')].some(b => b.textContent === 'Download')")
    base, key = app.address.split("/?key=")
    with urllib.request.urlopen(f"{base}/api/export/objects?key={key}") as answer:
        names = zipfile.ZipFile(BytesIO(answer.read())).namelist()
    assert "objects/surf-board/00000.png" in names and "objects/objects.json" in names and len(names) == 7


def test_another_video_is_opened_without_a_restart(browser, app, home):
    home.mkdir()
    show(browser, app)
    paint(browser, (50, 60), (90, 60))
    browser.click("#videos")
    browser.wait("!document.querySelector('#welcome').hidden")
    browser.click("#example")
    browser.wait(
        "document.querySelector('#title').textContent === 'clip' && !document.querySelector('#work').hidden"
    )
    browser.wait("document.querySelector('#position').textContent.startsWith('1 / 60')")
    browser.click("#videos")
    browser.wait("!document.querySelector('#recents').hidden")
    assert "clip" in browser.text("#recents")
    browser.click("#recents button")
    browser.wait("!document.querySelector('#work').hidden")
    assert app.studio.project.folder == (home / "example").resolve()


def test_a_preset_can_be_chosen_for_the_next_run(browser, model, clip, tmp_path):
    app = App(model, tmp_path / "work", clip)
    app.studio._reload = lambda preset, device: load(
        None, device=device, overrides=[*QUICK, f"method.preset={preset}"]
    )
    app.studio.changed()
    try:
        show(browser, app)
        browser.wait("!document.querySelector('#quality').hidden")
        browser.run("document.querySelector('#preset').focus()")
        browser.type("fast")
        browser.press("Tab")
        browser.wait(f"{HINT}.includes('next run')")
        assert app.studio.model.config.method.preset == "fast"
        paint(browser, (50, 60), (90, 60))
        browser.press("f")
        browser.wait(COMPUTED)
        browser.wait(SAVED)
    finally:
        app.end()
