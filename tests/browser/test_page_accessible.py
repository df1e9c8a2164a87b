"""The page by keyboard and screen reader: names, contrast, focus, announcements."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn, of the extra app")

from page_world import COMPUTED, FRAMES, SAVED, App, paint, show  # noqa: E402

NAMED = {
    "button",
    "textbox",
    "slider",
    "checkbox",
    "radio",
    "combobox",
    "dialog",
    "img",
    "progressbar",
    "application",
}
SCRIPTS = Path(__file__).with_name("accessible.js").read_text()


def unnamed(browser) -> list[str]:
    """Roles of controls without a name, as a screen reader is given them."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    return [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in NAMED
        and not node.get("name", {}).get("value", "").strip()
    ]


def screens(browser, app: App):
    """The page in one state after another."""
    yield "first"
    paint(browser, (90, 25), (85, 60))
    browser.press("f")
    browser.wait(COMPUTED)
    browser.press("ArrowLeft")
    yield "computed"
    browser.click("#lockall")
    yield "a question"
    browser.click("#sure-yes")
    browser.wait("document.querySelector('#banners').textContent.includes('Locked')")
    browser.click("#export")
    yield "a banner and a menu"
    browser.press("Escape")
    browser.press("?")
    yield "the keys"


@pytest.mark.parametrize("dark", [False, True])
def test_controls_have_names_and_words_have_contrast(browser, app, dark):
    show(browser, app, dark=dark)
    for name in screens(browser, app):
        assert unnamed(browser) == [], name
        assert browser.run(f"{SCRIPTS} pale()") == [], name
    twice = (
        "[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) < i)"
    )
    assert browser.run(twice) == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(browser, app, model, tmp_path, dark, width):
    axe = Path(os.environ.get("MAMP_AXE", ""))
    if not axe.is_file():
        pytest.skip("needs axe.min.js of the npm package axe-core: MAMP_AXE=path")
    found = []

    def check(name: str) -> None:
        browser.call("Runtime.evaluate", expression=axe.read_text())
        wrong = browser.run(
            "axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))"
        )
        found.extend((name, *violation) for violation in wrong)

    show(browser, app, dark=dark, width=width)
    for name in screens(browser, app):
        check(name)
    empty = App(model, tmp_path / "empty")
    browser.visit(empty.address, dark=dark, width=width)
    browser.wait("!document.querySelector('#welcome').hidden")
    check("no video")
    empty.end()
    assert found == []


def test_tab_reaches_every_control_and_the_focus_is_seen(browser, app):
    show(browser, app)
    paint(browser, (90, 25), (85, 60))
    wanted = set(browser.run(f"{SCRIPTS} reachable()"))
    browser.run("document.activeElement.blur()")
    reached = []
    for _ in range(len(wanted) + 3):
        browser.press("Tab")
        reached.append(tuple(browser.run(f"{SCRIPTS} focused()")))
    assert wanted <= {name for name, _ in reached}
    assert [name for name, seen in reached if not seen and name] == []


def test_controls_keep_their_own_keys(browser, app):
    show(browser, app)
    browser.press("b")
    before = browser.text("#sizeword")
    browser.run("document.querySelector('#size').focus()")
    browser.press("ArrowRight")
    assert browser.text("#sizeword") != before and browser.run("document.body.dataset.shown") == "0"
    browser.run("document.querySelector('#timeline').focus()")
    browser.press("ArrowRight")
    browser.wait("document.body.dataset.shown === '1'")
    assert (
        browser.run("document.querySelector('#timeline').ariaValueText")
        == f"frame 2 of {FRAMES}, no mask yet"
    )
    browser.run("document.querySelector('#play').focus()")
    browser.press(" ")
    browser.wait("document.querySelector('#play').ariaLabel === 'Pause'")
    browser.press(" ")
    browser.wait("document.querySelector('#play').ariaLabel === 'Play'")


def test_what_matters_is_read_out_and_not_each_frame(browser, app):
    show(browser, app)
    paint(browser, (90, 25), (85, 60))
    browser.run(
        "window.read = [];"
        "new MutationObserver(() => read.push(document.querySelector('#live').textContent))"
        ".observe(document.querySelector('#live'), {childList: true})"
    )
    browser.press("f")
    browser.wait(COMPUTED)
    read = browser.run("read")
    assert read[0] == "Segmenting" and read[-1].startswith(f"{FRAMES} frames in") and len(read) < FRAMES
    live = "[...document.querySelectorAll('[role=status], [role=alert], [aria-live]:not([aria-live=off])')]"
    assert set(browser.run(f"{live}.map((e) => e.id)")) == {"live", "hint", "trouble", "lead", "upload"}
    browser.wait(SAVED)
