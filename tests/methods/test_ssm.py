"""SSM-VOS: crops, matching, propagation and training of a small network with random weights."""

import math

import pytest
import torch
from clips import frames, masks
from torch import nn

from mamp import config, weights
from mamp.core.errors import UserError
from mamp.methods.mamp.encoder import Encoder
from mamp.methods.probe.build import on_trunk
from mamp.methods.ssm import METHOD as ssm
from mamp.methods.ssm import propagator as ssm_propagator
from mamp.methods.ssm.initial import initialise
from mamp.methods.ssm.matching import pick, similarities, structure_maps
from mamp.methods.ssm.network import Context, ResidualBlock, Ssm
from mamp.methods.ssm.propagator import merge
from mamp.methods.ssm.task import SsmTask, choose_object, cross_entropy
from mamp.methods.task import Batch
from mamp.ops.colour import imagenet
from mamp.ops.crops import paste

NETWORK = "backbone: resnet18, width: 0.125, top_k: 8, decoder: 8, context: centred"
SIZE = "method.propagation.input_size=[64, 80]"


def settings(*overrides, network=""):
    return config.load(None, ["method.name=ssm", f"method.network={{{NETWORK}{network}}}", SIZE, *overrides])


def propagator(*overrides):
    torch.manual_seed(0)
    method = settings(*(f"method.propagation.{o}" for o in overrides)).method
    return ssm.build_propagator(ssm.build_model(method).eval(), method)


# ---------------------------------------------------------------- the network


def test_cells_of_the_other_kind_count_as_zero():
    affinity = torch.tensor([[[-1.0, 2.0, 3.0, -4.0]]])
    own = torch.tensor([[True, True, False, False]])
    picked = pick(affinity, own, top_k=1)
    assert picked.object.flatten().tolist() == [2.0]
    assert picked.background.flatten().tolist() == [3.0]
    assert pick(-affinity, own, top_k=1).background.flatten().tolist() == [4.0]
    assert pick(affinity.clamp(max=-1), own, top_k=1).object.flatten().tolist() == [0.0]


def test_cosine_matching_takes_no_notice_of_length():
    a, b = torch.rand(1, 4, 2, 3), torch.rand(1, 4, 2, 3)
    near = similarities(a, b, matching="cosine")
    assert torch.allclose(near, similarities(3 * a, b / 2, matching="cosine"), atol=1e-6)
    assert torch.allclose(similarities(a, b, matching="conv")[0, 1, 2], (b[0, :, 0, 1] * a[0, :, 0, 2]).sum())


def test_each_cell_of_the_structure_gates_its_group_of_channels():
    features, group, whole = torch.rand(1, 4, 2, 3), torch.rand(1, 4, 2, 3), torch.rand(1, 2, 2, 3)
    cells = torch.tensor([[5, 0]])
    found = structure_maps(features, cells, group, whole)
    likeness = [(features * features[..., y, x][..., None, None]).sum(1) for y, x in ((1, 2), (0, 0))]
    gated = group[:, :2] * likeness[0] + group[:, 2:] * likeness[1]
    assert torch.allclose(found[:, :2], gated)
    assert torch.allclose(found[:, 2:], whole * (likeness[0] + likeness[1]) / 2)


@pytest.mark.parametrize(("whose", "follows"), [("reference", False), ("current", True)])
def test_the_structure_is_made_of_the_features_that_the_setting_names(whose, follows):
    torch.manual_seed(0)
    model = Ssm(settings(network=f", structure: {whose}").method.network).eval()
    image, mask = torch.rand(1, 3, 64, 80), torch.ones(1, 1, 64, 80)
    reference, seen = model.refer(image, mask), model.look(torch.rand(1, 3, 64, 80), mask)
    cells = seen.cells.flatten(2)
    scaled = type(seen)(seen.deepest, 2 * seen.cells, seen.eighth, seen.quarter)
    told, doubled = (model.compare(reference, x)[1] for x in (seen, scaled))
    assert cells.shape[-1] == 20
    assert torch.allclose(told, doubled) is not follows


def test_the_published_context_wants_seven_rows():
    swapped = Context(4, 4, swapped=True)
    assert swapped(torch.rand(1, 4, 7, 3)).shape == (1, 4, 7, 3)
    assert Context(4, 4, swapped=False)(torch.rand(1, 4, 2, 3)).shape == (1, 4, 2, 3)
    with pytest.raises(UserError, match="193 or more"):
        config.load(None, ["method.name=ssm", "method.propagation.input_size=[192, 256]"])


def test_more_cells_are_not_asked_for_than_there_are():
    with pytest.raises(UserError, match="20 cells, fewer than"):
        settings("method.network.top_k=32")


def test_groups_divide_the_channels():
    with pytest.raises(UserError, match="does not divide the 32 channels"):
        Ssm(settings("method.network.top_k=7").method.network)


def test_a_residual_block_adds_what_is_left_of_its_input():
    block = ResidualBlock(1)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    assert block(torch.tensor([[[[-1.0, 2.0]]]])).flatten().tolist() == [0.0, 2.0]


@pytest.mark.parametrize(("backbone", "parameters"), [("resnet50", 52_456_484), ("resnet101", 71_448_612)])
def test_the_published_networks_have_their_number_of_parameters(backbone, parameters):
    knobs = config.load(None, ["method.name=ssm", f"method.network.backbone={backbone}"]).method.network
    with torch.device("meta"):
        model = Ssm(knobs)
    assert sum(p.numel() for p in model.parameters()) == parameters


# ---------------------------------------------------------------- propagation


def test_objects_together_get_what_each_gets_alone():
    video = frames(3)
    given = masks((4, 4), (20, 30), (24, 8))
    together, parts = propagator("batch=8"), propagator("batch=2")
    alone = [propagator() for _ in given]
    for carry in (together, parts):
        carry.start(video[0], given)
    for carry, mask in zip(alone, given, strict=True):
        carry.start(video[0], mask[None])
    for frame in video[1:]:
        found = together.step(frame)
        assert torch.allclose(parts.step(frame), found, atol=1e-5)
        for k, carry in enumerate(alone):
            carry.step(frame)
            differs = carry.pending.masks[0] != together.pending.masks[k]
            assert differs.float().mean() < 0.002  # where both channels are all but equal


@pytest.mark.parametrize(("fitting", "parts"), [(3, [3]), (2, [2, 1]), (0.5, [1, 1, 1])])
def test_on_the_cpu_so_many_objects_go_together_as_crops_fit(monkeypatch, fitting, parts):
    seen = []
    look = Ssm.look
    monkeypatch.setattr(Ssm, "look", lambda self, f, m: seen.append(len(f)) or look(self, f, m))
    monkeypatch.setattr("mamp.methods.ssm.propagator.CPU_PIXELS", int(fitting * 64 * 80))
    carry = propagator()
    first, second = frames(2)
    carry.start(first, masks((4, 4), (20, 30), (24, 8)))
    carry.step(second)
    assert seen == parts


def test_each_reference_is_encoded_once(monkeypatch):
    seen = []
    refer = Ssm.refer
    monkeypatch.setattr(Ssm, "refer", lambda self, f, m: seen.append(len(f)) or refer(self, f, m))
    carry = propagator()
    video = frames(5)
    carry.start(video[0], masks((4, 4), (20, 30)))
    for t, frame in enumerate(video[1:]):
        carry.step(frame)
        if t == 1:
            carry.add(masks((24, 8)))
    assert seen == [2, 1]


def test_a_late_object_leaves_the_others_alone():
    video = frames(4)
    with_late, without = propagator(), propagator()
    for carry in (with_late, without):
        carry.start(video[0], masks((4, 4), (20, 30)))
        carry.step(video[1])
    with_late.add(masks((4, 6)))
    for frame in video[2:]:
        with_late.step(frame)
        without.step(frame)
    assert torch.equal(with_late.pending.masks[:2], without.pending.masks)
    assert len(with_late.pending.masks) == 3


@pytest.mark.parametrize(("reference", "changes"), [("first", False), ("last", True)])
def test_a_corrected_mask_becomes_the_reference_if_asked_for(reference, changes):
    carry = propagator(f"reference={reference}")
    video = frames(3)
    carry.start(video[0], masks((4, 4), (20, 30)))
    carry.step(video[1])
    before = carry.reference
    carry.correct(masks((10, 10)), [0])
    assert torch.equal(carry.pending.masks[0].float(), masks((10, 10))[0])
    assert torch.equal(carry.reference.cells[0], before.cells[0]) is not changes
    assert torch.allclose(carry.reference.cells[1], before.cells[1])


def test_an_object_that_is_hidden_keeps_its_reference():
    carry = propagator("reference=last")
    video = frames(3)
    carry.start(video[0], masks((4, 4), (20, 30)))
    carry.step(video[1])
    before = carry.reference
    carry.correct(torch.cat((masks((10, 10)), torch.zeros(1, 40, 56))), [0, 1])
    assert torch.equal(carry.reference.own[1], before.own[1])
    assert torch.equal(carry.reference.cells[1], before.cells[1])
    assert not torch.equal(carry.reference.cells[0], before.cells[0])
    carry.correct(torch.zeros(2, 40, 56), [0, 1])
    assert carry.reference.own.any(1).all()
    assert not carry.pending.masks.any()


@pytest.mark.parametrize(("how", "background"), [("soft", 0.06), ("hard", 0.2)])
def test_background_is_what_objects_leave(how, background):
    found = merge(torch.tensor([[[0.7]], [[0.8]]]), how=how)
    assert found.flatten().tolist() == pytest.approx([background, 0.7, 0.8])


def test_an_object_that_is_lost_is_looked_for_in_the_whole_frame(monkeypatch):
    boxes, carry = [], propagator()
    monkeypatch.setattr(
        ssm_propagator, "paste", lambda found, box, size: boxes.append(box) or paste(found, box, size)
    )
    video = frames(2)
    carry.start(video[0], masks((4, 4)))
    carry.correct(torch.zeros(1, 40, 56), [0])
    assert carry.step(video[1]).isfinite().all()
    assert boxes == [(0, 0, 56, 40)]


# ---------------------------------------------------------------- training


def batch(clips=2):
    video = (255 * frames(3 * clips)).to(torch.uint8).unflatten(0, (clips, 3))
    labels = torch.stack([masks((4, 4), (20, 30)), masks((6, 6), (22, 28))]).mul(
        torch.tensor([1, 2])[:, None, None]
    )
    maps = labels.sum(1).to(torch.uint8)[[0, 1, 1]]  # (3, H, W)
    return Batch(video, maps[None].repeat(clips, 1, 1, 1), tuple({} for _ in range(clips)))


def task(*overrides):
    torch.manual_seed(0)
    return SsmTask(settings("data.size=64", *overrides))


def seeded():
    return torch.Generator().manual_seed(4)


def test_a_clip_becomes_two_crops_and_a_blob():
    prepared = task("method.training.rotate=0").prepare(batch(), seeded())
    assert prepared.reference.shape == prepared.frame.shape == (2, 3, 64, 64)
    assert set(prepared.reference_mask.unique().tolist()) == {0.0, 1.0}
    assert prepared.previous.min() >= 0
    assert 0.5 < prepared.previous.max() <= 1
    assert len(prepared.previous.unique()) > 10
    assert prepared.target.sum() > 0


def test_without_blur_the_mask_before_is_hard():
    prepared = task("method.training.blur=0").prepare(batch(), seeded())
    assert set(prepared.previous.unique().tolist()) == {0.0, 1.0}


def test_the_loss_reaches_the_mask_that_the_network_sees():
    learner = task("method.training.dropout=0").train()
    loss, scalars = learner(learner.prepare(batch(), seeded()))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(
        float(scalars["mask"] + 0.1 * scalars["structure"]), rel=1e-5
    )
    assert learner.model.encoder.conv1.weight.grad[:, 3].abs().sum() > 0


def test_frozen_norms_keep_their_statistics():
    learner = task("method.training.freeze_norm=true").train()
    before = learner.model.encoder.bn1.running_mean.clone()
    learner(learner.prepare(batch(), seeded()))
    assert torch.equal(learner.model.encoder.bn1.running_mean, before)


def test_unlabelled_pixels_do_not_count():
    logits = torch.zeros(1, 2, 1, 2)
    logits[..., 1] = torch.tensor([100.0, -100.0])[None, :, None]
    target = torch.tensor([[[1, 255]]])
    assert float(cross_entropy(logits, target)) == pytest.approx(math.log(2))
    assert float(cross_entropy(logits, torch.full_like(target, 255))) == 0


def test_an_object_is_drawn_that_shows_again():
    labels = torch.tensor([[[0, 1, 2, 3]], [[0, 2, 0, 255]], [[0, 0, 4, 0]]], dtype=torch.uint8)
    assert {choose_object(labels, draw) for draw in (0.0, 0.5, 0.99)} == {2}
    assert [choose_object(labels[:1], draw) for draw in (0.0, 0.4, 0.99)] == [1, 2, 3]


def test_too_small_a_size_is_refused():
    with pytest.raises(UserError, match=r"data\.size is 64 pixels high"):
        SsmTask(config.load(None, ["method.name=ssm", "data.size=64"]))


def test_the_trunk_begins_at_torchvisions_weights_but_for_the_mask(tmp_path):
    model, other = Ssm(settings().method.network), Ssm(settings().method.network)
    state = {n: v + 1 for n, v in other.encoder.state_dict().items()}
    state["conv1.weight"] = state["conv1.weight"][:, :3].clone()
    torch.save(state, tmp_path / "resnet.pth")
    kept = model.encoder.conv1.weight[:, 3].clone()
    assert initialise(model, str(tmp_path / "resnet.pth")) == len(state)
    assert torch.equal(model.encoder.conv1.weight[:, :3], state["conv1.weight"])
    assert torch.equal(model.encoder.conv1.weight[:, 3], kept)
    torch.save({"what.weight": torch.zeros(1)}, tmp_path / "none.pth")
    with pytest.raises(UserError, match="no entry that fits"):
        initialise(model, str(tmp_path / "none.pth"))


def test_the_label_free_encoder_begins_the_stages_but_not_the_stem(tmp_path):
    source = Encoder(width=0.125)
    weights.save(tmp_path / "w.safetensors", source.state_dict(), method={"name": "mamp"}, provenance={})
    model = Ssm(settings().method.network)
    stem = model.encoder.conv1.weight.clone()
    initialise(model, str(tmp_path / "w.safetensors"))
    assert torch.equal(model.encoder.layer2[0].downsample[0].weight, source.layer2[0].shortcut[0].weight)
    assert torch.equal(model.encoder.layer3[1].conv2.weight, source.layer3[1].left[3].weight)
    assert torch.equal(model.encoder.conv1.weight, stem)


def test_the_cells_that_it_matches_can_be_probed():
    method, image = settings().method, torch.rand(1, 3, 48, 64)
    model = ssm.build_model(method).eval()
    knobs = ["method.name=probe", "method.encoder=ssm", "method.network.stage_stride=null"]
    encoder = on_trunk(model, method, config.load(None, knobs).method)
    with torch.inference_mode():
        cells = model.look(imagenet(image), torch.zeros(1, 1, 48, 64)).cells
        torch.testing.assert_close(encoder(image), cells)
