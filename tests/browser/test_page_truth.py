"""What the page says is true now: runs, locks, exports, and what happens to the video and the server."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn, of the extra app")

from page_world import COMPUTED, FRAMES, SAVED, App, Held, at, go, paint, show  # noqa: E402

from mamp.segmentation.segmenter import Segmenter  # noqa: E402
from mamp.video.overlay import Film  # noqa: E402

RUN = "document.querySelector('#run').textContent"
BANNERS = "document.querySelector('#banners').textContent"


def locked(app) -> list[int]:
    return [i for i, frame in enumerate(app.studio.project.frames()) if frame.locked]


@pytest.fixture
def computed(browser, app):
    """The page after a run over the whole clip."""
    show(browser, app)
    paint(browser, (90, 25), (85, 60), (95, 85))
    browser.press("f")
    browser.wait(COMPUTED)
    return app


# ---------------------------------------------------------------- runs


def test_a_run_far_from_the_drawn_frame_writes_what_it_passes_and_says_how_long_it_takes(
    browser, app, monkeypatch
):
    show(browser, app)
    paint(browser, (90, 25), (85, 60), (95, 85))
    held = Held(monkeypatch, Segmenter, "step")
    go(browser, 4)
    browser.press("f")
    held.let(3)
    browser.wait(f"{RUN}.startsWith('On the way to frame 5: 3 of 4 frames')")
    assert "frames/s, " in browser.text("#run") and browser.text("#run").endswith(" s left")
    assert [frame.kind for frame in app.studio.project.frames()][:4] == ["drawn", "forward", "forward", ""]
    browser.wait("document.body.dataset.shown === '2'")
    held.let()
    browser.wait(COMPUTED)
    assert all((app.studio.project.mask(i) == 1).any() for i in range(FRAMES))


def test_stop_answers_at_once_and_keeps_the_frame_at_work(browser, app, monkeypatch):
    show(browser, app)
    paint(browser, (90, 25), (85, 60), (95, 85))
    held = Held(monkeypatch, Segmenter, "step")
    browser.press("f")
    held.let(2)
    for _ in range(3):
        assert held.came.acquire(timeout=60)
    browser.click("#stop")
    assert browser.text("#run").startswith("Stopping")
    browser.press("f")  # waits for the end of this run
    held.let()
    browser.wait(f"{COMPUTED} && !{RUN}.startsWith('Stopped')")
    assert app.studio.project.frame(FRAMES - 1).kind == "forward"
    assert app.studio.project.frame(2).kind == "forward"


def test_a_stopped_run_says_where(browser, app, monkeypatch):
    show(browser, app)
    paint(browser, (90, 25), (85, 60), (95, 85))
    held = Held(monkeypatch, Segmenter, "step")
    browser.press("f")
    held.let(1)
    for _ in range(2):
        assert held.came.acquire(timeout=60)
    browser.press("Escape")
    browser.wait(f"{RUN}.startsWith('Stopping')")
    held.let()
    browser.wait(f"{RUN}.startsWith('Stopped after frame 2: 2 frames in')")


def kinds(app) -> str:
    return "".join(frame.kind[:1] or "." for frame in app.studio.project.frames())


def test_a_run_goes_both_ways_as_far_as_is_chosen_or_up_to_here(browser, model, tmp_path, clip):
    video = tmp_path / "clip"
    video.mkdir()
    for i in range(24):
        shutil.copy(clip / f"{i % FRAMES:05d}.jpg", video / f"{i:05d}.jpg")
    app = App(model, tmp_path / "work", video)
    show(browser, app)
    go(browser, 12)
    paint(browser, (90, 25), (85, 60), (95, 85))
    browser.run("document.querySelector('#far').focus()")
    browser.press("ArrowDown")
    assert browser.run("document.querySelector('#far').value") == "10"
    browser.press("Tab")
    browser.press("g")
    browser.wait("document.querySelector('#timeline').getAttribute('aria-valuenow') === '2'")
    browser.wait(f"{RUN}.startsWith('11 frames in')")
    assert kinds(app) == ".." + 10 * "b" + "d" + 10 * "f" + "."
    go(browser, 0)
    browser.press("t")
    browser.wait(f"{RUN}.startsWith('13 frames in')")
    assert kinds(app) == 12 * "b" + "d" + 10 * "f" + "."
    app.end()


# ---------------------------------------------------------------- locks


def test_locking_up_to_here_asks_and_can_be_undone(browser, computed):
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    browser.wait(f"document.body.dataset.shown === '{FRAMES - 3}'")
    browser.click("#lockall")
    assert browser.run("document.querySelector('#sure').open")
    assert browser.text("#sure-words") == "Lock 4 frames, up to this one?"
    browser.press("Escape")
    assert locked(computed) == []
    for undo in (lambda: browser.click("#banners button"), lambda: browser.press("z", modifiers=2)):
        browser.click("#lockall")
        browser.press("Enter")
        browser.wait(f"{BANNERS}.includes('Locked 4 frames.')")
        assert locked(computed) == [0, 1, 2, 3]
        undo()
        browser.wait(f"!{BANNERS}")
        assert locked(computed) == []


def test_an_undone_lock_leaves_earlier_locks_and_all_can_be_unlocked(browser, computed):
    go(browser, 1)
    browser.press("l")
    browser.wait("document.querySelector('#lock').textContent === 'Unlock'")
    go(browser, 3)
    browser.click("#lockall")
    browser.click("#sure-yes")
    browser.wait(f"{BANNERS}.includes('Locked 3 frames.')")
    browser.press("z", modifiers=2)
    browser.wait(f"!{BANNERS}")
    assert locked(computed) == [1]
    browser.click("#lockall")
    browser.click("#sure-yes")
    browser.wait(f"{BANNERS}.includes('Locked 3 frames.')")
    browser.click("#unlockall")
    browser.wait(f"{BANNERS}.includes('Unlocked 4 frames.')")
    assert locked(computed) == []
    browser.click("#banners button")
    browser.wait(f"!{BANNERS}")
    assert locked(computed) == [0, 1, 2, 3]


# ---------------------------------------------------------------- exports


def test_a_failed_export_is_not_shown_once_masks_have_changed_nor_after_it_was_closed(browser, app):
    show(browser, app)
    browser.click("#export")
    browser.click("[data-export=coco]")
    browser.wait(f"{BANNERS}.includes('failed: no frame has a mask yet')")
    paint(browser, (90, 25), (85, 60))
    browser.wait(f"!{BANNERS}")
    browser.click("#export")
    browser.click("[data-export=coco]")
    browser.wait(f"{BANNERS}.includes('Exported to')")
    assert "changed since" not in browser.text("#banners")
    paint(browser, (20, 20), (40, 20))
    browser.wait(f"{BANNERS}.includes('Masks have changed since')")
    browser.click("#banners p button:last-child")
    browser.wait(f"!{BANNERS}")
    show(browser, app)
    browser.wait(SAVED)
    assert browser.text("#banners") == ""


def test_the_menu_of_exports_closes_by_escape_and_gives_the_focus_back(browser, app):
    show(browser, app)
    browser.run("document.querySelector('#export').focus()")
    browser.press("Enter")
    browser.press("Tab")
    assert browser.run("document.activeElement.dataset.export") == "davis"
    browser.press("Escape")
    assert browser.run("document.querySelector('#exports').hidden && document.activeElement.id") == "export"


# ---------------------------------------------------------------- the video and the server


def test_an_uploaded_video_keeps_its_name(browser, model, tmp_path):
    with Film(tmp_path / "my dog 1.mp4") as film:
        for i in range(4):
            film.write(np.full((64, 96, 3), 60 * i, np.uint8))
    (tmp_path / "broken.mp4").write_bytes(b"no film" * 100)
    app = App(model, tmp_path / "work")
    browser.visit(app.address)
    browser.wait("!document.querySelector('#welcome').hidden")
    answer = browser.call("Runtime.evaluate", expression="document.querySelector('#file')")
    for name, shown in (
        (
            "broken.mp4",
            "document.querySelector('#upload').textContent.startsWith('broken.mp4 cannot be read')",
        ),
        ("my dog 1.mp4", "document.body.dataset.shown === '0'"),
    ):
        file = {"objectId": answer["result"]["objectId"], "files": [str(tmp_path / name)]}
        browser.call("DOM.setFileInputFiles", **file)
        browser.wait(shown)
    assert browser.text("#title") == "my dog 1.mp4"
    paint(browser, (40, 30), (60, 30))
    browser.click("#export")
    browser.click("[data-export=coco]")
    browser.wait(f"{BANNERS}.includes('Exported to')")
    told = json.loads((tmp_path / "work" / "export" / "my-dog-1.json").read_text())
    assert told["info"]["description"] == "my-dog-1"
    app.end()


def test_a_deleted_video_is_said_to_be_gone_and_its_return_too(browser, model, clip, tmp_path):
    video = tmp_path / "clip"
    shutil.copytree(clip, video)
    app = App(model, tmp_path / "work", video)
    show(browser, app)
    video.rename(tmp_path / "elsewhere")
    browser.press("End")
    browser.wait("document.querySelector('#trouble').textContent.includes('00005.jpg')")
    app.studio.changed()
    browser.wait(f"{BANNERS}.includes('is not there any more')")
    (tmp_path / "elsewhere").rename(video)
    app.studio.changed()
    browser.wait(f"!{BANNERS}")
    browser.press("ArrowLeft")
    browser.press("End")
    browser.wait("document.body.dataset.shown === '5' && !document.querySelector('#trouble').textContent")
    app.end()


def test_without_its_server_the_page_shows_no_run(browser, model, clip, tmp_path, monkeypatch):
    app = App(model, tmp_path / "work", clip)
    show(browser, app)
    paint(browser, (90, 25), (85, 60))
    held = Held(monkeypatch, Segmenter, "step")
    browser.press("f")
    browser.wait("!document.querySelector('#stop').hidden")
    app._server.should_exit = app._server.force_exit = True
    browser.wait(f"{BANNERS}.includes('connection to mamp is lost')")
    assert browser.text("#run") == "Not known: no connection to mamp."
    assert browser.run(
        "document.querySelector('#stop').hidden && document.querySelector('#forward').disabled"
    )
    held.let()
    port = app.port
    app.end()
    again = App(model, tmp_path / "work", clip, port)
    browser.wait(f"{BANNERS}.includes('open the address it printed')")
    assert "All is saved" in browser.text("#banners")
    again.end()


def test_an_unreadable_frame_is_named_while_it_is_shown(browser, model, clip, tmp_path):
    video = tmp_path / "clip"
    shutil.copytree(clip, video)
    (video / "00002.jpg").write_bytes((video / "00002.jpg").read_bytes()[:900])
    app = App(model, tmp_path / "work", video)
    show(browser, app)
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    browser.wait("document.querySelector('#trouble').textContent.includes('00002.jpg')")
    browser.press("ArrowRight")
    browser.wait("!document.querySelector('#trouble').textContent")
    app.end()


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize("width", [390, 480, 820, 821, 1024, 1280, 1920])
def test_no_window_scrolls_sideways_and_every_tool_is_in_it(browser, app, width):
    for _ in range(4):
        app.studio.project.add_object("a rather long name of an object that goes on and on")
    show(browser, app, width=width)
    paint(browser, (90, 25), (85, 60))
    browser.press("f")
    browser.wait(COMPUTED)
    browser.click("#lockall")
    browser.click("#sure-yes")
    browser.wait(f"{BANNERS}.includes('Locked')")
    assert browser.run("document.documentElement.scrollWidth") <= width
    for selector in ("#redo", "#undo", "#uncertain", "#export", "#fit", "#forward"):
        left, _, wide, _ = browser.box(selector)
        assert left >= 0 and left + wide <= width, selector
    assert np.isfinite(at(browser, 0, 0)).all()
