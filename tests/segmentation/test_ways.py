"""Masks forward, backward and both ways; runs that were stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from method_world import save_weights
from PIL import Image
from scenes import scene, write_video

import mamp
from mamp.core.errors import UserError
from mamp.segmentation import unfinished
from mamp.segmentation.segment import segment
from mamp.segmentation.stream import GivenMask
from mamp.segmentation.ways import Plan, nearer
from mamp.video.export import Wish
from mamp.video.masks import read_mask, write_mask
from mamp.video.parts import Part

COUNT = 8
QUICK = ["method.propagation.short_side=null", "method.propagation.radius=4"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, write_clip) -> Path:
    """The video `clip` with two objects, and weights of a small network."""
    root = tmp_path_factory.mktemp("world")
    write_clip(root, "clip", seed=3, frames=COUNT, size=(48, 64))
    save_weights(root / "small.safetensors", {"name": "mamp", "encoder": {"width": 0.125}})
    return root


@pytest.fixture(scope="module")
def model(world: Path) -> mamp.segmentation.model.Model:
    return mamp.load(world / "small.safetensors", device="cpu", overrides=QUICK)


def masks_at(world: Path, folder: Path, frames: dict[int, tuple[int, ...]]) -> Path:
    """A folder with the true masks of some frames, of some objects."""
    folder.mkdir()
    for t, ids in frames.items():
        labels = read_mask(world / "Annotations" / "clip" / f"{t:05d}.png")
        write_mask(folder / f"{t:05d}.png", np.where(np.isin(labels, ids), labels, 0))
    return folder


def run(world: Path, masks: Path, out: Path, model, **options) -> dict[str, np.ndarray]:
    segment(world / "JPEGImages" / "clip", masks, out, model.segmenter, quiet=True, **options)
    return {path.stem: read_mask(path) for path in sorted(out.iterdir())}


def test_a_mask_in_the_middle_is_carried_both_ways_as_two_runs_do(world, model, tmp_path):
    masks = masks_at(world, tmp_path / "given", {3: (1, 2)})
    both = run(world, masks, tmp_path / "both", model)
    ahead = run(world, masks, tmp_path / "forward", model, direction="forward")
    behind = run(world, masks, tmp_path / "backward", model, direction="backward")
    assert list(both) == [f"{t:05d}" for t in range(COUNT)]
    for t, name in enumerate(both):
        np.testing.assert_array_equal(both[name], (ahead if t >= 3 else behind)[name])
    assert both["00000"].any() and not ahead["00002"].any() and not behind["00004"].any()


def test_between_two_masks_each_object_follows_the_nearer_one(world, model, tmp_path):
    masks = masks_at(world, tmp_path / "given", {1: (1,), 6: (1, 2)})
    both = run(world, masks, tmp_path / "both", model, direction="both")
    ahead = run(world, masks, tmp_path / "forward", model, direction="forward")
    behind = run(world, masks, tmp_path / "backward", model, direction="backward")
    for t, name in enumerate(both):
        only = 1 if t <= 3 else None  # object 1: frames 1 to 3 are nearer to 1 than to 6
        if t >= 6:
            expected = ahead[name]
        elif t < 1 or only is None:
            expected = behind[name]
        else:
            one, two = ahead[name] == 1, behind[name] == 2
            expected = np.where(one, 1, np.where(two, 2, 0))
        np.testing.assert_array_equal(both[name], expected)


def test_the_nearer_object_wins_a_pixel_and_forward_of_equals():
    row = np.array([[0, 1, 1, 2]], np.uint8)
    plan = Plan({}, {0: {1}, 6: {2}}, "both")
    for index, expected in ((2, [[2, 1, 1, 0]]), (4, [[2, 2, 1, 0]]), (3, [[2, 1, 1, 0]])):
        labels, sure = nearer(plan, index, (row, {1: 0.5}), (np.array([[2, 2, 0, 1]], np.uint8), {2: 0.7}))
        np.testing.assert_array_equal(labels, expected)
        assert sure == {1: 0.5, 2: 0.7}


@pytest.mark.parametrize(
    ("first", "direction", "chosen"),
    [(0, None, "forward"), (2, None, "both"), (2, "forward", "forward"), (0, "backward", "backward")],
)
def test_both_ways_is_the_default_where_the_first_object_comes_later(first, direction, chosen):
    empty = GivenMask("empty", lambda: np.zeros((2, 2), np.uint8))
    full = GivenMask("full", lambda: np.ones((2, 2), np.uint8))
    assert Plan.of({0: empty, first: full}, direction).direction == chosen


def test_a_continued_run_counts_what_was_finished(world, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_PART", 0)
    video, masks = world / "JPEGImages" / "clip", masks_at(world, tmp_path / "given", {3: (1, 2)})
    make, _ = stop_after(model, 6)
    with pytest.raises(Stopped):
        segment(video, masks, tmp_path / "out", make, quiet=True)
    timing = segment(video, masks, tmp_path / "out", model.segmenter)
    said = capsys.readouterr().err
    assert "clip: 4 frames were finished before" in said and "clip: 2 frames were finished before" in said
    assert "9 of 9 steps" in said and timing.frames == 3


def test_an_unknown_direction_is_refused():
    with pytest.raises(UserError, match="direction up is not known; use one of both, forward, backward"):
        Plan.of({}, "up")


# ---------------------------------------------------------------- stopped and continued


class Stopped(BaseException):
    pass


def stop_after(model, steps: int):
    """The model's segmenters, which end the process, as it were, after so many steps of them all."""
    left = [steps]

    def make():
        segmenter = model.segmenter()
        step = segmenter.step

        def counted(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Stopped
            return step(*args, **kwargs)

        segmenter.step = counted
        return segmenter

    return make, left


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("steps", [1, 6, 9])
@pytest.mark.parametrize("method", ["mamp", "budget", "coarse"])
def test_a_stopped_run_goes_on_to_the_same_files(world, tmp_path, monkeypatch, steps, method):
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_PART", 0)
    knobs = {
        "mamp": [],
        "budget": ["method.propagation.memory=budget", "method.propagation.budget_mb=0.5"],
        "coarse": ["method.motion.source=coarse"],  # its state is not kept: it begins again
    }[method]
    model = mamp.load(world / "small.safetensors", device="cpu", overrides=[*QUICK, *knobs])
    video, masks = world / "JPEGImages" / "clip", masks_at(world, tmp_path / "given", {3: (1, 2), 5: (1,)})
    tables = [[Wish("csv", tmp_path / f"{name}.csv")] for name in ("whole", "out")]
    segment(video, masks, tmp_path / "whole", model.segmenter, save=tables[0], quiet=True)
    make, _ = stop_after(model, steps)
    with pytest.raises(Stopped):
        segment(video, masks, tmp_path / "out", make, save=tables[1], quiet=True)
    again, left = stop_after(model, 100)
    segment(video, masks, tmp_path / "out", again, save=tables[1], quiet=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    whole, out = ((tmp_path / f"{name}.csv").read_text() for name in ("whole", "out"))
    assert whole == out and ",1.0000\n" in whole and ",\n" not in whole
    total = 6 + 5  # five down to 0, three up to 7
    assert 100 - left[0] == (total if method == "coarse" else total - steps)


SMALL = {"backbone": "resnet18", "width": 0.125, "key": 8, "value": 8, "decoder": 8}


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("stm", SMALL),
        ("afb_urr", {**SMALL, "local": 4}),
        ("ssm", {"backbone": "resnet18", "width": 0.125, "top_k": 8, "decoder": 8, "context": "centred"}),
    ],
)
def test_every_method_goes_on_to_the_same_files(world, tmp_path, monkeypatch, name, network):
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_PART", 0)
    save_weights(tmp_path / "w.safetensors", {"name": name, "network": network})
    size = ["method.propagation.input_size=[64, 80]"] if name == "ssm" else []
    model = mamp.load(tmp_path / "w.safetensors", device="cpu", overrides=size)
    video, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    part = Part(max_frames=4)
    segment(video, mask, tmp_path / "whole", model.segmenter, part=part, quiet=True)
    make, _ = stop_after(model, 3)
    with pytest.raises(Stopped):
        segment(video, mask, tmp_path / "out", make, part=part, quiet=True)
    again, left = stop_after(model, 100)
    segment(video, mask, tmp_path / "out", again, part=part, quiet=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert 100 - left[0] == 1


def test_an_unfinished_run_with_other_settings_is_refused_unless_redone(world, model, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_PART", 0)
    video, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    make, _ = stop_after(model, 4)
    part = Part(max_frames=5)
    with pytest.raises(Stopped):
        segment(video, mask, tmp_path / "out", make, part=part, quiet=True)
    for options, named in (
        ({"part": Part(max_frames=6)}, r"another frames\.count \(5 there, 6 now\)"),
        ({"direction": "both"}, r"another direction \(forward there, both now\)"),
        ({"run_info": {"weights": 2}}, r"another model\.weights"),
    ):
        options = {"part": part, **options}
        with pytest.raises(UserError, match=f"holds an unfinished run with {named}.*--redo"):
            segment(video, mask, tmp_path / "out", model.segmenter, quiet=True, **options)
    segment(video, mask, tmp_path / "out", model.segmenter, part=part, redo=True, quiet=True)
    assert not (tmp_path / "out" / unfinished.NAME).exists()


def test_a_damaged_state_means_to_begin_again(world, model, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_PART", 0)
    video, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    segment(video, mask, tmp_path / "whole", model.segmenter, quiet=True)
    make, _ = stop_after(model, 4)
    with pytest.raises(Stopped):
        segment(video, mask, tmp_path / "out", make, quiet=True)
    state = tmp_path / "out" / unfinished.NAME / "forward.pt"
    state.write_bytes(state.read_bytes()[:500])
    segment(video, mask, tmp_path / "out", model.segmenter, quiet=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_film_of_a_continued_run_has_every_frame(world, model, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_PART", 0)
    video, mask = world / "JPEGImages" / "clip", world / "Annotations" / "clip" / "00000.png"
    whole, film = tmp_path / "whole.mp4", tmp_path / "film.mp4"
    segment(video, mask, tmp_path / "whole", model.segmenter, overlay=whole, quiet=True)
    make, _ = stop_after(model, 5)
    with pytest.raises(Stopped):
        segment(video, mask, tmp_path / "out", make, overlay=film, quiet=True)
    segment(video, mask, tmp_path / "out", model.segmenter, overlay=film, quiet=True)
    assert film.read_bytes() == whole.read_bytes()


# ---------------------------------------------------------------- in Python


def test_python_has_the_same_parts_and_directions(make_segmenter, tmp_path):
    from mamp.segmentation.model import Model

    model = type("Colour", (Model,), {"segmenter": lambda self: make_segmenter()})(None, None, None)
    frames = [scene(t)[0] for t in range(COUNT)]
    found = dict(mamp.segment_video(frames, scene(4)[1], weights=model, start=2, end=6, at=4))
    assert list(found) == [2, 3, 4, 5, 6]
    for t, labels in found.items():
        np.testing.assert_array_equal(labels, scene(t)[1])
    ahead = mamp.segment_video(frames, scene(4)[1], weights=model, at=4, direction="forward")
    assert [labels.any() for _, labels in ahead] == [t >= 4 for t in range(COUNT)]
    some = mamp.segment_video(iter(frames), scene(1)[1], weights=model, start=1, every=3, max_frames=2)
    assert [number for number, _ in some] == [1, 4]
    with pytest.raises(UserError, match="carried forward from the first one; give a list for direction=both"):
        mamp.segment_video(iter(frames), scene(0)[1], weights=model, direction="both")
    with pytest.raises(UserError, match="start='1:02' needs a video file"):
        mamp.segment_video(frames, scene(0)[1], weights=model, start="1:02")
    with pytest.raises(UserError, match="at=9 is not among the frames"):
        mamp.segment_video(frames, scene(0)[1], weights=model, at=9)


def test_a_file_gives_in_python_what_the_command_writes(world, model, tmp_path):
    video = world / "JPEGImages" / "clip"
    masks = masks_at(world, tmp_path / "given", {4: (1, 2)})
    written = run(world, masks, tmp_path / "out", model, part=Part(2, "00006", 2))
    found = dict(mamp.segment_video(video, masks, weights=model, start=2, end="00006", every=2))
    assert list(found) == list(written) == ["00002", "00004", "00006"]
    for name, labels in found.items():
        np.testing.assert_array_equal(labels, written[name])


def test_frames_before_a_skipped_bad_one_are_there(make_segmenter, tmp_path):
    frames = write_video(tmp_path)
    (frames / "00001.jpg").write_bytes(b"")
    masks = tmp_path / "given"
    masks.mkdir()
    shutil.copy(tmp_path / "Annotations" / "clip" / "00003.png", masks)
    out = tmp_path / "out"
    segment(frames, masks, out, make_segmenter, bad_frame="skip", quiet=True)
    assert [path.stem for path in sorted(out.iterdir())] == ["00000", "00002", "00003", "00004", "00005"]
    np.testing.assert_array_equal(read_mask(out / "00000.png"), scene(0)[1])
    assert Image.open(out / "00000.png").mode == "P"
