"""AFB-URR: bank, propagation and training of a small network with random weights."""

import pytest
import torch
from clips import frames, masks

from mamp import config
from mamp.methods.afb_urr import METHOD as afb_urr
from mamp.methods.afb_urr.bank import FeatureBank
from mamp.methods.afb_urr.fitting import Tall
from mamp.methods.afb_urr.losses import segmentation_loss
from mamp.methods.afb_urr.network import AfbUrr, rough_masks, scores, uncertainty
from mamp.methods.afb_urr.task import AfbTask
from mamp.methods.stm.initial import initialise
from mamp.methods.stm.network import Stm
from mamp.methods.task import Batch

SMALL = "method.network={backbone: resnet18, width: 0.125, key: 8, value: 8, decoder: 8, local: 4}"


def settings(*overrides):
    return config.load(None, ["method.name=afb_urr", SMALL, *overrides])


def propagator(*overrides):
    torch.manual_seed(0)
    method = settings(*(f"method.propagation.{o}" for o in overrides)).method
    return afb_urr.build_propagator(afb_urr.build_model(method).eval(), method)


# ---------------------------------------------------------------- the bank


def bank(budget=60, *, objects=3, **more):
    made = FeatureBank(budget=budget, update_rate=0.1, merge_above=0.95, **more)
    made.widen(objects)
    return made


def features(seed, *, objects=3, cells=10, alike=0.0):
    """Random keys and values; `alike` is what they share."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(objects, 6, cells, generator=generator) + alike
    return keys, torch.randn(objects, 5, cells, generator=generator)


def test_a_bank_is_read_by_a_softmax_over_its_cells():
    made, (keys, values) = bank(), features(0)
    made.absorb(keys, values, index=0)
    query = torch.randn(6, 2, 3)
    expected = values @ (keys.transpose(1, 2) @ query.flatten(1) / 6**0.5).softmax(1)
    assert torch.allclose(made.read(query).flatten(2), expected, atol=1e-6)


def test_the_bound_on_memory_changes_no_result():
    found = []
    for most in (1, 1 << 20):
        made = bank(max_bytes=most)
        for t in range(3):
            made.absorb(*features(t), index=t)
            read = made.read(torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(9)))
        found.append((read, made.cells[1].used, made.sizes))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
    assert torch.allclose(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


def test_what_is_similar_is_merged_and_keeps_its_length():
    made, (keys, values) = bank(), features(0)
    made.absorb(keys, values, index=0)
    made.absorb(2 * keys, values, index=1)  # the same directions
    assert made.sizes == [10, 10, 10]
    assert torch.allclose(made.cells[0].keys, keys[0], atol=1e-5)


def test_two_cells_merged_into_one_count_by_their_mean():
    made = bank(objects=1)
    key = torch.tensor([[[1.0], [0.0]]])
    made.absorb(key, key, index=0)
    near = torch.tensor([[[1.0, 1.0], [0.1, -0.1]]])
    made.absorb(near, near, index=1)
    assert made.sizes == [1]
    mean = torch.nn.functional.normalize(near[0], dim=0).mean(1)
    assert torch.allclose(made.cells[0].keys[:, 0], 0.9 * key[0, :, 0] + 0.1 * mean)


def test_what_is_new_is_appended_unused():
    made = bank(objects=1)
    made.absorb(torch.eye(2)[None, :, :1], torch.ones(1, 5, 1), index=0)
    made.read(torch.ones(2, 1, 1))
    made.absorb(torch.eye(2)[None, :, 1:], torch.ones(1, 5, 1), index=4)
    assert made.cells[0].born.tolist() == [0, 4]
    assert made.cells[0].used[0] > 0
    assert made.cells[0].used[1] == 0


def test_the_cell_read_least_often_goes_first():
    made = bank(budget=4, objects=1)
    keys = 9 * torch.eye(4)[None, :, :3]
    made.absorb(keys, torch.ones(1, 5, 3), index=0)
    made.cells[0].used = torch.tensor([3.0, 1.0, 2.0])
    made.absorb(-torch.ones(1, 4, 2), torch.ones(1, 5, 2), index=1)
    assert made.sizes == [4]
    assert made.cells[0].used.tolist() == [3, 2, 0, 0]
    assert made.report().evicted == 1


@pytest.mark.parametrize("budget", [4, 7, 31, 64, 200])
def test_the_banks_never_exceed_their_budget(budget):
    made = bank(budget)
    for t in range(16):
        made.widen(t == 8)
        made.absorb(*features(t, objects=len(made.cells), cells=16), index=t)
        made.read(torch.randn(6, 4, 4))
        assert sum(made.sizes) <= budget
        assert min(made.sizes) > 0
    assert made.report().peak <= 1


def test_ours_evicts_no_more_than_needed_and_the_published_rule_a_whole_step():
    sizes = []
    for whole in (False, True):
        made = bank(budget=12, objects=1, whole=whole)
        made.absorb(9 * torch.eye(16)[None, :, :10], torch.ones(1, 5, 10), index=0)
        made.cells[0].used = torch.tensor([0.5] * 6 + [4.0] * 4)
        made.absorb(9 * torch.eye(16)[None, :, 10:13], torch.ones(1, 5, 3), index=1)
        sizes.append(made.sizes)
    assert sizes == [[12], [7]]


def test_the_published_rule_leaves_one_object_four_fifths():
    assert bank(budget=101, objects=2, whole=True).share == 40
    assert bank(budget=101, objects=2).share == 50
    assert bank(budget=101, objects=3, whole=True).share == 33


def test_the_report_says_how_full_the_banks_were():
    made = bank(budget=30)
    made.absorb(*features(0, cells=5), index=0)
    assert str(made.report()) == (
        "3 objects with the background, 10 cells each, 50.0% full at most, 0 of 15 cells replaced (0.0%)"
    )


# ---------------------------------------------------------------- the network


def test_the_published_network_has_its_number_of_parameters():
    with torch.device("meta"):
        model = AfbUrr(config.load(None, ["method.name=afb_urr"]).method.network)
    assert sum(p.numel() for p in model.parameters()) == 33_082_660


def test_uncertainty_is_one_between_equals_and_small_where_one_wins():
    found = uncertainty(torch.tensor([[0.5, 0.9], [0.5, 0.1]])[None, :, None])
    assert torch.allclose(found.flatten(), torch.tensor([1.0, 3.3546e-4]), atol=1e-4)


def test_rough_masks_sum_to_one_over_objects():
    found = rough_masks(torch.randn(6, 2, 4, 5), objects=3)
    assert found.shape == (2, 3, 4, 5)
    assert torch.allclose(found.sum(1), torch.ones(2, 4, 5))


def test_scores_are_log_odds_and_bounded_as_published():
    logits = torch.tensor([[80.0, 1.0, -80.0], [-80.0, 1.0, 80.0]])[None, None]  # surely not, perhaps, surely
    assert scores(logits).flatten().tolist() == [-160, 0, 160]
    bounded = scores(logits, least=1e-7).flatten()
    assert bounded.tolist() == pytest.approx([-16.118, 0, 15.942], abs=1e-3)


# ---------------------------------------------------------------- per frame


@pytest.mark.parametrize("size", [(40, 56), (31, 75), (64, 20)])
@pytest.mark.parametrize("knobs", [("short_side=32",), ("fit=published", "height=32"), ("fit=published",)])
def test_frames_that_are_fitted_get_probabilities_of_their_own_size(size, knobs):
    carrier = propagator(*knobs)
    carrier.start(frames(1, size)[0], masks((2, 3), size=size))
    for frame in frames(3, size):
        found = carrier.step(frame)
        assert found.shape == (2, *size)
        assert torch.allclose(found.sum(0), torch.ones(size), atol=1e-5)


def test_a_late_object_gets_its_own_bank_and_leaves_the_others_alone():
    clip, carrier = frames(4), propagator()
    carrier.start(clip[0], masks((2, 3)))
    carrier.step(clip[1])
    carrier.add(masks((25, 40)))
    assert carrier.step(clip[2]).shape[0] == 3
    assert [int(cells.born.min()) for cells in carrier.bank.cells] == [0, 0, 1]


def test_as_published_a_late_object_empties_all_banks():
    clip, carrier = frames(4), propagator("late=rebuild")
    carrier.start(clip[0], masks((2, 3)))
    carrier.step(clip[1])
    carrier.add(masks((25, 40)))
    carrier.step(clip[2])
    assert [cells.born.unique().tolist() for cells in carrier.bank.cells] == [[1.0]] * 3


@pytest.mark.parametrize("late", ["keep", "rebuild"])
def test_a_corrected_mask_is_what_is_remembered(late):
    clip, carrier, given = frames(3), propagator(f"late={late}"), masks((20, 30))
    carrier.start(clip[0], masks((2, 3), (8, 40)))
    carrier.step(clip[1])
    carrier.correct(given, [1])
    assert torch.allclose(carrier.pending.labels[2], given[0])
    assert torch.allclose(carrier.pending.labels.sum(0), torch.ones(40, 56), atol=1e-5)


def test_an_object_whose_first_mask_is_empty_is_nowhere_until_it_is_given():
    clip, carrier = frames(3), propagator()
    carrier.start(clip[0], torch.cat((masks((2, 3)), torch.zeros(1, 40, 56))))
    assert carrier.step(clip[1])[2].max() == 0
    carrier.correct(masks((20, 30)), [1])
    assert carrier.step(clip[2])[2].max() > 0


def test_tall_frames_come_to_their_height_and_others_stay():
    assert Tall((66, 90), 48).inner == (48, 65)
    assert Tall((40, 90), 48).inner == (40, 90)


# ---------------------------------------------------------------- training


def task(*overrides):
    torch.manual_seed(0)
    return AfbTask(
        settings("data.fit=letterbox", "data.box=[32, 48]", "method.training.frames=3", *overrides)
    )


def batch():
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (2, 3, 3, 32, 48), dtype=torch.uint8, generator=generator)
    labels = torch.zeros(2, 3, 32, 48, dtype=torch.uint8)
    labels[:, :, 4:16, 4:20] = 3
    labels[0, :, 18:30, 20:40] = 7
    return Batch(images, labels, ({}, {}))


def prepared(learner, made=None):
    return learner.prepare(made or batch(), torch.Generator().manual_seed(0))


def test_the_loss_is_that_of_segmentation_and_half_the_uncertainty():
    learner = task().train()
    _, named = learner(prepared(learner))
    assert torch.allclose(named["loss"], named["segmentation"] + 0.5 * named["uncertainty"])


def test_only_the_drawn_objects_are_learnt_and_others_are_background():
    learner = task("method.training.max_objects=1")
    made = prepared(learner)
    assert made.objects == [1, 1]
    assert set(made.labels.unique().tolist()) == {0, 1}


def test_a_clip_that_shows_no_object_counts_nothing():
    learner, made = task(), batch()
    ready = prepared(learner, made)
    ready.labels[1] = 0
    alone = prepared(learner, Batch(made.frames[:1], made.labels[:1], made.clips[:1], 0, 2))
    assert torch.allclose(learner.eval()(ready)[0], learner(alone)[0] / 2, atol=1e-5)


def test_batch_norms_stay_as_they_are_unless_asked():
    learner = task().train()
    before = learner.model.query_encoder.bn1.running_mean.clone()
    learner(prepared(learner))
    assert torch.equal(learner.model.query_encoder.bn1.running_mean, before)


def test_pixels_without_a_label_cost_nothing():
    found = torch.rand(1, 2, 2, 4, 4)
    labels = torch.randint(0, 2, (1, 4, 4), dtype=torch.uint8)
    labels[0, :2] = 255
    ce, _ = segmentation_loss(found, labels)
    alone, _ = segmentation_loss(found[:, :, :, 2:], labels[:, 2:])
    assert torch.allclose(ce, alone)


def test_certain_mistakes_have_a_gradient():
    certain = torch.zeros(1, 2, 2, 4, 4)
    certain[:, :, 1] = 40  # both claim every pixel
    certain.requires_grad_()
    ce, _ = segmentation_loss(certain, torch.ones(1, 4, 4, dtype=torch.uint8))
    ce.backward()
    assert (certain.grad[:, 0, 1] > 0).all() and (certain.grad[:, 1, 1] < 0).all()


def test_stms_weights_begin_the_trunks(tmp_path):
    network = settings().method.network
    other = config.load(None, ["method.name=stm", "method.network={backbone: resnet18, width: 0.125}"])
    source, model = Stm(other.method.network), AfbUrr(network)
    torch.save(source.state_dict(), tmp_path / "stm.pth")
    initialise(model, str(tmp_path / "stm.pth"), colour="rgb")
    assert torch.equal(model.query_encoder.res4[0].conv1.weight, source.query_encoder.res4[0].conv1.weight)
