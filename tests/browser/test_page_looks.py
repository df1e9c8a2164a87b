"""How masks look, which objects show and are protected, and changes of a whole mask."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn, of the extra app")

from page_world import SAVED, go, labels, paint, show  # noqa: E402

UNDO = {"modifiers": 2}


def pixel(browser, x: int, y: int) -> list[int]:
    """Red, green, blue, opacity of the masks' picture, as the page draws it."""
    script = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    browser.run(script)
    return browser.run(
        "(() => { const c = document.querySelector('#picture'), b = c.getContext('2d');"
        "const s = 0.985 * Math.min(c.width / 214, c.height / 120);"
        f"const x = c.width / 2 + s * ({x} - 107), y = c.height / 2 + s * ({y} - 60);"
        "return [...b.getImageData(x, y, 1, 1).data]; })()"
    )


@pytest.fixture
def two(browser, app):
    """The page with two objects on the first frame; the second is chosen."""
    app.studio.project.add_object()
    show(browser, app)
    paint(browser, (50, 60), (90, 60))
    browser.press("2")
    paint(browser, (50, 90), (90, 90))
    return app


def test_masks_can_be_fainter_brighter_and_without_outline(browser, two):
    usual = pixel(browser, 70, 60)
    browser.click("#view")
    browser.click("#bright")
    bright = pixel(browser, 70, 60)
    assert bright[0] > usual[0] + 20
    browser.run("document.querySelector('#opacity').focus()")
    browser.press("Home")
    browser.click("#outline")
    clear = pixel(browser, 70, 60)
    browser.press("h")
    assert clear[:3] != bright[:3] and browser.run("document.querySelector('#opacity').value") == "0"
    show(browser, two)
    assert browser.run(
        "document.querySelector('#bright').checked && !document.querySelector('#outline').checked"
    )
    browser.run("localStorage.clear()")


def test_a_hidden_object_does_not_show_and_one_can_be_shown_alone(browser, two):
    first, second = pixel(browser, 70, 60), pixel(browser, 70, 90)
    browser.press("v")
    assert pixel(browser, 70, 90) != second and pixel(browser, 70, 60) == first
    browser.press("V", modifiers=8)
    assert pixel(browser, 70, 90) == second and pixel(browser, 70, 60) != first
    browser.press("V", modifiers=8)
    assert pixel(browser, 70, 90) == second and pixel(browser, 70, 60) == first
    browser.click("#objects li:nth-child(1) [aria-label^=Hide]")
    assert pixel(browser, 70, 60) != first


@pytest.mark.parametrize("control", ["Protect", "Hide"])
def test_drawing_leaves_protected_and_hidden_objects_alone(browser, two, tmp_path, control):
    browser.click(f"#objects li:nth-child(1) [aria-label^={control}]")
    paint(browser, (70, 40), (70, 110))
    mask = labels(tmp_path / "work")
    assert mask[60, 70] == 1 and mask[45, 70] == 2 and mask[105, 70] == 2


def test_masks_can_be_cleared_and_copied_and_that_undone(browser, two, tmp_path):
    def choose(name: str) -> None:
        browser.click("#editmask")
        browser.click(name)
        browser.wait("document.querySelector('#edits').hidden")

    choose("#clearobject")
    browser.wait(f"{SAVED} && !document.querySelector('#undo').disabled")
    assert set(labels(tmp_path / "work").flat) == {0, 1}
    browser.press("z", **UNDO)
    browser.wait(SAVED)
    go(browser, 1)
    choose("#copyprevious")
    browser.wait("document.querySelector('#about-frame').textContent.startsWith('drawn')")
    browser.wait(SAVED)
    mask = labels(tmp_path / "work", 1)
    assert mask[90, 70] == 2 and not (mask == 1).any()
    go(browser, 0)
    choose("#clearframe")
    browser.wait(SAVED)
    assert not labels(tmp_path / "work").any()
    browser.press("z", **UNDO)
    browser.wait(SAVED)
    assert set(labels(tmp_path / "work").flat) == {0, 1, 2}


def test_without_a_mask_next_door_nothing_is_copied(browser, two):
    browser.click("#editmask")
    browser.click("#copynext")
    browser.wait("document.querySelector('#hint').textContent.includes('Frame 2 has no mask of this object')")


def test_the_timeline_shows_where_the_chosen_object_is(browser, two):
    def line(frame: int) -> list[int]:
        """Colour and opacity at the top of the strip, in a frame's column."""
        pixel(browser, 0, 0)  # what changed is drawn
        return browser.run(
            "(() => { const c = document.querySelector('#strip'), b = c.getContext('2d');"
            f"return [...b.getImageData(({frame} + 0.5) * c.width / 6, 1, 1, 1).data]; }})()"
        )

    colours = []
    for key in ("1", "2"):
        browser.press("b")
        browser.press(key)
        colours.append(line(0))
        assert line(0)[3] == 255 and line(1)[3] == 0
    assert colours[0] != colours[1]
