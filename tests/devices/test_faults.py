"""What went wrong on devices that nobody had at hand: each for every method it may concern."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from small import LEARNING, PROPAGATING, SHRUNK, clips, frames, network, segmenter, settings, squares
from small import trainer as make_trainer
from torch import nn

from mamp import config, methods
from mamp.core import devices
from mamp.core.errors import UserError
from mamp.ops.folding import fold_batch_norms
from mamp.ops.losses import map_cross_entropy
from mamp.segmentation import model as models
from mamp.training.randomness import reproducible

SIZE = (64, 96)
ONE_EACH = [f"{name} tuned" for name in ("mamp", "stm", "afb_urr", "ssm")] + ["probe crw"]
TRAINED = [label for label in LEARNING if len(label.split()) == 1]


def shrunk(label: str) -> tuple[str, ...]:
    return SHRUNK.get(label.split()[0], ())


def follow(label: str, device: str, raft, count: int = 2):
    carrier = segmenter(label, device, raft, *shrunk(label))
    for number, frame in enumerate(frames(count, SIZE)):
        carrier.step(frame, squares(SIZE, 1, 2) if number == 0 else None)
    return carrier


# -- batch norms of several GPUs


@pytest.mark.parametrize("label", ["stm", "afb_urr", "ssm"])
def test_frozen_batch_norms_stay_frozen_over_several_gpus(label):
    task = make_trainer(label, "cpu", "method.training.freeze_norm=true").task
    nn.SyncBatchNorm.convert_sync_batchnorm(task)
    task.train()
    norms = [m for m in task.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(m, nn.SyncBatchNorm) and not m.training for m in norms)


def test_batch_norms_of_several_gpus_are_folded():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    plain[1].running_mean.normal_(), plain[1].running_var.uniform_(0.5, 2)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    folded, x = fold_batch_norms(synced), torch.rand(1, 3, 8, 8)
    assert isinstance(folded[1], nn.Identity)
    torch.testing.assert_close(folded(x), plain.eval()(x))


# -- fp16


@pytest.mark.parametrize("matching", ["conv", "cosine"])
def test_similarities_beyond_fp16_lose_no_object(gpu, matching):
    chosen = settings("ssm", (f"method.network.matching={matching}",))
    net = network(chosen)
    with torch.no_grad():
        net.encoder.layer3[-1].bn2.weight.fill_(2000.0)
    net.to("cuda")
    frame = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).to("cuda")
    mask = torch.zeros(1, 1, 64, 96, device="cuda")
    mask[..., 16:48, 24:60] = 1
    found = []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=half):
            reference, seen = net.refer(frame, mask), net.look(frame, mask)
            found.append([x.cpu() for x in net(reference, seen, (64, 96))])
            if matching == "conv":
                assert net.compare(reference, seen)[0].abs().max().item() > 65_504
    for whole, half in zip(*found, strict=True):
        assert half.isfinite().all() and half.dtype == torch.float32
        assert (half - whole).abs().max() < 0.05 * whole.abs().max()


def test_a_step_that_the_scaler_left_out_does_not_blank_the_norm(tmp_path):
    learner = make_trainer("mamp", "cpu")
    learner.unlogged = [{"loss": 1.0, "grad_norm": math.inf}, {"loss": 3.0, "grad_norm": 2.0}]
    assert learner.summarise() == {"loss": 2.0, "grad_norm": 2.0}
    learner.unlogged = [{"loss": 1.0, "grad_norm": math.nan}]
    assert learner.summarise() == {"loss": 1.0, "grad_norm": None}


# -- the same numbers every time

# of torch's list of operations that have no deterministic kernel on CUDA, those that training could use
NOT_DETERMINISTIC = {
    *("nll_loss2d_forward", "nll_loss2d_backward", "upsample_bilinear2d_backward", "kthvalue", "median"),
    *("upsample_bicubic2d_backward", "grid_sampler_2d_backward", "reflection_pad2d_backward", "histc"),
    *("replication_pad2d_backward", "_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward"),
    *("bincount", "put_", "scatter_reduce", "avg_pool3d_backward", "max_pool3d_with_indices_backward"),
}


@pytest.mark.parametrize("label", LEARNING)
def test_a_step_has_deterministic_kernels(gpu, label):
    with reproducible(0):
        learner = make_trainer(label, "cuda")
        gpu.reset()
        learner.learn(clips(learner))
    assert not NOT_DETERMINISTIC & set(gpu.launches)
    if label.startswith("mamp"):
        assert "max_pool2d_with_indices_backward" not in gpu.launches  # see docs/training.md


def test_cross_entropy_of_maps_is_torchs():
    logits = torch.randn(2, 3, 5, 7, requires_grad=True)
    target = torch.randint(0, 3, (2, 5, 7))
    target[0, :2] = 255
    ours = map_cross_entropy(logits, target, ignored=255)
    torchs = F.cross_entropy(logits, target, ignore_index=255, reduction="sum")
    torch.testing.assert_close(ours, torchs)
    mine, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (ours, torchs))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_knob_chooses_torchs_algorithms(deterministic):
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    with reproducible(0, deterministic=deterministic):
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert (cudnn.deterministic, cudnn.benchmark) == (deterministic, not deterministic)
    assert (cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()) == before
    assert config.load(None).train.deterministic


# -- float32 that is float32


@pytest.mark.parametrize("label", ONE_EACH)
def test_float32_products_are_whole_while_frames_are_stepped(gpu, raft, label):
    carrier = segmenter(label, "cuda", raft, *shrunk(label))
    seen = []
    hooks = nn.modules.module.register_module_forward_pre_hook(
        lambda module, _: seen.append(torch.backends.cudnn.allow_tf32)
    )
    try:
        for number, frame in enumerate(frames(2, SIZE)):
            carrier.step(frame, squares(SIZE, 1, 2) if number == 0 else None)
    finally:
        hooks.remove()
    assert seen and not any(seen) and torch.backends.cudnn.allow_tf32


# -- evaluate.compile


@pytest.mark.parametrize("label", ONE_EACH)
def test_all_convolutions_of_a_frame_are_compiled(monkeypatch, raft, label):
    depth, outside = [0], []

    def compiled(function, **_):
        def call(*args, **kwargs):
            depth[0] += 1
            try:
                return function(*args, **kwargs)
            finally:
                depth[0] -= 1

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    chosen = settings(label, (*PROPAGATING[label], *shrunk(label), "evaluate.compile=true"))
    net = models._compiled(network(chosen), chosen)
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda *_, name=name: None if depth[0] else outside.append(name))
    carrier = models.Segmenter(net, chosen.method)
    for number, frame in enumerate(frames(2, SIZE)):
        carrier.step(frame, squares(SIZE, 1, 2) if number == 0 else None)
    assert not outside


# -- memory that is full

FULL = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.00 MiB"
)


@pytest.mark.parametrize("label", ONE_EACH)
@pytest.mark.parametrize("error", [torch.OutOfMemoryError(FULL), RuntimeError("MPS backend out of memory")])
def test_a_full_memory_names_what_to_lower(gpu, raft, label, error):
    carrier = segmenter(label, "cuda", raft, *shrunk(label), *AT_LEAST.get(label, ()))
    video = frames(2, SIZE)
    carrier.step(video[0], squares(SIZE, 1, 2))

    def full(*_):
        raise error

    hook = nn.modules.module.register_module_forward_pre_hook(full)
    try:
        with pytest.raises(UserError, match="memory of the device is full") as found:
            carrier.step(video[1])
    finally:
        hook.remove()
    message = str(found.value)
    assert "--device cpu" in message and "96x64" in message and "2 objects" in message
    named = [word.strip(",") for word in message.split() if word.startswith("method.")]
    assert named
    config.load(None, [f"method.name={label.split()[0]}", *named])  # each is a setting


AT_LEAST = {"mamp tuned": ("method.propagation.max_mb=64",)}


@pytest.mark.parametrize(
    "other", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")]
)
def test_other_errors_stay_what_they_are(other):
    with pytest.raises(type(other), match=str(other)), devices.out_of_memory(lambda: "lower it"):
        raise other


def test_training_names_what_to_lower(monkeypatch):
    from mamp.training import engine

    chosen = config.load(None, ["train.batch=8"])
    with (
        pytest.raises(UserError, match=r"2\.50 GiB.*train\.accumulate=1.*train\.batch=8.*data\.size=256"),
        devices.out_of_memory(lambda: engine._less_memory(chosen)),
    ):
        raise torch.OutOfMemoryError(FULL)


# -- bf16 where it is slow


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("fast", [True, False])
def test_bf16_without_arithmetic_for_it_is_warned_of(monkeypatch, kind, fast):
    monkeypatch.setattr(devices, "fast_bf16", lambda device: fast)
    told = devices.slow_amp("train.amp", "bf16", torch.device(kind))
    assert (told is None) == fast
    assert fast or "train.amp=auto" in told
    assert devices.slow_amp("train.amp", "auto", torch.device(kind)) is None
    assert devices.slow_amp("train.amp", "off", torch.device(kind)) is None


def test_every_method_has_its_row():
    assert {label.split()[0] for label in ONE_EACH} == set(methods.METHODS) - {"flow"}  # it has no network
    assert set(TRAINED) == set(methods.having("task"))
