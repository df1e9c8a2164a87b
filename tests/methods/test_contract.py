"""What every method of the registry keeps to: a new one is tested here by being in it.

Methods are small, with random weights (see small_methods.py): nothing here says that masks are good.
"""

from __future__ import annotations

from dataclasses import is_dataclass

import numpy as np
import pytest
import torch
from clips import SIZE, frames, masks
from runs import same_end
from small_methods import (
    NAMES,
    TRAINED,
    network,
    propagator,
    run_settings,
    settings,
    weights_if_needed,
    words,
    write_weights,
)
from torch import Tensor

from mamp import config, methods, weights
from mamp.cli import main
from mamp.core.errors import UserError
from mamp.methods.base import Propagator
from mamp.methods.task import Batch
from mamp.segmentation.segmenter import Segmenter
from mamp.training.engine import train
from mamp.video.masks import read_mask

SIZES = [(33, 47), (95, 18), (16, 24), (7, 5)]  # odd, tall, whole cells, hardly any
NUMBERS = [None, torch.bfloat16]  # float32, mixed precision
LATER = masks((20, 30))

in_turn = pytest.mark.parametrize("name", NAMES)
that_learns = pytest.mark.parametrize("name", TRAINED)


def every_method(test):
    """The test, of each method in turn, run as the segmenter runs methods."""
    return in_turn(torch.inference_mode()(test))


def stripes(count: int, size: tuple[int, int]) -> Tensor:
    """(count, H, W): objects one below the other, with background between them."""
    pixels = torch.arange(size[0] * size[1]).view(size)
    shared = pixels % 3 > 0
    return torch.stack([(pixels * count // pixels.numel() == k) & shared for k in range(count)]).float()


def assert_probabilities(found: Tensor, objects: int, size: tuple[int, int] = SIZE) -> None:
    assert found.shape == (objects + 1, *size)
    assert found.dtype == torch.float32
    assert found.isfinite().all() and found.min() >= 0
    torch.testing.assert_close(found.sum(0), torch.ones(size))


def begun(name: str, given: Tensor, *more: str) -> Propagator:
    """A propagator that has seen the first frame."""
    made = propagator(name, *more)
    made.start(frames(1)[0], given)
    return made


def carried(one: Propagator, count: int = 3) -> list[Tensor]:
    """Probabilities of the next frames."""
    return [one.step(frame) for frame in frames(count + 1)[1:]]


def assert_same(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ---------------------------------------------------------------- probabilities


@every_method
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("objects", [1, 12])
@pytest.mark.parametrize("size", SIZES)
def test_every_step_gives_probabilities_of_the_frames_size(name, size, objects, dtype):
    made, video = propagator(name, dtype=dtype), frames(3, size)
    made.start(video[0], stripes(objects, size))
    for frame in video[1:]:
        assert_probabilities(made.step(frame), objects, size)


@every_method
def test_an_object_whose_first_mask_is_empty_disturbs_nothing(name):
    made = begun(name, torch.cat((masks((4, 4)), torch.zeros(1, *SIZE))))
    for found in carried(made):
        assert_probabilities(found, 2)


@every_method
def test_the_same_video_gets_the_same_masks_whatever_else_is_segmented_meanwhile(name):
    alone = carried(begun(name, masks((4, 4), (20, 30))))
    one, other = begun(name, masks((4, 4), (20, 30))), begun(name, masks((10, 10)))
    found = []
    for frame in frames(4)[1:]:
        found.append(one.step(frame))
        other.step(1 - frame)
    assert same(found, alone)


@every_method
def test_what_is_given_is_not_written_to(name):
    video, given, later = frames(4), masks((4, 4), (20, 30)), masks((24, 4))
    kept = [x.clone() for x in (video, given, later)]
    made = propagator(name)
    made.start(video[0], given)
    made.step(video[1])
    made.correct(given, [0, 1])
    made.add(later)
    made.step(video[2])
    made.remove([0])
    made.step(video[3])
    assert same([video, given, later], kept)


@every_method
def test_what_was_returned_does_not_change_later(name):
    made = begun(name, masks((4, 4), (20, 30)))
    first = made.step(frames(2)[1])
    kept = first.clone()
    made.correct(LATER, [0])
    made.remove([1])
    made.step(frames(3)[2])
    assert torch.equal(first, kept)


# ---------------------------------------------------------------- objects that come, go and are corrected


@every_method
def test_objects_come_and_go_and_are_corrected(name):
    made, video = begun(name, masks((4, 4), (20, 30))), frames(6)
    made.step(video[1])
    made.correct(masks((6, 6)), [1])
    made.add(masks((24, 4), (2, 40)))
    assert_probabilities(made.step(video[2]), 4)
    made.remove([0, 2])
    assert_probabilities(made.step(video[3]), 2)
    made.correct(masks((8, 8), (20, 30)), [1, 0])
    made.remove([0])
    made.add(masks((24, 4)))
    assert_probabilities(made.step(video[4]), 2)
    assert_probabilities(made.step(video[5]), 2)


@every_method
def test_objects_given_one_after_the_other_are_as_those_given_at_once(name):
    together, apart = begun(name, masks((4, 4), (20, 30))), begun(name, masks((4, 4)))
    apart.add(LATER)
    assert_same(carried(apart), carried(together))


@every_method
@pytest.mark.parametrize("shown", [True, False])
def test_an_object_removed_at_once_is_as_one_that_was_never_given(name, shown):
    without, removed = begun(name, LATER), begun(name, torch.cat((shown * masks((4, 4)), LATER)))
    removed.remove([0])
    assert_same(carried(removed), carried(without))


@every_method
def test_a_mask_corrected_at_once_is_as_one_that_was_right(name):
    right, corrected = begun(name, LATER), begun(name, masks((4, 4)))
    corrected.correct(LATER, [0])
    assert_same(carried(corrected), carried(right))


@every_method
def test_a_correction_names_its_objects_in_any_order(name):
    given, made = masks((6, 6), (22, 28)), []
    for order in ([0, 1], [1, 0]):
        one = begun(name, masks((4, 4), (20, 30)))
        one.step(frames(2)[1])
        one.correct(given[order], order)
        made.append(carried(one))
    assert_same(*made)


@every_method
def test_the_order_of_objects_is_of_no_account(name):
    boxes, video = [(4, 4), (20, 30), (24, 4)], frames(7)
    one, other = begun(name, masks(*boxes)), begun(name, masks(*boxes[::-1]))
    for frame in video[1:3]:
        assert_same([one.step(frame)], [other.step(frame)[[0, 3, 2, 1]]])
    one.remove([0])
    other.remove([2])
    assert_same([one.step(video[3])], [other.step(video[3])[[0, 2, 1]]])
    for made in (one, other):
        made.add(masks((4, 4)))
    assert_same([one.step(video[4])], [other.step(video[4])[[0, 2, 1, 3]]])
    one.correct(masks((22, 28)), [0])
    other.correct(masks((22, 28)), [1])
    for frame in video[5:]:
        assert_same([one.step(frame)], [other.step(frame)[[0, 2, 1, 3]]])


@every_method
def test_an_object_that_is_hidden_by_a_correction_is_followed_on(name):
    made, video = begun(name, masks((4, 4), (20, 30))), frames(3)
    made.step(video[1])
    made.correct(torch.cat((LATER, torch.zeros(1, *SIZE))), [0, 1])
    assert_probabilities(made.step(video[2]), 2)


# ---------------------------------------------------------------- memory


@every_method
def test_memory_is_bounded_over_sixty_frames(name):
    made, size = propagator(name), (16, 24)
    video = frames(61, size)
    made.start(video[0], masks((0, 0), (4, 10), size=size))
    held = []
    for frame in video[1:]:
        made.step(frame)
        held.append(made.memory_bytes)
    assert 0 < max(held[30:]) <= max(held[:30])


@every_method
def test_nothing_is_held_before_the_first_frame(name):
    made = propagator(name)
    assert made.memory_bytes == 0
    assert list(made.tensors()) == []


@every_method
def test_memory_of_an_object_goes_with_it(name):
    made = begun(name, masks((4, 4), (20, 30)))
    carried(made)
    before = made.memory_bytes
    made.remove([1])
    assert made.memory_bytes < before


@every_method
def test_a_twin_goes_on_by_itself_and_gives_the_same(name):
    made, undisturbed, video = *(begun(name, masks((4, 4), (20, 30))) for _ in range(2)), frames(6)
    for one in (made, undisturbed):
        one.step(video[1])
        one.step(video[2])
    twin = made.twin()
    if twin is None:
        return
    assert twin.memory_bytes == made.memory_bytes
    shared = {t.data_ptr() for t in made.tensors()}
    assert {t.data_ptr() for t in twin.tensors()} == shared != set()
    other = made.twin()
    other.correct(LATER, [0])
    other.add(masks((24, 4)))
    other.step(video[5])
    other.remove([1])
    other.step(video[4])
    expected = [undisturbed.step(frame) for frame in video[3:]]
    assert same([twin.step(frame) for frame in video[3:]], expected)
    assert same([made.step(frame) for frame in video[3:]], expected)


@every_method
def test_the_tensors_of_a_method_with_twins_are_all_that_it_holds(name):
    made = begun(name, masks((4, 4), (20, 30)))
    carried(made)
    if made.twin() is not None:
        assert sum(t.nbytes for t in made.tensors()) >= made.memory_bytes


@every_method
def test_a_report_of_the_memory_has_words(name):
    made = begun(name, masks((4, 4), (20, 30)))
    carried(made)
    report = made.report()
    assert report is None or (is_dataclass(report) and str(report))


@every_method
def test_a_receptive_field_is_there_where_the_method_says_so(name):
    made = begun(name, masks((4, 4), (20, 30)))
    made.step(frames(2)[1])
    field = made.receptive_field()
    if not methods.get(name).receptive_field:
        assert field is None
        return
    assert field.shape == (2, *SIZE)
    assert field.isfinite().all() and field.min() >= 0


# ---------------------------------------------------------------- errors

CALLS = {
    "step": lambda made: made.step(frames(1)[0]),
    "correct": lambda made: made.correct(LATER, [0]),
    "add": lambda made: made.add(LATER),
    "remove": lambda made: made.remove([0]),
}
MISTAKES = {
    "a frame of another size": lambda made: made.step(frames(1, (20, 20))[0]),
    "a mask of another size": lambda made: made.step(frames(1)[0], masks((2, 2), size=(20, 20))[0].int()),
    "an object that is not there": lambda made: made.remove([9]),
}


@every_method
@pytest.mark.parametrize("call", CALLS)
def test_nothing_comes_before_start(name, call):
    with pytest.raises(RuntimeError, match=r"start\(\) comes before anything else"):
        CALLS[call](propagator(name))


@every_method
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_users_mistake_is_a_user_error_and_changes_nothing(name, mistake):
    model, method, video = network(name), settings(name).method, frames(3)
    mistaken, right = (Segmenter(model, method) for _ in range(2))
    for one in (mistaken, right):
        one.step(video[0], masks((4, 4))[0].int())
    with pytest.raises(UserError):
        MISTAKES[mistake](mistaken)
    for frame in video[1:]:
        assert (mistaken.step(frame) == right.step(frame)).all()


# ---------------------------------------------------------------- learning


@pytest.fixture(scope="module")
def videos(tmp_path_factory, write_clip):
    """Two videos with masks."""
    root = tmp_path_factory.mktemp("videos")
    for name, seed in (("ant", 1), ("bee", 2)):
        write_clip(root, name, seed=seed, frames=20, size=(32, 48))
    return root


def task(name: str, *more: str):
    torch.manual_seed(0)
    return methods.require(name, "task")(run_settings(name, ".", *more))


def batch(count: int) -> Batch:
    """Two clips of two squares that stay where they are, labelled."""
    size = (32, 48)
    pixels = (255 * frames(2 * count, size)).to(torch.uint8).unflatten(0, (2, count))
    labels = (masks((2, 2), (18, 30), size=size) * torch.tensor([3, 7])[:, None, None]).sum(0).to(torch.uint8)
    return Batch(pixels, labels.expand(2, count, *size), ({}, {}))


def prepared(learner, part: Batch | None = None):
    return learner.prepare(part or batch(learner.frames), torch.Generator().manual_seed(0))


@that_learns
def test_every_parameter_learns(name):
    learner = task(name).train()
    loss, named = learner(prepared(learner))
    loss.backward()
    assert loss.shape == () and loss.isfinite()
    assert all(value.shape == () and value.isfinite() for value in named.values())
    sizes = {n: p.grad is not None and p.grad.abs().sum() for n, p in learner.named_parameters()}
    assert [n for n, size in sizes.items() if not 0 < size < float("inf")] == []


@that_learns
def test_a_few_steps_lower_the_loss(name):
    learner = task(name).train()
    ready, losses = prepared(learner), []
    optimiser = torch.optim.Adam(learner.parameter_groups(), 2e-3)
    for _ in range(12):
        optimiser.zero_grad()
        loss, _ = learner(ready)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@that_learns
def test_a_batch_in_parts_has_the_draws_and_the_loss_of_the_whole(name):
    learner = task(name, "data.affine={rotate: 15, flip: 0.5}").eval()
    whole = batch(learner.frames)
    with torch.no_grad():
        expected, _ = learner(prepared(learner, whole))
        losses = [learner(prepared(learner, part))[0] for part in whole.split(2)]
    torch.testing.assert_close(torch.stack(losses).mean(), expected, atol=1e-5, rtol=1e-4)


@that_learns
def test_random_weights_are_what_a_run_begins_with_and_nothing_is_said(name):
    learner = task(name)
    before = {n: p.clone() for n, p in learner.model.state_dict().items()}
    assert learner.begin() is None
    assert all(torch.equal(p, before[n]) for n, p in learner.model.state_dict().items())


@that_learns
def test_the_preview_is_a_picture(name):
    learner = task(name).eval()
    picture = learner.preview(prepared(learner))
    assert picture.dtype == torch.uint8
    assert picture.ndim == 3 and len(picture) == 3


@that_learns
def test_a_run_that_goes_on_has_the_same_end_and_its_weights_segment(name, tmp_path, videos):
    for run, steps in (("whole", 2), ("halves", 1), ("halves", 2)):
        asked = run_settings(name, videos, f"train.steps={steps}")
        train(asked, tmp_path / run, device="cpu", quiet=True)
    assert same_end(tmp_path / "whole", tmp_path / "halves")
    assert segment(videos / "JPEGImages" / "ant", tmp_path, name, weights=tmp_path / "whole") == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 20


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRAINED])
def test_a_method_that_does_not_learn_says_so(name, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(config.dump(settings(name)))
    assert main(["train", str(recipe), "--run", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert capsys.readouterr().err.startswith(f"mamp: method {name} is not trained; ")


# ---------------------------------------------------------------- weights, trunks and the command line


@in_turn
def test_weights_written_are_read_back_as_the_same_network(name, tmp_path):
    found = weights.read(write_weights(name, tmp_path / "w.safetensors"))
    method = config.load(base={"method": found.method}).method
    again, written = methods.get(name).build_model(method), network(name)
    weights.fill(again, found, remedy="")
    assert again.state_dict().keys() == written.state_dict().keys()
    for entry, value in written.state_dict().items():
        assert torch.equal(again.state_dict()[entry], value), entry


@pytest.mark.parametrize("name", methods.having("trunk"))
def test_a_trunk_gives_a_grid_of_features(name):
    trunk = methods.require(name, "trunk")(network(name), settings(name).method)
    for height, width in ((33, 47), (64, 32)):
        sides = [-(-side // trunk.patch) * trunk.patch for side in (height, width)]
        found = trunk(torch.rand(1, 3, *sides))
        assert found.ndim == 4 and len(found) == 1
        assert found.isfinite().all()


def segment(pictures, folder, name, *, weights=None):
    """The status of `mamp segment` on a folder of pictures, from the first mask on, into `folder`/out."""
    mask = pictures.parents[1] / "Annotations" / pictures.name / "00000.png"
    chosen = ["--weights", weights] if weights else []
    command = ["segment", pictures, "--mask", mask, "--out", folder / "out", *chosen]
    return main([str(w) for w in (*command, "--device", "cpu", "--quiet", *words(name))])


@in_turn
def test_the_command_segments_two_frames(name, tmp_path, write_clip):
    write_clip(tmp_path, "clip", seed=0, frames=2, size=(33, 47))
    chosen = weights_if_needed(name, tmp_path)
    assert segment(tmp_path / "JPEGImages" / "clip", tmp_path, name, weights=chosen) == 0
    first, second = (read_mask(tmp_path / "out" / f"0000{t}.png") for t in range(2))
    np.testing.assert_array_equal(first, read_mask(tmp_path / "Annotations" / "clip" / "00000.png"))
    assert second.shape == (33, 47)
    assert set(np.unique(second)) <= {0, 1, 2}
