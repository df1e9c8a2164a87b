"""The page in which masks are drawn, in a browser: the whole loop on a real clip, and what may go wrong."""

from __future__ import annotations

import signal

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn, of the extra app")

from page_world import COMPUTED, FRAMES, QUICK, SAVED, App, Killable, at, go, paint, show  # noqa: E402

from mamp.cli import main  # noqa: E402
from mamp.video.masks import read_mask  # noqa: E402
from mamp.video.overlay import Film  # noqa: E402


def test_draw_propagate_correct_export(browser, app, clip, tmp_path):
    show(browser, app)
    paint(browser, (90, 25), (85, 60), (95, 85))
    browser.press("p")
    for point in ((75, 40), (105, 40), (105, 80)):
        browser.drag(at(browser, *point))
    browser.press("Enter")
    browser.wait(SAVED)
    browser.press("n")
    browser.wait("document.querySelector('#objects li:nth-child(2)[aria-current=true]') !== null")
    paint(browser, (20, 20), (40, 20))
    browser.press("f")
    browser.wait(COMPUTED)
    go(browser, 3)
    browser.press("e")
    paint(browser, (20, 20), (30, 20))
    browser.press("e")
    browser.press("1")
    paint(browser, (95, 90), (120, 95))
    browser.press("f")
    browser.wait(f"document.querySelector('#run').textContent.startsWith('{FRAMES - 3} frames in')")
    browser.run("document.querySelector('[data-export=davis]').click()")
    browser.wait("document.querySelector('#banners').textContent.includes('Exported to')")
    assert browser.errors == []
    assert [
        url for url in browser.requests if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
    ] == []
    drawn = tmp_path / "work" / "drawn"
    assert [p.name for p in sorted(drawn.iterdir())] == ["00000.png", "00003.png"]
    first = read_mask(drawn / "00000.png")
    assert first[50, 88] == first[50, 100] == 1 and first[20, 30] == 2 and first[100, 150] == 0
    words = [
        "segment",
        clip,
        "--mask",
        drawn,
        "--out",
        tmp_path / "by_command",
        "--device",
        "cpu",
        "--quiet",
        *QUICK,
    ]
    assert main([str(w) for w in words]) == 0
    exported = tmp_path / "work" / "export" / "davis" / "Annotations" / "480p" / "surf"
    for index in range(FRAMES):
        name = f"{index:05d}.png"
        expected = read_mask(tmp_path / "by_command" / name)
        assert expected.any()
        np.testing.assert_array_equal(read_mask(exported / name), expected)


def test_undo_and_redo_reach_the_files(browser, app, tmp_path):
    show(browser, app)
    file = tmp_path / "work" / "drawn" / "00000.png"
    areas = []
    paint(browser, (50, 50), (80, 50))
    areas.append(int(read_mask(file).sum()))
    paint(browser, (50, 80), (80, 80))
    areas.append(int(read_mask(file).sum()))
    assert 0 < areas[0] < areas[1]
    for modifiers, area in ((2, areas[0]), (2, 0), (10, areas[0]), (10, areas[1])):
        browser.press("z", modifiers=modifiers)
        browser.wait(SAVED)
        assert int(read_mask(file).sum()) == area


def test_a_box_suggests_a_mask(browser, app, tmp_path):
    show(browser, app)
    browser.press("s")
    browser.drag(at(browser, 50, 3), at(browser, 70, 50), at(browser, 102, 92))
    browser.wait("document.querySelector('#hint').textContent.startsWith('Click on')")
    browser.wait(SAVED)
    found = read_mask(tmp_path / "work" / "drawn" / "00000.png")
    assert 400 < (found == 1).sum() < 4600 and found[30:70, 75:90].mean() > 0.5


def test_strokes_outlive_a_killed_process(browser, clip, model, tmp_path):
    app = Killable(clip, "--out", tmp_path / "work", "--port", "0")
    show(browser, app)
    paint(browser, (50, 50), (80, 50))
    port = int(app.address.split(":")[2].split("/")[0])
    app.end(signal.SIGKILL)
    browser.drag(at(browser, 20, 20), at(browser, 40, 40))
    browser.wait("document.querySelector('#banners').textContent.includes('connection to mamp is lost')")
    browser.wait("document.querySelector('#saved').textContent === 'not saved'")
    old = browser.tab()
    again = App(model, tmp_path / "work", clip, port)
    show(browser, again)
    browser.wait(SAVED)
    mask = read_mask(tmp_path / "work" / "drawn" / "00000.png")
    assert mask[50, 65] == 1 and mask[30, 30] == 1
    new = browser.switch(old)
    browser.wait("document.querySelector('#banners').textContent.includes('open the address it printed')")
    browser.switch(new)
    browser.close(old)
    again.end()


def test_a_second_tab_is_told_and_takes_over(browser, app, tmp_path):
    show(browser, app)
    paint(browser, (50, 50), (80, 50))
    first = browser.tab()
    show(browser, app)
    browser.wait("document.querySelector('#banners').textContent.includes('open in another tab')")
    browser.press("b")
    browser.drag(at(browser, 20, 20), at(browser, 40, 40))
    assert "take over" in browser.run("document.querySelector('#hint').textContent")
    browser.run("document.querySelector('#banners button').click()")
    browser.wait("!document.querySelector('#banners').textContent")
    paint(browser, (20, 90), (60, 90))
    assert read_mask(tmp_path / "work" / "drawn" / "00000.png")[90, 40] == 1
    second = browser.switch(first)
    browser.wait("document.querySelector('#banners').textContent.includes('open in another tab')")
    browser.close(second)


def test_a_video_can_be_given_on_the_page(browser, model, tmp_path):
    with Film(tmp_path / "film.mp4") as film:
        for i in range(4):
            film.write(np.full((64, 96, 3), 60 * i, np.uint8))
    (tmp_path / "wrong.mp4").write_bytes(b"no film" * 100)
    app = App(model, tmp_path / "work")
    browser.visit(app.address)
    browser.wait("!document.querySelector('#welcome').hidden")
    answer = browser.call("Runtime.evaluate", expression="document.querySelector('#file')")
    for name, shown in (
        ("wrong.mp4", "document.querySelector('#upload').textContent.includes('cannot be read as a video')"),
        ("film.mp4", "document.body.dataset.shown === '0'"),
    ):
        file = {"objectId": answer["result"]["objectId"], "files": [str(tmp_path / name)]}
        browser.call("DOM.setFileInputFiles", **file)
        browser.wait(shown)
    assert browser.run("document.querySelector('#position').textContent") == "1 / 4"
    app.end()


@pytest.mark.parametrize("width", [360, 700, 1280])
def test_nothing_reaches_beyond_the_window(browser, app, width):
    show(browser, app, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_dark_is_dark_and_the_keys_are_told(browser, app):
    show(browser, app, dark=True)
    assert browser.run("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])") < 60
    browser.press("?")
    assert browser.run("document.querySelector('#keys').open")
    browser.press("Escape")


def test_an_end_by_the_keyboard_is_an_orderly_one_and_a_project_is_open_once(clip, tmp_path, capsys):
    app = Killable(clip, "--out", tmp_path / "work")
    assert main(["app", str(clip), "--out", str(tmp_path / "work"), "--no-browser", "--device", "cpu"]) == 2
    assert "is open in another `mamp app`" in capsys.readouterr().err
    assert app.end() in (0, 130)
