"""The probe's presets at work: names, bounds, objects that are small or late, and the same propagation as
MAMP's.
"""

import pytest
import torch
from torch import nn

from mamp import config, methods
from mamp.methods.mamp.propagator import MampPropagator
from mamp.methods.probe.build import on_trunk
from mamp.methods.probe.config import ProbeConfig
from mamp.methods.probe.propagator import ProbePropagator

PRESETS = sorted(methods.get("probe").presets)


def method(*settings: str) -> ProbeConfig:
    found = config.load(None, ["method=probe", *settings]).method
    assert isinstance(found, ProbeConfig)
    return found


class Colours(nn.Module):
    """Mean colours of cells, bent so that unequal ones are far apart; images come in [0, 1]."""

    normalises = True

    def __init__(self, side: int = 4) -> None:
        super().__init__()
        self.patch = side

    def forward(self, images):
        cells = nn.functional.avg_pool2d(images, self.patch)
        return torch.cat([torch.sin(9 * cells), torch.cos(9 * cells)], dim=1)


def clip(frames: int = 5, size: tuple[int, int] = (48, 64)):
    """Frames (3, H, W) and masks (1, H, W) of a red square that moves 4 pixels a frame over grey."""
    for t in range(frames):
        mask = torch.zeros(1, *size)
        mask[:, 16:32, 8 + 4 * t : 24 + 4 * t] = 1
        yield 0.4 + mask * torch.tensor([0.5, -0.3, -0.3]).view(3, 1, 1), mask


def small(preset: str, *more: str) -> ProbeConfig:
    """The preset at the frame's own size."""
    return method(f"method.preset={preset}", "method.input.rule=native", *more)


def iou(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a & b).sum() / (a | b).sum())


@torch.inference_mode()
def carry(knobs: ProbeConfig, frames, encoder: nn.Module | None = None) -> list[torch.Tensor]:
    """Probabilities of every frame after the first."""
    (first, masks), *rest = frames
    found = ProbePropagator(encoder or Colours(), knobs)
    found.start(first, masks)
    return [found.step(frame) for frame, _ in rest]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_follows_a_moving_square(preset):
    frames = list(clip())
    for probabilities, (_, mask) in zip(carry(small(preset), frames), frames[1:], strict=True):
        assert iou(probabilities.argmax(0) == 1, mask[0] > 0) > 0.6
        torch.testing.assert_close(probabilities.sum(0), torch.ones(48, 64))


@pytest.mark.parametrize("preset", PRESETS)
def test_memory_holds_the_context_and_the_first_frame_at_most(preset):
    knobs = small(preset, "method.propagation.context=3")
    frames = [frame for frame, _ in clip(8)]
    with torch.inference_mode():
        found = ProbePropagator(Colours(), knobs)
        found.start(frames[0], next(clip())[1])
        bytes_held = []
        for frame in frames[1:]:
            found.step(frame)
            bytes_held.append(found.memory_bytes)
    assert len(found.memory) == 4 and 0 in found.memory
    assert bytes_held[-1] == bytes_held[-3]


@pytest.mark.parametrize("preset", PRESETS)
def test_an_object_may_come_late_and_go(preset):
    frames = list(clip())
    with torch.inference_mode():
        found = ProbePropagator(Colours(), small(preset))
        found.start(frames[0][0], frames[0][1])
        found.step(frames[1][0])
        corner = torch.zeros(1, 48, 64)
        corner[:, 36:48, 48:64] = 1
        found.add(corner)
        assert found.step(frames[2][0]).shape == (3, 48, 64)
        found.remove([0])
        assert found.step(frames[3][0]).shape == (2, 48, 64)


def test_a_results_name_tells_the_preset_and_what_differs():
    assert method().label() == "probe torchvision:resnet18 dino"
    changed = method(
        "method.preset=crw",
        "method.encoder=timm:a",
        "method.propagation.top_k=7",
        "method.network.layer=layer2",
        "method.propagation.max_mb=9",
        "method.propagation.radius=12",
    )
    assert changed.label() == "probe timm:a crw layer=layer2 top_k=7"


def test_a_knob_beside_a_preset_changes_that_knob_alone():
    plain, changed = method("method.preset=vfs"), method("method.preset=vfs", "method.propagation.top_k=3")
    assert changed.propagation == plain.propagation.model_copy(update={"top_k": 3})
    assert (changed.input, changed.network) == (plain.input, plain.network)


def test_a_size_that_is_no_multiple_of_the_patch_is_resized_and_said_once(capsys):
    frames = list(clip(3, size=(45, 62)))  # a size of this test alone
    first, *_ = carry(small("dino"), frames, Colours(8))
    assert first.shape == (2, 45, 62)
    said = capsys.readouterr().err
    assert (
        said
        == "frames of 62x45 make 62x45 pixels, which patches of 8 do not divide: they are resized to 64x48\n"
    )


def test_the_encoder_sees_the_size_that_the_preset_says():
    seen = []

    class Sizes(Colours):
        def forward(self, images):
            seen.append(tuple(images.shape[-2:]))
            return super().forward(images)

    for preset in ("dino", "dinov3", "vfs", "cropmae", "crw"):
        knobs = method(f"method.preset={preset}", "method.input.short=128", "method.propagation.radius=2")
        carry(knobs, list(clip(2)), Sizes(16))
    assert seen[::2] == [(128, 128), (128, 176), (128, 176), (480, 880), (48, 64)]


def test_a_small_object_is_lost_as_published_or_kept():
    frame, mask = torch.rand(3, 48, 64), torch.zeros(1, 48, 64)
    mask[:, 21, 30] = 1  # touches no cell's centre
    for how, alive in (("lost", False), ("kept", True)):
        knobs = small("dino", f"method.propagation.small_objects={how}", "method.propagation.stretch=none")
        (after,) = carry(knobs, [(frame, mask), (frame, mask)], Colours(8))
        assert bool((after[1] > 0).any()) == alive


def test_hard_labels_are_remembered_as_label_maps():
    frames = list(clip())
    with torch.inference_mode():
        found = ProbePropagator(Colours(), small("dino", "method.propagation.labels=hard"))
        found.start(*frames[0])
        for frame, _ in frames[1:]:
            found.step(frame)
    assert all(set(entry.labels.unique().tolist()) <= {0.0, 1.0} for entry in found.memory.values())


def test_mamps_own_propagator_is_the_preset_mamp_where_they_agree():
    torch.manual_seed(0)
    # the probe sees frames as they are, and reads every cell
    plain = ["short_side=null", "edge_radius=0", "radius=16", "search=exact"]
    own = config.load(
        None,
        [
            "method.encoder.width=0.125",
            "method.encoder.features=8",
            *(f"method.propagation.{k}" for k in plain),
        ],
    ).method
    network = methods.get("mamp").build_model(own).eval()
    frames = list(clip(6))  # masks in whole cells, so that both read the same first labels
    knobs = method("method.preset=mamp", "method.encoder=mamp")
    with torch.inference_mode():
        pair = MampPropagator(network, own), ProbePropagator(on_trunk(network, own, knobs), knobs)
        for found in pair:
            found.start(*frames[0])
        for frame, _ in frames[1:]:
            for found in pair:
                found.step(frame)
            a, b = (found.pending.scores for found in pair)
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
