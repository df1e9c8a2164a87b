"""Preset `tuned` of the probe: what makes MAMP's default good, for any encoder."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mamp import config, methods
from mamp.core.errors import UserError
from mamp.methods.mamp.propagator import MampPropagator
from mamp.methods.probe.build import on_trunk
from mamp.methods.probe.config import ProbeConfig
from mamp.methods.probe.frames import input_size
from mamp.methods.probe.propagator import ProbePropagator
from mamp.ops.label_masks import LabelMasks
from mamp.ops.taps import bilinear_taps, placed_taps


def method(*settings: str) -> ProbeConfig:
    found = config.load(None, ["method=probe", "method.preset=tuned", *settings]).method
    assert isinstance(found, ProbeConfig)
    return found


class Net(nn.Module):
    """Features at a stride: patches, or a convolution with symmetric padding."""

    normalises = False

    def __init__(self, stride: int, *, patches: bool) -> None:
        super().__init__()
        torch.manual_seed(stride)
        self.patch = stride if patches else 1
        size, padding = (stride, 0) if patches else (stride + 1, stride // 2)
        self.conv = nn.Conv2d(3, 12, size, stride, padding)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images)


def clip(seed: int, frames: int = 4, size: tuple[int, int] = (48, 64)) -> list[torch.Tensor]:
    """A textured square that moves over a textured ground."""
    rng = np.random.default_rng(seed)
    ground, square = rng.random((3, *size), np.float32), rng.random((3, 20, 20), np.float32)
    found = []
    for t in range(frames):
        frame = torch.from_numpy(ground.copy())
        frame[:, 12:32, 8 + 3 * t : 28 + 3 * t] = torch.from_numpy(square)
        found.append(frame)
    return found


def masks(size: tuple[int, int] = (48, 64)) -> torch.Tensor:
    found = torch.zeros(2, *size)
    found[0, 12:32, 8:28], found[1, 36:44, 40:60] = 1, 1
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("changes", [[], ["edge_radius=0"], ["sharpen=1"], ["edge_fit=exact", "top_k=3"]])
def test_with_mamps_encoder_it_is_mamps_propagation(seed: int, changes: list[str]) -> None:
    """The same levers from the same features: as MAMP's own propagator, but for what only it has."""
    torch.manual_seed(seed)
    small = ["method.encoder.width=0.125", "method.encoder.features=8"]
    levers = ["short_side=null", "radius=16", "search=exact", "sharpen=1.5", "edge_fit=fast", *changes]
    own = config.load(None, [*small, *(f"method.propagation.{lever}" for lever in levers)]).method
    network = methods.get("mamp").build_model(own).eval()
    knobs = method(
        "method.encoder=mamp", "method.input.rule=native", *(f"method.propagation.{c}" for c in changes)
    )
    with torch.inference_mode():
        pair = MampPropagator(network, own), ProbePropagator(on_trunk(network, own, knobs), knobs)
        first, *rest = clip(seed)
        for found in pair:
            found.start(first, masks())
        for frame in rest:
            a, b = (found.step(frame) for found in pair)
            torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("patches", [True, False])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_every_encoder_gets_the_same_number_of_cells(stride: int, patches: bool) -> None:
    net = Net(stride, patches=patches)
    plain = ["method.propagation.top_k=1", "method.propagation.edge_radius=0"]  # edges of noise say nothing
    knobs = method("method.input.cells=12", *plain)
    with torch.inference_mode():
        found = ProbePropagator(net, knobs)
        found.start(clip(0)[0], masks())
        probabilities = found.step(clip(0)[0])
    assert found.grid == (12, 16)
    assert probabilities.shape == (3, 48, 64) and found._feature_size((48, 64))[1:] == (12, 16)
    assert (probabilities[1] > 0.5)[16:28, 16:26].float().mean() > 0.5


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [((240, 427), 16, (960, 1708)), ((240, 427), 4, (240, 427)), ((480, 854), 8, (480, 854)),
     ((100, 150), 16, (400, 600)), ((720, 1280), 8, (480, 853))],
)  # fmt: skip
def test_frames_are_enlarged_as_far_as_it_says(
    size: tuple[int, int], stride: int, expected: tuple[int, int]
) -> None:
    assert input_size(size, method().input, stride=stride) == expected


@pytest.mark.parametrize("patches", [True, False])
@pytest.mark.parametrize("change", ["edge_radius=3", "edge_radius=0"])
def test_label_maps_are_those_of_the_probabilities(patches: bool, change: str) -> None:
    """Many objects go another way, in bands: it gives the same."""
    net, knobs = Net(8, patches=patches), method("method.input.cells=12", f"method.propagation.{change}")
    numbers = (masks()[0] + 2 * masks()[1]).numpy().astype(np.uint16)
    with torch.inference_mode():
        dense, banded = ProbePropagator(net, knobs), ProbePropagator(net, knobs)
        first, *rest = clip(3)
        dense.start(first, masks())
        banded.start(first, LabelMasks(numbers, range(1, 3), device=torch.device("cpu")))
        for frame in rest:
            probabilities, winner = dense.step(frame), banded.step_labels(frame)
            best = probabilities.topk(2, dim=0).values
            clear = best[0] - best[1] > 1e-3
            assert torch.equal(probabilities.argmax(0)[clear], winner.long()[clear])


@pytest.mark.parametrize("cells", [7, 16, 30])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_the_middle_of_a_patch_is_its_half_pixel_centre(cells: int, stride: int) -> None:
    side, target = cells * stride, 101
    a = placed_taps(cells, target, cell=stride, offset=stride / 2, between=side)
    b = bilinear_taps(cells, target)
    values = torch.rand(cells)
    read = [torch.lerp(values[t.first], values[t.second], t.part) for t in (a, b)]
    torch.testing.assert_close(*read, atol=1e-5, rtol=0)


def test_a_budget_bounds_the_memory() -> None:
    budget = ["memory=budget", "context=2", "budget_mb=0.05"]
    knobs = method("method.input.cells=12", *(f"method.propagation.{word}" for word in budget))
    with torch.inference_mode():
        found = ProbePropagator(Net(8, patches=True), knobs)
        first, *rest = clip(1, frames=12, size=(48, 64))
        found.start(first, masks())
        for frame in rest:
            found.step(frame)
            assert found.memory_bytes <= 50_000
    assert len(found.memory) > 3 and 0 in found.memory


@pytest.mark.parametrize(
    "words",
    [
        ["method.propagation.upsample=nearest"],
        ["method.propagation.stretch=dino"],
        ["method.propagation.memory=budget", "method.propagation.repeats=twice"],
        ["method.propagation.memory=budget", "method.propagation.free_first=true"],
    ],
)
def test_settings_that_do_not_fit_together_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="needs"):
        method(*words)


PEAK = """
import resource, torch, timm
from mamp import config
from mamp.methods.probe.encoders import wrap
torch.set_num_threads(1)
net = timm.models.VisionTransformer(
    img_size=224, patch_size=16, embed_dim=32, depth=1, num_heads=4, num_classes=0, dynamic_img_size=True
)
method = config.load(None, ["method=probe"]).method
with torch.inference_mode():
    encoder = wrap(net, method.network, own=False)
    encoder(torch.zeros(1, 3, 64, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    features = encoder(torch.zeros(1, 3, 960, 1712))
print(tuple(features.shape), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""


def test_a_patch_encoder_at_enlarged_frames_holds_no_matrix_of_all_with_all() -> None:
    """6,420 tokens: such a matrix of four heads is 660 MB."""
    pytest.importorskip("timm")
    ran = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    shape, grown = ran.stdout.rsplit(" ", 1)
    assert shape == "(1, 32, 60, 107)" and int(grown) < 200
