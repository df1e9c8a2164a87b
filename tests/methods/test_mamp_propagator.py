"""The propagator: masks follow what moves, objects come and go, memory is bounded."""

import pytest
import torch

from mamp import config
from mamp.core.errors import UserError
from mamp.methods.mamp import propagator as propagator_module
from mamp.methods.mamp.propagator import MampPropagator
from mamp.propagation.labels import impose, normalised, sharpened, with_background


class Colours(torch.nn.Module):
    """Features are the image itself at stride 4: matching by colour."""

    def forward(self, lab):
        return lab[:, :, ::4, ::4]


PLAIN = ["method.propagation.short_side=null", "method.propagation.edge_radius=0"]  # cells as they are


def method(*overrides, dataset=""):
    return config.load(
        None,
        ["method.encoder.similarity=dot", "method.encoder.temperature=0.01", *PLAIN, *overrides],
        dataset=dataset,
    ).method


def scene(t, size=(48, 80), *, blue_from=0):
    """A red and a blue rectangle on grey: the red one moves right, the blue one down, 4 pixels a frame."""
    frame = torch.full((3, *size), 0.5)
    red, blue = torch.zeros(size), torch.zeros(size)
    red[8:32, 4 + 4 * t : 28 + 4 * t] = 1
    if t >= blue_from:
        blue[4 + 4 * t : 24 + 4 * t, 56:80] = 1
    frame = (
        frame
        + red * torch.tensor([0.5, -0.4, -0.4]).view(3, 1, 1)
        + blue * torch.tensor([-0.4, -0.4, 0.5]).view(3, 1, 1)
    )
    return frame, torch.stack((red, blue))


def overlap(probabilities, channel, mask):
    got = probabilities.argmax(0) == channel
    return float((got & (mask > 0)).sum() / (got | (mask > 0)).sum())


PRESETS = [("tuned", ""), ("exact", ""), ("fast", ""), ("published", ""), ("published", "youtubevos")]


@pytest.mark.parametrize(("preset", "dataset"), PRESETS)
def test_masks_follow_the_objects(preset, dataset):
    # unnormalised dot products are not matching by colour, so features are made unit length here
    propagator = MampPropagator(
        Colours(), method(f"method.preset={preset}", "method.encoder.similarity=cosine", dataset=dataset)
    )
    frame, masks = scene(0)
    propagator.start(frame, masks)
    for t in range(1, 5):
        frame, masks = scene(t)
        probabilities = propagator.step(frame)
        torch.testing.assert_close(probabilities.sum(0), torch.ones(48, 80))
    assert overlap(probabilities, 1, masks[0]) > 0.6
    assert overlap(probabilities, 2, masks[1]) > 0.6


@pytest.mark.parametrize("preset", ["tuned", "published"])
def test_a_late_object_leaves_the_others_alone(preset):
    def run(late):
        propagator = MampPropagator(
            Colours(), method(f"method.preset={preset}", "method.encoder.similarity=cosine")
        )
        frame, masks = scene(0, blue_from=2)
        propagator.start(frame, masks[:1])
        for t in range(1, 6):
            frame, masks = scene(t, blue_from=2)
            probabilities = propagator.step(frame)
            if t == 2 and late:
                propagator.add(masks[1:])
        return probabilities, masks

    alone, masks = run(False)
    together, _ = run(True)
    assert len(together) == 3
    assert overlap(together, 2, masks[1]) > 0.6
    blue = together.argmax(0) == 2
    assert torch.equal((alone.argmax(0) == 1)[~blue], (together.argmax(0) == 1)[~blue])


def test_an_object_in_view_before_it_is_given_is_found_in_the_memory_frames():
    def remembered(backfill):
        propagator = MampPropagator(
            Colours(), method(f"method.propagation.backfill={backfill}", "method.encoder.similarity=cosine")
        )
        frame, masks = scene(0)
        propagator.start(frame, masks[:1])
        for t in range(1, 4):
            frame, masks = scene(t)
            propagator.step(frame)
        propagator.add(masks[1:])
        return [entry.labels for entry in propagator.memory.values()]

    for t, (with_it, without) in enumerate(zip(remembered(True), remembered(False), strict=True)):
        blue = scene(t)[1][1, ::4, ::4] > 0
        assert with_it[2][blue].mean() > 0.9 and with_it[2][~blue].mean() < 0.02
        assert without[2].sum() == 0
        torch.testing.assert_close(with_it[1], without[1])  # the other object is untouched
        torch.testing.assert_close(with_it.sum(0), without.sum(0))


def test_a_removed_object_becomes_background_and_the_next_moves_up():
    propagator = MampPropagator(Colours(), method("method.encoder.similarity=cosine"))
    propagator.start(*scene(0))
    propagator.step(scene(1)[0])
    propagator.remove([0])
    frame, masks = scene(2)
    probabilities = propagator.step(frame)
    assert len(probabilities) == 2
    assert overlap(probabilities, 1, masks[1]) > 0.6
    assert (probabilities.argmax(0)[masks[0] > 0] == 0).all()


@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_a_correction_is_what_the_next_frame_reads(labels):
    propagator = MampPropagator(
        Colours(),
        method(
            f"method.propagation.labels={labels}",
            "method.propagation.memory_length=1",
            "method.encoder.similarity=cosine",
        ),
    )
    frame, masks = scene(0)
    propagator.start(frame, masks[:1])
    frame, masks = scene(1)
    propagator.step(frame)
    propagator.correct(masks[1:], [0])  # the object is the blue one now
    propagator.memory.clear()  # the first frame said otherwise
    propagator.given.remove(0)
    frame, masks = scene(2)
    assert overlap(propagator.step(frame), 1, masks[1]) > 0.6


def test_the_network_sees_what_it_saw_in_training_or_as_published_all():
    seen = []
    model = Colours()
    model.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    for preset in ("tuned", "published"):
        MampPropagator(model, method(f"method.preset={preset}")).start(*scene(0))
    hidden, full = seen
    assert hidden.shape == (2, 3, 48, 80) and full.shape == (1, 3, 48, 80)
    assert hidden[0, 1].abs().max() == 0 and hidden[1, 2].abs().max() == 0
    torch.testing.assert_close(hidden[:, 0], 1.5 * full[:, 0].expand(2, -1, -1))


@pytest.mark.parametrize("corner", [(9, 9), (10, 14), (11, 13)])
def test_an_object_of_one_pixel_is_remembered_wherever_it_lies(corner):
    propagator = MampPropagator(Colours(), method())
    frame, masks = scene(0)
    dot = torch.zeros_like(masks[:1])
    dot[0, corner[0], corner[1]] = 1
    propagator.start(frame, torch.cat((masks[:1] * (1 - dot), dot)))
    remembered = propagator.pending.scores
    assert remembered[2].sum() >= 1
    torch.testing.assert_close(remembered.sum(0), torch.ones(12, 20))


def test_each_frame_is_encoded_once():
    calls = []
    model = Colours()
    model.register_forward_hook(lambda *_: calls.append(1))
    propagator = MampPropagator(model, method())
    propagator.start(*scene(0))
    for t in range(1, 6):
        propagator.step(scene(t)[0])
    assert len(calls) == 6


@pytest.mark.parametrize(
    ("short_side", "padded"), [("null", (48, 80)), ("23", (24, 40)), ("90", (68, 120)), ("60", (60, 108))]
)
def test_frames_are_seen_at_the_short_side_and_probabilities_have_their_size(short_side, padded):
    seen, model = [], Colours()
    model.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[-2:])))
    knobs = method(f"method.propagation.short_side={short_side}", "method.encoder.similarity=cosine")
    MampPropagator(model, knobs).start(torch.rand(3, 79, 45), torch.ones(1, 79, 45))
    propagator = MampPropagator(model, knobs)
    frame, masks = scene(0, (45, 79))
    propagator.start(frame, masks)
    assert seen == [padded[::-1], padded]
    frame, masks = scene(1, (45, 79))
    probabilities = propagator.step(frame)
    assert probabilities.shape == (3, 45, 79)
    assert overlap(probabilities, 1, masks[0]) > 0.5


def test_pixels_without_any_score_are_background():
    assert normalised(torch.tensor([[0.0, 0.2], [0.0, 0.6]])).tolist() == [[1.0, 0.25], [0.0, 0.75]]


def test_imposed_masks_leave_the_rest_to_the_others():
    predicted = with_background(torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.5, 0.0]]))
    result = impose(predicted, torch.tensor([[1.0, 0.0, 0.0]]), [1])
    torch.testing.assert_close(result.sum(0), torch.ones(3))
    assert result[1].tolist() == [1, 0, 0]
    assert result[:, 1].tolist() == [
        0,
        0,
        1,
    ]  # what the corrected object gave up goes to who shares the pixel


class Noted:
    """A motion source that says nothing moved, and notes what it was asked."""

    def __init__(self):
        self.held, self.asked = [], []

    def see(self, index, frame):
        self.held.append(index)
        self.size = tuple(frame.shape[-2:])

    def flow(self, query, memory):
        self.asked.append((query, memory))

    def forget(self, index):
        self.held.remove(index)


def test_a_given_motion_source_sees_each_frame_once_and_forgets_what_is_dropped():
    noted = Noted()
    propagator = MampPropagator(
        Colours(), method("method.propagation.memory_length=2", "method.propagation.pad=32"), motion=noted
    )
    propagator.start(*scene(0))
    for t in range(1, 8):
        propagator.step(scene(t % 3)[0])
    assert noted.held == [0, 5, 6, 7] and noted.size == (64, 96)
    assert noted.asked[-3:] == [(7, 0), (7, 5), (7, 6)]


def test_raft_takes_far_frames_as_published(monkeypatch):
    made = []
    monkeypatch.setattr(propagator_module, "build_motion", lambda knobs, **places: made.append(places["far"]))
    for dataset in ("", "youtubevos"):
        MampPropagator(Colours(), method("method.preset=published", dataset=dataset))
    assert made == [15, 5]


@pytest.mark.parametrize(
    "knobs", ["source=coarse", "source=dis", "source=dis compose=true", "source=coarse compose=true"]
)
def test_masks_follow_the_objects_with_every_source_of_the_config(knobs):
    chosen = [f"method.motion.{knob}" for knob in knobs.split()]
    propagator = MampPropagator(Colours(), method("method.encoder.similarity=cosine", *chosen))
    propagator.start(*scene(0))
    for t in range(1, 5):
        frame, masks = scene(t)
        probabilities = propagator.step(frame)
    assert overlap(probabilities, 1, masks[0]) > 0.5
    assert overlap(probabilities, 2, masks[1]) > 0.5


def test_coarse_motion_places_the_window_where_an_object_jumped():
    def found(*knobs):
        propagator = MampPropagator(
            Colours(), method("method.encoder.similarity=cosine", "method.propagation.radius=2", *knobs)
        )
        generator = torch.Generator().manual_seed(0)
        world = torch.rand(3, 24, 64, generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
        masks = torch.zeros(1, 96, 256)
        masks[:, 32:64, 96:144] = 1
        propagator.start(world[:, :, :160], masks[:, :, :160])
        probabilities = propagator.step(world[:, :, 64:224])  # everything jumps 16 cells to the left
        return overlap(probabilities, 1, masks[0, :, 64:224])

    assert found() < 0.1 and found("method.motion.source=coarse", "method.motion.coarse_pool=2") > 0.4


def test_memory_stays_within_its_budget_for_thousands_of_frames_and_as_objects_come():
    propagator = MampPropagator(
        Colours(),
        method(
            "method.propagation.memory=budget",
            "method.propagation.memory_length=2",
            "method.propagation.budget_mb=0.0008",
            "method.propagation.radius=1",
        ),
    )
    frame, masks = torch.rand(3, 8, 12), torch.zeros(1, 8, 12)
    propagator.start(frame, masks)
    for t in range(3000):
        propagator.step(frame)
        if t in (100, 2000):
            propagator.add(masks)
        if t == 2500:
            propagator.remove([0])
        assert propagator.memory_bytes <= 800
        assert 0 in propagator.memory
    assert propagator.memory_bytes > 600


def test_a_budget_that_holds_no_frame_is_told_in_a_sentence():
    propagator = MampPropagator(
        Colours(), method("method.propagation.memory=budget", "method.propagation.budget_mb=0.001")
    )
    propagator.start(*scene(0))
    with pytest.raises(
        UserError, match=r"budget_mb=0\.001 holds no memory frame of 0\.00\d+ MB; set it to 1 or more"
    ):
        propagator.step(scene(1)[0])


# ---------------------------------------------------------------- the search


def carried(*overrides, frames=4, size=(48, 80)):
    propagator = MampPropagator(Colours(), method("method.encoder.similarity=cosine", *overrides))
    propagator.start(*scene(0, size))
    for t in range(1, frames):
        probabilities = propagator.step(scene(t, size)[0])
    return probabilities


@pytest.mark.parametrize("knob", ["search_near=24", "radius=6", "outside=zero"])
def test_a_window_that_is_near_by_as_a_whole_is_read_exactly(knob):
    knobs = f"method.propagation.{knob}"
    torch.testing.assert_close(carried(knobs), carried(knobs, "method.propagation.search=exact"))


def test_the_search_by_blocks_finds_nearly_what_the_exact_one_finds():
    found, exact = (carried(f"method.propagation.search={search}") for search in ("blocks", "exact"))
    assert (found.argmax(0) == exact.argmax(0)).float().mean() > 0.97


def test_frames_that_are_named_twice_are_read_exactly():
    knobs = ["method.propagation.memory=youtube", "method.propagation.memory_length=4"]
    found, exact = (carried(*knobs, f"method.propagation.search={s}", frames=2) for s in ("blocks", "exact"))
    assert (found.argmax(0) == exact.argmax(0)).float().mean() > 0.97


@pytest.mark.parametrize("power", [1.0, 1.5, 3.0])
def test_sharpened_labels_sum_to_1_and_are_further_from_the_middle(power):
    scores = torch.rand(3, 5, 7)
    scores[:, 0, 0] = 0  # nobody's: background
    scores[:, 1, 1] = torch.tensor([-1e-8, 0.5, 0.5])  # of rounding
    plain = normalised(scores.clamp(min=0))
    found = sharpened(scores.clone(), power)
    if power == 1:
        assert torch.equal(found, scores)
        return
    torch.testing.assert_close(found.sum(0), torch.ones(5, 7))
    assert torch.equal(found.argmax(0), plain.argmax(0))
    assert (found.amax(0) >= plain.amax(0) - 1e-6).all()


def test_what_is_sharpened_is_remembered_so():
    frame, masks = scene(0)
    remembered = {}
    for power in (1, 2):
        propagator = MampPropagator(Colours(), method(f"method.propagation.sharpen={power}"))
        propagator.start(frame, masks)
        for t in (1, 2):
            probabilities = propagator.step(scene(t)[0])
            torch.testing.assert_close(probabilities.sum(0), torch.ones(probabilities.shape[1:]))
        remembered[power] = propagator.memory[1].labels
    squares = remembered[1].clamp(min=0) ** 2
    torch.testing.assert_close(remembered[2], normalised(squares), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("background", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("power", [1.0, 1.5])
def test_a_lighter_background_takes_from_itself_alone(seed, background, power):
    scores = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(seed))
    scores[1:, 0, 0] = 0  # background for certain
    scores[:, 1, 1] = 0  # nobody's
    scores[:, 2, 2] = torch.tensor([0.0, 0.4, 0.6])  # no background
    plain = sharpened(scores.clone(), power) if power != 1 else normalised(scores.clone())
    found = sharpened(scores.clone(), power, background)
    torch.testing.assert_close(found.sum(0), torch.ones(5, 7))
    odds, before = found[:, plain[0] < 1], plain[:, plain[0] < 1]
    torch.testing.assert_close(odds[0] / odds[1], background * before[0] / before[1])
    torch.testing.assert_close(odds[1] / odds[2], before[1] / before[2])
    assert torch.equal(found[:, 0, 0], torch.tensor([1.0, 0, 0])) and found[0, 1, 1] == 1
    torch.testing.assert_close(found[:, 2, 2], plain[:, 2, 2])


def test_a_lighter_background_keeps_more_of_the_objects():
    frame, masks = scene(0)
    sizes = []
    for background in (1, 0.5):
        propagator = MampPropagator(Colours(), method(f"method.propagation.background={background}"))
        propagator.start(frame, masks)
        sizes.append(sum((propagator.step(scene(t)[0]).argmax(0) > 0).sum() for t in (1, 2)))
    assert sizes[1] >= sizes[0] > 0
