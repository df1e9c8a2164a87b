"""Runs over a video: the same masks as the command line, from any frame, each frame no more often than
needed.
"""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from app_world import FRAMES, QUICK, SIZE

from mamp.app.engine import Engine, Kept
from mamp.cli import main
from mamp.core.errors import UserError
from mamp.segmentation.model import load
from mamp.segmentation.segmenter import Segmenter
from mamp.video.frames import open_frames
from mamp.video.masks import read_mask


def run(engine: Engine, index: int, direction="forward") -> None:
    engine.start(index, direction)
    engine.wait(60)
    assert not engine.status.running and not engine.status.error


def by_command(project, video, small_weights, out) -> list[np.ndarray]:
    words = ["segment", video, "--mask", project.folder / "drawn", "--out", out, "--weights", small_weights]
    words += ["--direction", "forward"]  # as the page's runs that these are held against
    assert main([*map(str, words), "--device", "cpu", "--quiet", *QUICK]) == 0
    return [read_mask(out / f"{i:05d}.png") for i in range(FRAMES)]


def steps(engine: Engine, monkeypatch) -> list[int]:
    """How many frames each segmenter is given from now on."""
    counted: list[int] = []
    step = Segmenter.step
    monkeypatch.setattr(Segmenter, "step", lambda self, *a, **k: counted.append(1) or step(self, *a, **k))
    return counted


def test_masks_equal_those_of_the_command(engine, project, drawn, video, small_weights, tmp_path):
    project.draw(1, drawn)
    run(engine, 1)
    expected = by_command(project, video, small_weights, tmp_path / "out")
    for index in range(FRAMES):
        np.testing.assert_array_equal(project.mask(index), expected[index])
        assert index == 0 or set(np.unique(project.mask(index)).tolist()) == {0, 1, 2}
    assert [frame.kind for frame in project.frames()] == ["", "drawn", *["forward"] * 5]


@pytest.mark.parametrize("kept_mb", [1000, 0])
def test_after_a_correction_too_and_only_what_follows_it_is_computed(
    project, model, drawn, video, small_weights, tmp_path, monkeypatch, kept_mb
):
    engine = Engine(project, open_frames(video), model.segmenter, kept_mb=kept_mb)
    project.draw(0, drawn)
    run(engine, 0)
    before = [project.mask(i) for i in range(FRAMES)]
    corrected = np.roll(drawn, 3, axis=0)
    counted = steps(engine, monkeypatch)
    engine.edit(4, lambda: project.draw(4, corrected))
    run(engine, 4)
    assert len(counted) == (FRAMES - 4 if kept_mb else FRAMES)
    assert engine.status.done == FRAMES - 4 and engine.status.replayed == len(counted) - engine.status.done
    expected = by_command(project, video, small_weights, tmp_path / "out")
    for index in range(FRAMES):
        np.testing.assert_array_equal(project.mask(index), expected[index])
        assert index >= 4 or (project.mask(index) == before[index]).all()
    assert not any(frame.stale for frame in project.frames())


def test_an_object_left_out_of_a_drawing_is_nowhere_in_it_and_followed_on(engine, project, drawn):
    project.draw(0, drawn)
    project.draw(2, np.where(drawn == 2, 0, drawn))
    run(engine, 0)
    assert np.unique(project.mask(2)).tolist() == [0, 1]
    assert any((project.mask(i) == 2).any() for i in range(3, FRAMES))


def test_a_run_backward_begins_at_the_next_drawing_and_goes_to_the_first_frame(engine, project, drawn):
    project.draw(5, drawn)
    run(engine, 3, "backward")
    assert [frame.kind for frame in project.frames()] == [*["backward"] * 5, "drawn", ""]
    assert engine.status.replayed == engine.status.passing == 2
    run(engine, 5, "backward")
    assert project.frame(4).kind == "backward"


def test_locked_frames_stay_as_they_are(engine, project, drawn):
    project.draw(0, drawn)
    project.write(2, np.zeros(SIZE, np.uint8), kind="forward", unsure={1: 0.0})
    project.lock([2], locked=True)
    run(engine, 0)
    assert not project.mask(2).any() and project.mask(3).any()


def test_frames_that_a_run_passes_get_the_masks_they_lack(engine, project, drawn):
    project.draw(0, drawn)
    project.write(1, np.zeros(SIZE, np.uint8), kind="backward", unsure={1: 0.0})
    run(engine, 4)
    assert [frame.kind for frame in project.frames()] == ["drawn", "backward", *["forward"] * 5]
    assert not project.mask(1).any() and project.mask(2).any()
    assert (engine.status.replayed, engine.status.passing, engine.status.done) == (4, 4, 3)


def test_a_stop_keeps_the_frame_at_work_and_says_so_at_once(engine, project, drawn, monkeypatch):
    begun, let_go = held_up(monkeypatch)
    project.draw(0, drawn)
    project.draw(1, drawn)
    engine.start(0, "forward")
    assert begun.wait(60)
    engine.stop()
    assert engine.as_json()["stopping"] and engine.as_json()["running"]
    let_go.set()
    engine.wait(60)
    assert engine.status.done == 1 and engine.status.last == 0 and not engine.status.stopping
    assert engine.status.changed is None


def test_a_run_stops_after_the_frame_at_work_and_goes_on_from_there(
    engine, on_change, project, drawn, video, small_weights, tmp_path
):
    project.draw(0, drawn)
    reached = threading.Event()
    on_change.append(lambda: engine.status.done == 3 and (engine.stop(), reached.set()))
    run(engine, 0)
    assert reached.is_set() and engine.status.done == 3
    assert [frame.kind for frame in project.frames()][:4] == ["drawn", "forward", "forward", ""]
    on_change.clear()
    run(engine, 3)
    assert engine.status.replayed == 0
    expected = by_command(project, video, small_weights, tmp_path / "out")
    for index in range(FRAMES):
        np.testing.assert_array_equal(project.mask(index), expected[index])


def test_a_drawing_behind_a_run_ends_it(engine, on_change, project, drawn, video, small_weights, tmp_path):
    project.draw(0, drawn)

    def draw_behind() -> None:
        on_change.clear()
        engine.edit(1, lambda: project.draw(1, np.roll(drawn, 2, axis=1)))

    on_change.append(lambda: engine.status.done == 3 and draw_behind())
    run(engine, 0)
    assert engine.status.done == 3 and project.frame(2).stale and engine.status.changed == 1
    run(engine, 1)
    expected = by_command(project, video, small_weights, tmp_path / "out")
    for index in range(FRAMES):
        np.testing.assert_array_equal(project.mask(index), expected[index])


def held_up(monkeypatch) -> tuple[threading.Event, threading.Event]:
    """Segmenters whose first step waits: (it has begun, let it go on)."""
    begun, let_go = threading.Event(), threading.Event()
    step = Segmenter.step

    def waits(self, *args, **kwargs):
        begun.set()
        assert let_go.wait(60)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Segmenter, "step", waits)
    return begun, let_go


def test_a_change_of_all_frames_is_refused_while_a_run_has_not_ended(engine, project, drawn, monkeypatch):
    begun, let_go = held_up(monkeypatch)
    project.draw(0, drawn)
    engine.start(0, "forward")
    assert begun.wait(60)
    with pytest.raises(UserError, match="has not ended within 0.05 s, and nothing was removed"):
        engine.edit_all(lambda: project.remove_object(1), patience=0.05)
    assert [o.id for o in project.objects] == [1, 2] and (project.mask(0) == drawn).all()
    let_go.set()
    engine.wait(60)
    engine.edit_all(lambda: project.remove_object(1))
    assert all(1 not in project.mask(i) for i in range(FRAMES))


def test_no_run_begins_between_the_end_of_one_and_a_change_of_all_frames(
    engine, on_change, project, drawn, monkeypatch
):
    begun, let_go = held_up(monkeypatch)
    refused: list[str] = []
    stop, stopped = engine.stop, threading.Event()
    monkeypatch.setattr(engine, "stop", lambda: (stop(), stopped.set()))

    def begin() -> None:
        for again in (lambda: engine.start(0, "forward"), lambda: engine.edit_all(lambda: None)):
            try:
                again()
            except UserError as error:
                refused.append(str(error))

    project.draw(0, drawn)
    engine.start(0, "forward")
    assert begun.wait(60)
    on_change.append(lambda: engine.status.running or not project.objects[1:] or begin())  # at the run's end
    removing = threading.Thread(target=engine.edit_all, args=(lambda: project.remove_object(1),))
    removing.start()
    assert stopped.wait(60)
    let_go.set()
    removing.join(60)
    assert refused == [
        "an object is being removed; wait for that",
        "an object is being removed already; wait for that",
    ]
    assert [o.id for o in project.objects] == [2] and not engine.status.running
    on_change.clear()
    run(engine, 0)
    assert all(1 not in project.mask(i) for i in range(FRAMES))


@pytest.mark.parametrize(("index", "direction"), [(0, "forward"), (4, "backward")])
def test_without_a_drawing_to_begin_with_there_is_no_run(engine, project, drawn, index, direction):
    project.draw(2, drawn)
    project.draw(5, np.zeros(SIZE, np.uint8))
    with pytest.raises(UserError, match="draw one first"):
        engine.start(index, direction)


def test_a_bad_frame_ends_the_run_with_its_name(project, model, drawn, video, tmp_path):
    source = open_frames(shutil.copytree(video, tmp_path / "clip"))
    (tmp_path / "clip" / "00004.jpg").write_bytes(b"no picture")
    engine = Engine(project, source, model.segmenter)
    project.draw(0, drawn)
    engine.start(0, "forward")
    engine.wait(60)
    assert "00004.jpg" in engine.status.error and project.frame(3).kind == "forward"


def held(kept: Kept) -> dict[int, Segmenter]:
    """What is kept, by the frame that each goes on from."""
    found = (kept.before(index) for index in range(1, FRAMES + 1))
    return dict(one for one in found if one is not None)


def test_what_is_kept_to_go_on_from_is_bounded(model, drawn, video):
    kept, segmenter = Kept(40_000), model.segmenter()
    with open_frames(video) as source:
        for index, frame in source.stream():
            segmenter.step(frame, drawn if index == 0 else None)
            kept.keep(index, segmenter)
            assert kept.bytes <= 40_000 or len(held(kept)) == 1
    found = kept.before(FRAMES)
    assert found is not None and found[0] == FRAMES - 1


def test_what_is_kept_is_counted_once_and_not_anew_for_each_frame(model, drawn, video, monkeypatch):
    kept, segmenter, counted = Kept(60_000), model.segmenter(), []
    with open_frames(video) as source:
        for index, frame in source.stream():
            segmenter.step(frame, drawn if index == 0 else None)
            kept.keep(index, segmenter)
            sizes = {t.data_ptr(): t.nbytes for one in held(kept).values() for t in one.tensors()}
            assert kept.bytes == sum(sizes.values()) > 0
    kept.drop_from(0)
    assert kept.bytes == 0 and not held(kept)
    tensors, kept = Segmenter.tensors, Kept(10**9)
    monkeypatch.setattr(Segmenter, "tensors", lambda self: counted.append(1) or tensors(self))
    for index in range(20):
        kept.keep(index, segmenter)
    assert len(counted) == 20


def test_a_twin_goes_on_as_the_first_one_does(model, drawn, video):
    segmenter = model.segmenter()
    with open_frames(video) as source:
        frames = [source[i] for i in range(5)]
    segmenter.step(frames[0], drawn)
    segmenter.step(frames[1])
    twin = segmenter.twin()
    late = np.zeros(SIZE, np.uint8)
    late[:4, :9] = 3
    twin.step(frames[2], late)  # a new object in the twin is none in the first
    twin.step(frames[3])
    other = segmenter.twin()
    for frame in frames[2:]:
        np.testing.assert_array_equal(segmenter.step(frame), other.step(frame))
    assert segmenter.ids == [1, 2] and twin.ids == [1, 2, 3]


def test_a_method_that_keeps_more_than_features_has_no_twin_and_is_stepped_again(
    project, small_weights, drawn, video
):
    model = load(small_weights, device="cpu", overrides=[*QUICK, "method.motion.source=coarse"])
    engine = Engine(project, open_frames(video), model.segmenter)
    project.draw(0, drawn)
    run(engine, 0)
    run(engine, 5)
    assert engine.status.replayed == 5 and engine.status.done == 2


@pytest.mark.parametrize(
    ("index", "direction", "until", "kinds"),
    [(2, "forward", 3, "dfff..."), (0, "forward", 1, "df....."), (5, "backward", 4, "....bd.")],
)
def test_a_run_ends_where_it_is_to(engine, project, drawn, index, direction, until, kinds):
    project.draw(kinds.index("d"), drawn)
    engine.start(index, direction, until=until)
    engine.wait(60)
    told = "".join(frame.kind[:1] or "." for frame in project.frames())
    assert told == kinds and engine.status.done == engine.status.total == 2
    engine.start(index, direction)  # and goes on from there
    engine.wait(60)
    assert not engine.status.error


def test_a_run_cannot_end_before_it_begins(engine, project, drawn):
    project.draw(3, drawn)
    for direction, until in (("forward", 2), ("backward", 4)):
        with pytest.raises(UserError, match="cannot end at frame"):
            engine.start(3, direction, until=until)
