"""Drawing on the page by mouse, keys and fingers: no click, stroke or undo step is lost."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs starlette and uvicorn, of the extra app")

from page_world import COMPUTED, SAVED, SIZE, Held, at, go, labels, paint, show, stroke  # noqa: E402

HINT = "document.querySelector('#hint').textContent"
ANSWERED = f"!{HINT}.includes('Looking') && {SAVED}"
UNDO, REDO = {"modifiers": 2}, {"modifiers": 10}


def discs(index, wish, number=None):
    """A suggestion that is easy to foresee: a disc at each click, none where it is excluded."""
    rows, columns = np.ogrid[: SIZE[1], : SIZE[0]]
    found = np.zeros(SIZE[::-1], bool)
    for points, value in ((wish.inside, True), (wish.outside, False)):
        for x, y in points:
            found[(columns - x) ** 2 + (rows - y) ** 2 < 64] = value
    return found


@pytest.fixture
def foreseen(app, monkeypatch):
    """The page, where suggestions are `discs`; the wishes that came."""
    wishes = []
    monkeypatch.setattr(
        app.studio, "propose", lambda index, wish, number: wishes.append(wish) or discs(index, wish)
    )
    return wishes


def looks(browser) -> None:
    browser.wait(f"{HINT}.includes('Looking')")


# ---------------------------------------------------------------- answers that take their time


def test_a_run_waits_for_the_answer_to_a_click(browser, app, monkeypatch, tmp_path):
    held = Held(monkeypatch, app.studio, "propose")
    show(browser, app)
    stroke(browser, (90, 50))
    looks(browser)
    browser.press("f")
    assert held.came.acquire(timeout=60) and app.studio.engine.status.total == 0
    held.let()
    browser.wait(COMPUTED)
    assert (labels(tmp_path / "work") == 1).any() and (app.studio.project.mask(2) == 1).any()


def test_looking_stays_until_the_answer_is_there_and_another_tool_does_not_lose_it(
    browser, app, monkeypatch, tmp_path
):
    held = Held(monkeypatch, app.studio, "propose")
    show(browser, app)
    stroke(browser, (90, 50))
    looks(browser)
    browser.press("b")
    stroke(browser, (20, 20), (40, 20))
    looks(browser)
    held.let()
    browser.wait(ANSWERED)
    mask = labels(tmp_path / "work")
    assert mask[50, 90] == 1 and mask[20, 30] == 1


@pytest.mark.parametrize("key", ["b", "e"])
def test_what_is_drawn_while_a_click_waits_stays(browser, app, foreseen, monkeypatch, tmp_path, key):
    held = Held(monkeypatch, app.studio, "propose")
    show(browser, app)
    paint(browser, (20, 90), (40, 90))
    browser.press("s")
    stroke(browser, (90, 50))
    looks(browser)
    browser.press(key)
    row = 90 if key == "e" else 20
    stroke(browser, (20, row), (40, row))
    browser.wait(SAVED)
    held.let()
    browser.wait(ANSWERED)
    mask = labels(tmp_path / "work")
    assert mask[50, 90] == 1 and mask[row, 30] == (key == "b")


def test_an_answer_lands_on_the_frame_that_was_clicked(browser, app, monkeypatch, tmp_path):
    held = Held(monkeypatch, app.studio, "propose")
    show(browser, app)
    stroke(browser, (90, 50))
    looks(browser)
    go(browser, 1)
    held.let()
    browser.wait(ANSWERED)
    assert (labels(tmp_path / "work") == 1).any() and app.studio.project.drawn() == [0]
    go(browser, 0)
    browser.press("z", **UNDO)
    browser.wait(SAVED)
    assert not labels(tmp_path / "work").any()


def test_a_stroke_waits_for_its_new_object(browser, app, monkeypatch, tmp_path):
    show(browser, app)
    paint(browser, (20, 20), (40, 20))
    held = Held(monkeypatch, app.studio, "state")
    app.studio.changed()
    assert held.came.acquire(timeout=60)
    browser.press("n")
    stroke(browser, (20, 80), (40, 80))
    assert labels(tmp_path / "work").max() == 1
    held.let()
    browser.wait("document.querySelector('#objects li:nth-child(2)[aria-current=true]') !== null")
    browser.wait(SAVED)
    mask = labels(tmp_path / "work")
    assert mask[20, 30] == 1 and mask[80, 30] == 2


# ---------------------------------------------------------------- undo


def test_sixty_strokes_can_be_undone_after_seventy_fast_ones(browser, app, monkeypatch, tmp_path):
    told, calls = app.studio.state, []

    def late(tab):
        """Every other answer is of an older revision, as one that was long on its way."""
        state = told(tab)
        calls.append(1)
        if len(calls) % 2:
            state["frames"] = [[*frame[:4], max(0, frame[4] - 1), *frame[5:]] for frame in state["frames"]]
        return state

    monkeypatch.setattr(app.studio, "state", late)
    show(browser, app)
    browser.press("b")
    for _ in range(9):
        browser.press("[")
    for n in range(70):
        x, y = 10 + 20 * (n % 10), 10 + 14 * (n // 10)
        stroke(browser, (x, y), (x + 6, y))
    browser.wait(SAVED)
    whole = labels(tmp_path / "work")
    for _ in range(65):
        browser.press("z", **UNDO)
    browser.wait(SAVED)
    assert browser.run("document.querySelector('#undo').disabled")
    rest = labels(tmp_path / "work")
    assert rest[10, 193] == 1 and not rest[20:].any()  # the first ten strokes
    for _ in range(65):
        browser.press("z", **REDO)
    browser.wait(SAVED)
    np.testing.assert_array_equal(labels(tmp_path / "work"), whole)


def test_undo_takes_back_one_click_at_a_time(browser, app, foreseen, tmp_path):
    show(browser, app)
    areas = [0]
    for x in (50, 90, 130):
        stroke(browser, (x, 60))
        browser.wait(ANSWERED)
        areas.append(int(labels(tmp_path / "work").sum()))
    assert len(set(areas)) == 4
    for area in (areas[2], areas[1]):
        browser.press("z", **UNDO)
        browser.wait(SAVED)
        assert labels(tmp_path / "work").sum() == area
    stroke(browser, (160, 60))
    browser.wait(ANSWERED)
    assert [[round(x) for x, _ in wish.inside] for wish in foreseen[-1:]] == [[50, 160]]
    for area in (areas[1], 0):
        browser.press("z", **UNDO)
        browser.wait(SAVED)
        assert labels(tmp_path / "work").sum() == area
    browser.press("z", **REDO)
    browser.wait(SAVED)
    assert labels(tmp_path / "work").sum() == areas[1]


def test_undo_takes_back_a_click_that_has_no_answer_yet(browser, app, monkeypatch, tmp_path):
    monkeypatch.setattr(app.studio, "propose", discs)
    show(browser, app)
    stroke(browser, (50, 60))
    browser.wait(ANSWERED)
    held = Held(monkeypatch, app.studio, "propose")
    stroke(browser, (120, 60))
    looks(browser)
    browser.press("z", **UNDO)
    browser.wait(ANSWERED)
    held.let()
    browser.press("b")
    stroke(browser, (20, 20), (40, 20))
    browser.wait(SAVED)
    mask = labels(tmp_path / "work")
    assert mask[60, 50] == 1 and mask[20, 30] == 1 and mask[60, 120] == 0


def test_corners_of_a_polygon_can_be_moved_and_it_is_kept_by_what_comes_next(browser, app, tmp_path):
    show(browser, app)
    browser.press("p")
    for point in ((40, 20), (90, 20), (90, 70)):
        stroke(browser, point)
    stroke(browser, (90, 70), (60, 100), (40, 100))
    browser.press("b")
    browser.wait(SAVED)
    mask = labels(tmp_path / "work")
    assert mask[70, 45] == 1 and mask[60, 85] == 0


# ---------------------------------------------------------------- fingers


@pytest.mark.parametrize("key", ["s", "b", "p"])
def test_two_fingers_zoom_and_never_paint(browser, app, key):
    show(browser, app)
    browser.press(key)
    before = browser.text("#zoom")
    (x, y), (u, v) = at(browser, 80, 60), at(browser, 130, 60)
    both = [[(x - n * 12, y), (u + n * 12, v)] for n in range(5)]
    browser.touch([(x, y)], [(x + 9, y + 9)], *both, [(x, y)], [(x + 30, y + 30)])
    assert int(browser.text("#zoom")[:-1]) > 1.3 * int(before[:-1])
    assert browser.text("#hint") == "" and browser.run("document.querySelector('#undo').disabled")
    assert app.studio.project.drawn() == []
    browser.click("#fit")
    assert browser.text("#zoom") == before


def test_two_fingers_move_the_picture(browser, app):
    show(browser, app)
    browser.click("#zoomin")
    browser.click("#zoomin")
    (x, y), (u, v) = at(browser, 80, 60), at(browser, 130, 60)
    zoom = browser.text("#zoom")
    browser.touch([(x, y), (u, v)], [(x + 20, y), (u + 20, v)], [(x + 40, y), (u + 40, v)])
    assert browser.text("#zoom") == zoom and app.studio.project.drawn() == []


def test_one_finger_paints_and_a_button_makes_clicks_negative(browser, app, foreseen, tmp_path):
    show(browser, app)
    browser.touch([at(browser, 60, 60)])
    browser.wait(ANSWERED)
    browser.click("#beside")
    browser.touch([at(browser, 70, 60)])
    browser.wait(ANSWERED)
    assert len(foreseen[-1].inside) == len(foreseen[-1].outside) == 1
    browser.click("[data-tool=brush]")
    browser.touch([at(browser, 20, 20)], [at(browser, 30, 20)], [at(browser, 40, 20)])
    browser.wait(SAVED)
    mask = labels(tmp_path / "work")
    assert mask[60, 55] == 1 and mask[60, 70] == 0 and mask[20, 30] == 1


# ---------------------------------------------------------------- the keyboard


def test_a_name_can_be_typed_and_tab_goes_on(browser, app):
    show(browser, app)
    browser.click("#objects input", count=3)
    browser.type("surf board, big")
    browser.press("Tab")
    browser.wait("document.activeElement.ariaLabel === 'Hide surf board, big'")
    assert app.studio.project.objects[0].name == "surf board, big"
    assert browser.run("document.body.dataset.shown") == "0" and not app.studio.engine.status.total


def test_a_mask_can_be_drawn_and_carried_on_by_the_keyboard_alone(browser, app, tmp_path):
    show(browser, app)
    browser.press("b")
    browser.press("k")
    browser.press("Enter")
    for _ in range(3):
        browser.press("ArrowLeft", modifiers=8)
    browser.press("Enter")
    browser.wait(SAVED)
    mask = labels(tmp_path / "work")
    assert mask[60, 100] == 1 and mask[60, 107] == 1 and mask.sum() > 500
    browser.press("k")
    browser.press("ArrowRight")
    browser.wait("document.body.dataset.shown === '1'")
    browser.press("ArrowLeft")
    browser.press("f")
    browser.wait(COMPUTED)
    assert (app.studio.project.mask(1) == 1).any()


def test_twelve_objects_have_keys_and_the_chosen_one_is_in_view(browser, app, tmp_path):
    for _ in range(11):
        app.studio.project.add_object()
    show(browser, app, height=600)
    for typed, place in (("12", 12), ("3", 3), (".", 4), (",", 3), ("11", 11)):
        browser.press("b")  # any other key ends a number
        browser.type(typed)
        chosen = f"#objects li:nth-child({place})"
        assert browser.run("document.querySelectorAll('[aria-current]').length") == 1
        assert browser.run(f"document.querySelector('{chosen}').ariaCurrent") == "true"
        _, top, _, height = browser.box("#objects")
        _, y, _, tall = browser.box(chosen)
        assert top - 1 <= y and y + tall <= top + height + 1
    paint(browser, (20, 20), (40, 20))
    assert labels(tmp_path / "work")[20, 30] == 11
    browser.click("#objects li:nth-child(9) input")
    assert browser.run("document.querySelector('[aria-current]').dataset.id") == "9"


# ---------------------------------------------------------------- large frames


@pytest.mark.parametrize("size", [(854, 480), (3840, 2160)])
def test_brushes_grow_with_the_video(browser, model, tmp_path, size):
    from page_world import App
    from PIL import Image

    (tmp_path / "clip").mkdir()
    Image.new("RGB", size, (90, 120, 150)).save(tmp_path / "clip" / "00000.jpg")
    app = App(model, tmp_path / "work", tmp_path / "clip")
    show(browser, app)
    assert float(browser.text("#sizeword")) == pytest.approx(size[1] / 20, abs=1)
    browser.press("b")
    browser.click("#size")
    for _ in range(40):
        browser.press("]")
    assert float(browser.text("#sizeword")) == pytest.approx(max(150, size[1] / 3), abs=1)
    box = browser.box("#canvas")
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    browser.drag((x - 100, y), *((x - 100 + 5 * n, y) for n in range(40)))
    browser.wait(SAVED)
    mask = labels(tmp_path / "work")
    assert mask[size[1] // 2, size[0] // 2] == 1 and mask[5, 5] == 0
    browser.press("z", **UNDO)
    browser.wait(SAVED)
    assert not labels(tmp_path / "work").any()
    app.end()


def test_the_wheel_zooms_and_fit_shows_the_whole_frame(browser, app):
    show(browser, app)
    whole = browser.text("#zoom")
    x, y = at(browser, 50, 50)
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-400)
    browser.wait(f"document.querySelector('#zoom').textContent !== '{whole}'")
    assert int(browser.text("#zoom")[:-1]) > int(whole[:-1])
    browser.click("#fit")
    assert browser.text("#zoom") == whole
