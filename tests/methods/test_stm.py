"""STM: memory, propagation, correction and training of a small network with random weights."""

import pytest
import torch
from clips import frames, masks

from mamp import config
from mamp.core.errors import UserError
from mamp.loading.augmentation.labelled import choose_objects
from mamp.methods.stm import METHOD as stm
from mamp.methods.stm.correction import Reference, corrected
from mamp.methods.stm.fitting import Letterbox, Padded
from mamp.methods.stm.initial import initialise
from mamp.methods.stm.losses import segmentation_loss
from mamp.methods.stm.memory import Memory, Remembered
from mamp.methods.stm.network import Stm, aggregate
from mamp.methods.stm.task import StmTask, one_hot
from mamp.methods.task import Batch
from mamp.propagation.readout import memory_read

SMALL = "method.network={backbone: resnet18, width: 0.125, key: 8, value: 8, decoder: 8}"


def settings(*overrides):
    return config.load(None, ["method.name=stm", SMALL, *overrides])


def propagator(*overrides):
    torch.manual_seed(0)
    method = settings(*(f"method.propagation.{o}" for o in overrides)).method
    return stm.build_propagator(stm.build_model(method).eval(), method)


# ---------------------------------------------------------------- reading the memory


def entries(*sizes):
    torch.manual_seed(3)
    return [torch.randn(2, 4, n) for n in sizes], [torch.randn(2, 5, n) for n in sizes]


def test_the_memory_is_read_by_a_softmax_over_all_frames():
    keys, values = entries(6, 9)
    query = torch.randn(2, 4, 3, 2)
    affinity = (torch.cat(keys, -1).transpose(1, 2) @ query.flatten(2) / 2).softmax(1)
    expected = torch.cat(values, -1) @ affinity
    assert torch.allclose(memory_read(query, keys, values).flatten(2), expected, atol=1e-6)


def test_the_bound_on_memory_changes_no_result():
    keys, values = entries(6, 9)
    query = torch.randn(2, 4, 3, 2)
    assert torch.allclose(
        memory_read(query, keys, values, max_bytes=1), memory_read(query, keys, values), atol=1e-6
    )


def test_the_best_cell_alone_is_the_most_similar_one():
    keys, values = entries(6, 9)
    query = torch.randn(2, 4, 1, 1)
    similar = (torch.cat(keys, -1) * query.flatten(2)).sum(1)
    best = torch.cat(values, -1)[torch.arange(2), :, similar.argmax(1)]
    assert torch.allclose(memory_read(query, keys, values, top_k=1).flatten(1), best)


def test_an_object_reads_nothing_from_a_frame_that_does_not_know_it():
    keys, values = entries(6, 9)
    query = torch.randn(2, 4, 3, 2)
    known = [torch.tensor([True, False]), torch.tensor([True, True])]
    read = memory_read(query, keys, values, known=known)
    alone = memory_read(query, keys[1:], values[1:])
    assert torch.allclose(read[1], alone[1], atol=1e-6)
    assert not torch.allclose(read[0], alone[0], atol=1e-3)


# ---------------------------------------------------------------- which frames stay


def remember(memory, index, *, given=False):
    memory.push(
        Remembered(index, torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.ones(1, dtype=torch.bool), given)
    )
    return [entry.index for entry in memory.frames]


def test_the_first_every_fifth_and_the_previous_frame_are_read():
    memory = Memory(every=5, keep_given=False, max_frames=None)
    assert [remember(memory, t, given=t == 7) for t in range(13)][-1] == [0, 5, 10, 12]


def test_given_frames_stay():
    memory = Memory(every=5, keep_given=True, max_frames=None)
    assert [remember(memory, t, given=t == 7) for t in range(13)][-1] == [0, 5, 7, 10, 12]


def test_a_thousand_frames_keep_to_the_bound_and_the_first_one():
    memory = Memory(every=2, keep_given=True, max_frames=6)
    sizes = []
    for t in range(1000):
        read = remember(memory, t)
        sizes.append(memory.nbytes)
        assert len(read) <= 7
        assert read[0] == 0
        assert read[-1] == t
    assert max(sizes[100:]) <= 7 * sizes[0]


@pytest.mark.parametrize("most", [1, 2])
def test_the_smallest_bounds_hold(most):
    memory = Memory(every=1, keep_given=True, max_frames=most)
    assert [remember(memory, t) for t in range(9)][-1][0] == 0
    assert len(memory.kept) <= most


# ---------------------------------------------------------------- fits


@pytest.mark.parametrize("size", [(40, 56), (31, 75), (64, 20)])
@pytest.mark.parametrize(
    "make", [lambda s: Letterbox(s, (33, 47)), lambda s: Padded(s, 24), lambda s: Padded(s, None)]
)
def test_probabilities_come_back_at_the_frames_size(size, make):
    fit = make(size)
    labels = fit.masks(masks((5, 4), size=size))
    assert fit.to_frame(labels).shape == (2, *size)
    assert fit.to_network(labels).shape[-2:] == fit.frame(torch.rand(3, *size)).shape[-2:]
    assert torch.equal(fit.from_network(fit.to_network(labels)), labels)


def test_a_letterbox_erodes_masks_and_labels_no_padding():
    fit = Letterbox((40, 56), (32, 32))
    labels = fit.masks(masks((10, 10)))
    assert set(labels.unique().tolist()) == {0.0, 1.0}
    assert labels[:, :4].sum() == 0
    assert labels[1].sum() < 12 * 12 * (32 / 56) ** 2


# ---------------------------------------------------------------- the frame loop


@pytest.mark.parametrize(
    "more", [("fit=letterbox", "input_size=[32, 48]"), ("top_k=4",), ("correction_loops=2", "every=2")]
)
def test_a_step_gives_probabilities_with_every_way_of_reading(more):
    carrier, video = propagator(*more), frames(4)
    carrier.start(video[0], masks((4, 4), (20, 30)))
    for frame in video[1:]:
        found = carrier.step(frame)
        assert found.shape == (3, 40, 56)
        assert torch.allclose(found.sum(0), torch.ones(40, 56), atol=1e-5)


def test_it_runs_inside_inference_mode_as_the_segmenter_does():
    carrier, video = propagator("correction_loops=1", "every=2"), frames(3)
    with torch.inference_mode():
        carrier.start(video[0].clone(), masks((4, 4)))
        carrier.step(video[1].clone())
        assert carrier.step(video[2].clone()).isfinite().all()
        assert carrier.receptive_field().shape == (1, 40, 56)


def test_a_late_object_is_followed_and_the_others_keep_what_was_predicted():
    carrier, video = propagator("keep_given=true"), frames(4)
    carrier.start(video[0], masks((4, 4)))
    carrier.step(video[1])
    before = carrier.pending.labels.clone()
    carrier.add(masks((20, 30)))
    outside = carrier.pending.labels[2] == 0
    assert torch.equal(carrier.pending.labels[1][outside], before[1][outside])
    assert carrier.step(video[2]).shape[0] == 3
    assert [entry.known.tolist() for entry in carrier.memory.frames] == [[True, False], [True, True]]


def test_a_late_mask_empties_the_other_objects_in_the_published_program():
    carrier, video = propagator("late=replace"), frames(2)
    carrier.start(video[0], masks((4, 4)))
    carrier.step(video[1])
    carrier.add(masks((20, 30)))
    assert carrier.pending.labels[1].abs().max() == 0
    assert [reference.objects for reference in carrier.references] == [[0, 1]]


def test_each_object_is_found_again_in_the_frame_where_it_was_given_last():
    carrier, video = propagator("correction_loops=1", "every=2"), frames(4)
    carrier.start(video[0], masks((4, 4), (20, 30)))
    carrier.step(video[1])
    carrier.add(masks((24, 4)))
    carrier.correct(masks((6, 6)), [0])
    assert [reference.objects for reference in carrier.references] == [[1], [2], [0]]
    assert carrier.step(video[2]).isfinite().all()


def test_an_object_that_is_hidden_is_found_again_where_it_was_shown():
    carrier, video = propagator("correction_loops=1", "every=2"), frames(4)
    carrier.start(video[0], masks((4, 4), (20, 30)))
    carrier.step(video[1])
    carrier.correct(torch.cat((masks((6, 6)), torch.zeros(1, 40, 56))), [0, 1])
    assert [reference.objects for reference in carrier.references] == [[1], [0]]
    assert [bool(reference.labels[1].any()) for reference in carrier.references] == [True, True]
    assert not carrier.pending.labels[2].any()
    carrier.correct(torch.zeros(2, 40, 56), [0, 1])
    assert [reference.objects for reference in carrier.references] == [[1], [0]]
    assert carrier.step(video[2]).isfinite().all()


def test_a_removed_object_leaves_the_others_alone():
    carrier, video = propagator("correction_loops=1", "every=2"), frames(4)
    carrier.start(video[0], masks((4, 4), (20, 30), (2, 40)))
    carrier.step(video[1])
    carrier.remove([1])
    assert [reference.objects for reference in carrier.references] == [[0, 1]]
    assert carrier.step(video[2]).shape[0] == 3
    assert all(len(entry.keys) == 2 for entry in carrier.memory.frames)


# ---------------------------------------------------------------- correction


def test_correction_lowers_the_loss_on_the_reference_frame():
    torch.manual_seed(0)
    model = Stm(settings().method.network).eval().double()
    fit, video = Padded((32, 48), None), frames(2, (32, 48)).double()
    labels = fit.masks(masks((4, 4), size=(32, 48)).double())
    losses = []
    corrected(
        model,
        video[1][None],
        torch.full_like(labels, 0.5),
        [Reference(video[0][None], [0], labels)],
        fit,
        loops=4,
        rate=10.0,
        report=lambda loss, gradient: losses.append(float(loss)),
    )
    assert losses[-1] < losses[0]


def test_only_what_is_remembered_is_corrected():
    plain, better, video = propagator("every=2"), propagator("every=2", "correction_loops=2"), frames(3)
    results = []
    for carrier in (plain, better):
        carrier.start(video[0], masks((4, 4)))
        carrier.step(video[1])
        results.append(carrier.step(video[2]))
    assert torch.allclose(*results, atol=1e-6)
    assert not torch.allclose(plain.pending.labels, better.pending.labels)


# ---------------------------------------------------------------- learning


def batch(labels=(0, 1, 2)):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 3, 32, 48), dtype=torch.uint8, generator=generator)
    maps = torch.zeros(2, 3, 32, 48, dtype=torch.uint8)
    for number, i in enumerate(labels):
        maps[:, :, 8:20, 4 + 14 * number : 16 + 14 * number] = i
    return Batch(pixels, maps, ({}, {}))


def task(*overrides):
    torch.manual_seed(0)
    return StmTask(settings("data.box=[32, 48]", *overrides))


def test_the_loss_is_that_of_segmentation_and_of_the_cycle():
    learner = task()
    _, named = learner(learner.prepare(batch(), torch.Generator().manual_seed(0)))
    assert torch.allclose(named["loss"], named["segmentation"] + named["cycle"])


def test_without_the_cycle_term_nothing_is_read_back():
    learner = task("method.training.cycle=0")
    assert learner.carry(learner.prepare(batch(), torch.Generator().manual_seed(0))).backward == []


def test_frozen_batch_norms_stay_as_they_are():
    learner = task()
    before = learner.model.query_encoder.bn1.running_mean.clone()
    learner.train()
    learner(learner.prepare(batch(), torch.Generator().manual_seed(0)))
    assert torch.equal(learner.model.query_encoder.bn1.running_mean, before)
    free = task("method.training.freeze_norm=false").train()
    free(free.prepare(batch(), torch.Generator().manual_seed(0)))
    assert not torch.equal(free.model.query_encoder.bn1.running_mean, before)


def gradients(learner, parts):
    """Of a step whose batch is taken in so many parts, as the engine adds them up."""
    learner.zero_grad()
    for part in batch().split(parts):
        loss, _ = learner(learner.prepare(part, torch.Generator().manual_seed(0)))
        (loss / parts).backward()
    return torch.cat([p.grad.flatten() for p in learner.parameters()])


def test_a_step_in_parts_or_on_several_ranks_has_the_gradient_of_the_whole():
    learner = task("data.affine={rotate: 15, flip: 0.5}").train()
    whole = gradients(learner, 1)
    assert (gradients(learner, 2) - whole).norm() < 1e-3 * whole.norm()


def test_objects_are_numbered_and_those_too_many_are_in_no_channel():
    labels = torch.tensor([[[0, 3, 7, 9]], [[9, 3, 5, 0]]], dtype=torch.uint8)
    assert choose_objects(labels, 5, torch.rand(255)).tolist() == [[[0, 1, 2, 3]], [[3, 1, 255, 0]]]
    draw = torch.tensor([0.9, 0.1, 0.5] + [0.0] * 252)
    chosen = choose_objects(labels, 2, draw)
    assert chosen[0].tolist() == [[0, 255, 1, 2]]
    assert one_hot(chosen, 2)[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_channels_that_are_empty_in_the_reference_do_not_count():
    torch.manual_seed(0)
    found = torch.randn(3, 6, 6).softmax(0)
    target = one_hot(torch.randint(0, 3, (1, 6, 6), dtype=torch.uint8), 2)[0]
    reference = target.clone()
    reference[2] = 0
    _, iou = segmentation_loss(found, target, reference=reference)
    _, alone = segmentation_loss(found[:2], target[:2])
    assert torch.allclose(iou, alone)


def test_aggregated_odds_are_probabilities():
    found = aggregate(torch.randn(3, 2, 4, 4)).softmax(0)
    assert torch.allclose(found.sum(0), torch.ones(4, 4))


# ---------------------------------------------------------------- where it begins


def test_torchvisions_state_dict_begins_both_trunks(tmp_path):
    import torchvision

    torch.manual_seed(1)
    source = torchvision.models.resnet18(weights=None)
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    model = Stm(config.load(None, ["method.name=stm", "method.network={backbone: resnet18}"]).method.network)
    initialise(model, str(tmp_path / "resnet18.pth"), colour="rgb")
    for encoder in (model.memory_encoder, model.query_encoder):
        assert torch.equal(encoder.res4[0].downsample[0].weight, source.layer3[0].downsample[0].weight)
        assert torch.equal(encoder.conv1.weight, source.conv1.weight)


@pytest.mark.parametrize(("colour", "stem"), [("rgb", False), ("lab", True)])
def test_the_label_free_encoder_begins_the_stages_and_with_lab_the_stem(tmp_path, colour, stem):
    from mamp import weights
    from mamp.methods.mamp.encoder import Encoder

    torch.manual_seed(1)
    source = Encoder(width=0.25)
    weights.save(tmp_path / "w.safetensors", source.state_dict(), method={"name": "mamp"}, provenance={})
    model = Stm(
        config.load(
            None, ["method.name=stm", "method.network={backbone: resnet18, width: 0.25}"]
        ).method.network
    )
    initialise(model, str(tmp_path / "w.safetensors"), colour=colour)
    assert torch.equal(model.query_encoder.res3[0].downsample[0].weight, source.layer2[0].shortcut[0].weight)
    assert torch.equal(model.memory_encoder.res4[1].conv2.weight, source.layer3[1].left[3].weight)
    assert torch.equal(model.query_encoder.conv1.weight, source.stem[0].weight) is stem


def test_a_file_in_which_nothing_fits_is_refused(tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="no entry that fits"):
        initialise(Stm(settings().method.network), str(tmp_path / "other.pth"), colour="rgb")


@pytest.mark.parametrize(("backbone", "parameters"), [("resnet18", 17_230_082), ("resnet50", 38_925_570)])
def test_the_published_networks_have_their_number_of_parameters(backbone, parameters):
    with torch.device("meta"):
        model = Stm(
            config.load(None, ["method.name=stm", f"method.network.backbone={backbone}"]).method.network
        )
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("name", ["trunk.pth", "w.safetensors"])
def test_weights_to_begin_with_that_are_not_there_are_told_by_their_key(tmp_path, name):
    with pytest.raises(UserError, match=rf"method\.training\.init=.*{name} does not exist"):
        initialise(Stm(settings().method.network), str(tmp_path / name), colour="rgb")
