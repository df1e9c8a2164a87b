"""Flow alone: masks go where flow says, by every source, direction and way of remembering."""

from __future__ import annotations

import builtins
import itertools

import numpy as np
import pytest
import torch
from clips import SIZE, masks
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import write_video
from torch import Tensor, nn

import mamp
from mamp import config, methods, weights
from mamp.cli import main
from mamp.core.errors import UserError
from mamp.methods.base import Motion
from mamp.methods.flow.config import FlowConfig
from mamp.methods.flow.propagator import FlowPropagator, filled, splat
from mamp.propagation.warping import look_up
from mamp.segmentation.segmenter import Segmenter
from mamp.video.masks import read_mask
from mamp.video.synthetic import SyntheticClip, render_clip

DIRECTIONS, CHAINED = ("lookup", "splat"), ("false", "true")
WAYS = list(itertools.product(DIRECTIONS, CHAINED))
ways = pytest.mark.parametrize(("direction", "chain"), WAYS)
BLANK = torch.zeros(3, *SIZE)


def method(*knobs: str) -> FlowConfig:
    found = config.load(None, ["method=flow", *(f"method.propagation.{knob}" for knob in knobs)]).method
    assert isinstance(found, FlowConfig)
    return found


def way(direction: str, chain: str, *more: str) -> FlowConfig:
    return method(f"direction={direction}", f"chain={chain}", *more)


class Shift(Motion):
    """All that is seen moves by (x, y) pixels a frame."""

    def __init__(self, x: float, y: float) -> None:
        self.step = torch.tensor([x, y], dtype=torch.float32).view(2, 1, 1)
        self.held: list[int] = []

    def see(self, index: int, frame: Tensor) -> None:
        self.held.append(index)
        self.size = frame.shape[-2:]

    def flow(self, query: int, memory: int) -> Tensor | None:
        return (memory - query) * self.step.expand(2, *self.size)

    def forget(self, index: int) -> None:
        self.held.remove(index)


class Exact(Motion):
    """The flow that a rendered clip was made with, from each frame to the one before."""

    def __init__(self, clip: SyntheticClip) -> None:
        self.clip = clip

    def see(self, index: int, frame: Tensor) -> None:
        pass

    def flow(self, query: int, memory: int) -> Tensor | None:
        assert memory == query - 1
        return torch.from_numpy(self.clip.flow[memory])

    def forget(self, index: int) -> None:
        pass


def carrier(knobs: FlowConfig, motion: Motion | None = None) -> FlowPropagator:
    return FlowPropagator(nn.Identity(), knobs, motion=motion)


def moved(mask: Tensor, x: int, y: int) -> Tensor:
    """The mask moved by whole pixels, nothing coming in from outside."""
    return torch.roll(mask, (y, x), (-2, -1))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def worst(clip: SyntheticClip, knobs: FlowConfig, motion: Motion | None = None) -> float:
    """The smallest IoU of an object in a frame after the first."""
    segmenter = Segmenter(nn.Identity(), knobs, motion=motion)
    found = [segmenter.step(f, clip.labels[0] if t == 0 else None) for t, f in enumerate(clip.frames)]
    objects = range(1, int(clip.labels[0].max()) + 1)
    return min(iou(a == k, b == k) for a, b in zip(found, clip.labels, strict=True) for k in objects)


# ---------------------------------------------------------------- how masks move


@pytest.mark.parametrize("chain", CHAINED)
@pytest.mark.parametrize("seed", range(4))
def test_exact_flow_carries_masks_nearly_exactly(seed, chain):
    clip = render_clip(seed, frames=6, size=(97, 131), objects=2)
    seen = torch.ones(1, 97, 131)  # what showed in every frame so far, by the same flow
    segmenter = Segmenter(nn.Identity(), way("lookup", chain), motion=Exact(clip))
    segmenter.step(clip.frames[0], clip.labels[0])
    for t in range(1, 6):
        found = segmenter.step(clip.frames[t])
        seen = look_up(seen, torch.from_numpy(clip.flow[t - 1])) * torch.from_numpy(clip.visible[t - 1])
        there = seen[0].numpy() > 0.99
        for k in (1, 2):
            assert iou((found == k) & there, (clip.labels[t] == k) & there) > 0.95


@ways
def test_dis_follows_rendered_objects(direction, chain):
    clip = render_clip(0, frames=6, size=(128, 192), objects=2)
    assert worst(clip, way(direction, chain)) > 0.65


def test_matching_of_colours_follows_a_square_that_nothing_else_resembles():
    frames, truth = np.full((5, 64, 96, 3), 90, np.uint8), np.zeros((5, 64, 96), np.uint8)
    for t in range(5):
        box = np.s_[t, 16:48, 8 + 8 * t : 40 + 8 * t]
        frames[box], truth[box] = (200, 30, 30), 1
    segmenter = Segmenter(nn.Identity(), method("source=coarse", "coarse_pool=8"))
    for t, frame in enumerate(frames):
        found = segmenter.step(frame, truth[0] if t == 0 else None)
    assert iou(found == 1, truth[4] == 1) > 0.6


@ways
@pytest.mark.parametrize(("x", "y"), [(3, 0), (-2, 4), (0, -5)])
def test_whole_pixels_move_masks_exactly(direction, chain, x, y):
    first = masks((14, 20), (16, 6))
    one = carrier(way(direction, chain), Shift(x, y))
    one.start(BLANK, first)
    for t in (1, 2):
        found = one.step(BLANK)
        torch.testing.assert_close(found[1:], moved(first, t * x, t * y), atol=1e-4, rtol=0)


@pytest.mark.parametrize("chain", CHAINED)
def test_chained_masks_stay_sharp_where_half_pixels_would_blur_them(chain):
    one = carrier(way("lookup", chain), Shift(0.5, 0))
    one.start(BLANK, masks((14, 20)))
    for _ in range(8):
        found = one.step(BLANK)
    unsure = (found[1] > 0.01) & (found[1] < 0.99)
    assert bool(unsure.any()) is (chain == "false")


@pytest.mark.parametrize(("labels", "values"), [("soft", {0, 0.25, 0.75, 1}), ("hard", {0, 0.5, 1})])
def test_memory_keeps_probabilities_or_a_label_map(labels, values):
    one = carrier(method(f"labels={labels}"), Shift(0.5, 0))
    one.start(BLANK, masks((14, 20)))
    one.step(BLANK)
    found = one.step(BLANK)[1]
    assert {round(v, 3) for v in found.unique().tolist()} == values


def test_a_source_that_knows_no_motion_leaves_masks_where_they_are():
    still = Shift(0, 0)
    still.flow = lambda query, memory: None
    one = carrier(method(), still)
    one.start(BLANK, masks((14, 20)))
    torch.testing.assert_close(one.step(BLANK)[1:], masks((14, 20)))


@ways
def test_the_source_holds_one_frame_and_memory_does_not_grow(direction, chain):
    shift = Shift(0.3, 0.1)
    one = carrier(way(direction, chain), shift)
    one.start(BLANK, masks((14, 20)))
    held = set()
    for t in range(1, 12):
        one.step(BLANK)
        assert shift.held == [t]
        held.add(one.memory_bytes)
    assert held == {4 * (2 + 2) * SIZE[0] * SIZE[1]}


@ways
@pytest.mark.parametrize("source", ["dis", "coarse"])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (33, 18), (97, 31)])
def test_frames_of_any_size_give_probabilities(size, source, direction, chain):
    one = carrier(way(direction, chain, f"source={source}"))
    generator = torch.Generator().manual_seed(0)
    one.start(torch.rand(3, *size, generator=generator), torch.ones(1, *size))
    for _ in range(3):
        found = one.step(torch.rand(3, *size, generator=generator))
        assert found.shape == (2, *size) and found.min() >= 0
        torch.testing.assert_close(found.sum(0), torch.ones(size))


# ---------------------------------------------------------------- objects that come, change and go


@ways
def test_a_late_object_wins_its_pixels_and_leaves_the_others_alone(direction, chain):
    first, late = masks((14, 4)), masks((14, 34))
    one, alone = (carrier(way(direction, chain), Shift(1, 0)) for _ in range(2))
    for each in (one, alone):
        each.start(BLANK, first)
        each.step(BLANK)
    one.add(late)
    for t in (1, 2):
        found, expected = one.step(BLANK), alone.step(BLANK)
        torch.testing.assert_close(found[1], expected[1], atol=1e-4, rtol=0)
        torch.testing.assert_close(found[2], moved(late, t, 0)[0], atol=1e-4, rtol=0)
    covering = moved(first, 3, 0)
    one.add(covering)
    found = one.step(BLANK)
    assert found[1].max() < 1e-3
    torch.testing.assert_close(found[3], moved(covering, 1, 0)[0], atol=1e-4, rtol=0)


@ways
def test_a_corrected_mask_is_what_goes_on(direction, chain):
    right = masks((20, 30))
    one = carrier(way(direction, chain), Shift(0, 1))
    one.start(BLANK, masks((4, 4), (4, 34)))
    one.step(BLANK)
    one.correct(right, [0])
    for t in (1, 2, 3):
        found = one.step(BLANK)
        torch.testing.assert_close(found[1], moved(right, 0, t)[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(found[2], moved(masks((4, 34)), 0, t + 1)[0], atol=1e-4, rtol=0)


@ways
@pytest.mark.parametrize("given", [True, False])
def test_a_removed_object_becomes_background_and_later_ones_move_up(direction, chain, given):
    one = carrier(way(direction, chain), Shift(1, 0))
    one.start(BLANK, masks((4, 4), (20, 20)))
    one.step(BLANK)
    if given:
        one.add(masks((4, 24)))
    one.remove([0])
    for t in (1, 2):
        found = one.step(BLANK)
        assert len(found) == (3 if given else 2)
        torch.testing.assert_close(found[1], moved(masks((20, 20)), t + 1, 0)[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(found.sum(0), torch.ones(SIZE))


def test_nothing_comes_before_start():
    one = carrier(method())
    with pytest.raises(RuntimeError, match="start"):
        one.step(BLANK)
    with pytest.raises(RuntimeError, match="start"):
        one.correct(masks((4, 4)), [0])


@ways
@pytest.mark.parametrize("source", ["dis", "coarse"])
def test_a_twin_goes_on_by_itself(source, direction, chain):
    clip = render_clip(1, frames=6, size=(32, 48), objects=2)
    first, other = (Segmenter(nn.Identity(), way(direction, chain, f"source={source}")) for _ in range(2))
    for t in range(3):
        first.step(clip.frames[t], clip.labels[0] if t == 0 else None)
        other.step(clip.frames[t], clip.labels[0] if t == 0 else None)
    twin = first.twin()
    assert twin is not None and twin.tensors()
    for frame in clip.frames[:2]:  # the first goes another way, is corrected and loses an object
        first.step(frame, clip.labels[5])
    first.remove([1])
    for t in range(3, 6):
        np.testing.assert_array_equal(twin.step(clip.frames[t]), other.step(clip.frames[t]))


def test_with_a_source_that_has_no_twin_there_is_none():
    one = carrier(method(), Shift(1, 0))
    one.start(BLANK, masks((4, 4)))
    assert one.twin() is None


# ---------------------------------------------------------------- splatting


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9), st.floats(0, 30))
def test_whatever_the_flow_splatted_labels_are_probabilities(seed, height, width, reach):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(3, height, width, generator=generator).softmax(0)
    flow = reach * torch.randn(2, height, width, generator=generator)
    found = splat(labels, flow)
    assert found.min() >= 0 and found.max() < 1.001
    torch.testing.assert_close(found.sum(0), torch.ones(height, width))


def test_pixels_that_land_in_one_place_are_averaged():
    labels = torch.tensor([[[0.0, 1.0, 1.0]], [[1.0, 0.0, 0.0]]])
    found = splat(labels, torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]]))
    torch.testing.assert_close(found[:, 0, 1], torch.tensor([0.5, 0.5]))


def test_a_crack_takes_what_is_beside_it_and_a_larger_hole_is_background():
    landed = torch.zeros(2, 16, 24)
    landed[0, :, :12] = landed[1, :, 12:] = 1
    landed[:, :, 17] = landed[:, 8:12, 20:24] = 0
    found = filled(landed)
    assert (found[1, :, 17] == 1).all() and (found[0, 9:12, 21:24] == 1).all()
    assert torch.equal(found[:, :, :17], landed[:, :, :17])


def test_growing_things_have_no_cracks():
    mask = torch.zeros(1, 40, 40)
    mask[:, 10:30, 10:30] = 1
    rows = torch.arange(40.0) - 19.5
    flow = 0.4 * torch.stack((rows.expand(40, 40), rows.view(40, 1).expand(40, 40)))
    found = splat(torch.cat((1 - mask, mask)), flow)
    assert (found[1, 7:33, 7:33] > 0.5).all()


# ---------------------------------------------------------------- in use


def test_without_opencv_it_says_what_to_do(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(
        UserError, match=r'pip install "mamp\[opencv\]", or use method.propagation.source=coarse'
    ):
        carrier(method())
    carrier(method("source=coarse"))


def test_raft_without_weights_names_the_key():
    with pytest.raises(
        UserError, match=r"method.propagation.source=raft needs weights; .*propagation.weights="
    ):
        carrier(method("source=raft"))


def test_it_loads_without_weights_and_refuses_those_of_others():
    model = mamp.load(overrides=["method=flow"])
    assert model.config.method.name == "flow" and not list(model.network.parameters())
    with pytest.raises(UserError, match="method flow needs no weights; leave mamp-small out"):
        mamp.load("mamp-small", overrides=["method=flow"])


def test_it_is_not_trained(tmp_path, capsys):
    recipe = tmp_path / "flow.yaml"
    recipe.write_text("method:\n  name: flow\n")
    assert main(["train", str(recipe), "--run", str(tmp_path / "run"), "--device", "cpu"]) != 0
    assert "method flow is not trained; it needs no weights" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["task", "from_published", "widen"])
def test_what_it_lacks_has_one_sentence(part):
    with pytest.raises(UserError, match="^method flow .*; it needs no weights$"):
        methods.require("flow", part)


def test_a_checkpoint_of_it_is_not_converted(tmp_path):
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(
        UserError, match="method flow has no published checkpoints to convert; it needs no weights"
    ):
        weights.convert(tmp_path / "w.pth", tmp_path / "w.safetensors", method="flow")


def test_the_commands_take_it(tmp_path, monkeypatch):
    video = write_video(tmp_path / "set", frames=3)
    first = tmp_path / "set/Annotations/clip/00000.png"
    quiet = ["--device", "cpu", "--quiet"]
    words = ["segment", video, "--mask", first, "--out", tmp_path / "out", "method=flow"]
    assert main([str(word) for word in [*words, *quiet]]) == 0
    assert {1, 2} <= set(np.unique(read_mask(tmp_path / "out/00002.png")))
    words = [
        "evaluate",
        "folder",
        tmp_path / "set",
        "--split",
        "all",
        "--out",
        tmp_path / "scores",
        "method=flow",
    ]
    assert main([str(word) for word in [*words, *quiet]]) == 0
    np.testing.assert_array_equal(
        read_mask(tmp_path / "scores/masks/clip/00002.png"), read_mask(tmp_path / "out/00002.png")
    )
    served = []
    monkeypatch.setattr("mamp.app.run.serve", lambda model, **rest: served.append(model.config.method.name))
    assert main(["app", str(video), "--method", "flow", "--no-browser", "--device", "cpu"]) == 0
    assert served == ["flow"]
