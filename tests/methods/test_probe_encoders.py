"""Encoders of every source: what they give on odd sizes, and what is said when something does not fit."""

import socket
import sys
from types import MethodType

import pytest
import torch
from torch import nn

from mamp import config, methods
from mamp.core.errors import UserError
from mamp.methods.probe.build import build_pretrained, on_trunk
from mamp.methods.probe.config import ProbeConfig
from mamp.methods.probe.encoders import Encoder, _tokens, build_encoder, layers
from mamp.methods.probe.positions import resample

TINY_TIMM = "timm:test_vit"


def method(encoder: str, *more: str) -> ProbeConfig:
    found = config.load(None, ["method=probe", f"method.encoder={encoder}", *more]).method
    assert isinstance(found, ProbeConfig)
    return found


def build(encoder: str, *more: str) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(method(encoder, *more), pretrained=False)


@torch.inference_mode()
def shape(encoder: nn.Module, height: int, width: int) -> tuple[int, ...]:
    return tuple(encoder(torch.rand(1, 3, height, width)).shape)


# ---------------------------------------------------------------- by name


@pytest.mark.parametrize(
    ("encoder", "knobs", "size", "grid"),
    [
        ("torchvision:resnet18", [], (50, 83), (256, 7, 11)),  # stage 3 at stride 8, sides rounded up
        ("torchvision:resnet18", ["method.network.stage=4"], (50, 83), (512, 7, 11)),
        ("torchvision:resnet18", ["method.network.stage_stride=null"], (50, 83), (256, 4, 6)),
        ("torchvision:resnet18", ["method.network.layer=layer2.0.conv1"], (50, 83), (128, 7, 11)),
        ("timm:test_resnet", [], (50, 83), (192, 7, 11)),
        ("timm:resnet18d", [], (50, 83), (256, 7, 11)),  # with pooled shortcuts
        ("timm:test_convnext", [], (64, 96), (48, 4, 6)),
        (TINY_TIMM, [], (64, 96), (64, 4, 6)),
        (TINY_TIMM, ["method.network.layer=-2"], (64, 96), (64, 4, 6)),
        (
            "timm:test_vit4",
            [],
            (48, 80),
            (96, 3, 5),
        ),  # no class token; its last LayerNorm comes after the mean
    ],
)
def test_a_named_network_gives_a_grid(encoder, knobs, size, grid):
    assert shape(build(encoder, *knobs), *size) == (1, *grid)


def test_a_network_with_registers_loses_them():
    import timm

    network = timm.models.VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=16,
        depth=2,
        num_heads=2,
        reg_tokens=3,
        dynamic_img_size=True,
        num_classes=0,
    )
    seen = []
    network.blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    encoder = Encoder(network.eval(), layer="blocks.1")
    with torch.inference_mode():
        grid = encoder(torch.rand(1, 3, 24, 40))[0]
    assert seen[0].shape[1] == 4 + 3 * 5
    torch.testing.assert_close(grid.flatten(1).T, seen[0][0, 4:])


def test_sizes_may_follow_one_another_and_the_learnt_positions_stay():
    encoder = build(TINY_TIMM)
    images = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        before = encoder(images)
        encoder(torch.rand(1, 3, 48, 96))
        torch.testing.assert_close(encoder(images), before, rtol=0, atol=0)


def test_a_vit_of_torchvision_reads_frames_of_any_size():
    from torchvision.models import VisionTransformer

    network = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    network._process_input = MethodType(_tokens, network)  # as `torchvision:` does it
    assert shape(Encoder(network.eval(), layer="encoder.ln"), 24, 40) == (1, 16, 3, 5)


@pytest.mark.parametrize("how", ["size", "scale"])
def test_positions_of_a_grid_that_is_not_square_are_resampled(how):
    row = torch.linspace(0, 1, 6).expand(4, 6).flatten()[None, :, None]  # (1, 24, 1), growing to the right
    found = resample(torch.cat((torch.full((1, 1, 1), 9.0), row), dim=1), (8, 12), how=how, learnt=(4, 6))
    assert found.shape == (1, 1 + 96, 1) and found[0, 0] == 9
    grid = found[0, 1:, 0].unflatten(0, (8, 12))
    assert (grid[:, 2:-1].diff() > 0).all()
    torch.testing.assert_close(grid[3], grid[4])


def test_reading_a_block_applies_the_last_norm_unless_told_otherwise():
    with_norm, without = (
        build(TINY_TIMM, "method.network.layer=2", f"method.network.final_norm={on}")
        for on in ("true", "false")
    )
    images = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        plain, normed = without(images), with_norm(images)
        want = with_norm.network.norm(plain.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(normed, want)


def test_reflect_padding_reaches_every_convolution():
    zeros = build("torchvision:resnet18")
    mirrored = build("torchvision:resnet18", "method.network.padding=reflect")
    mirrored.load_state_dict(zeros.state_dict())
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        a, b = zeros(images)[0], mirrored(images)[0]
    assert not torch.allclose(a[:, 0], b[:, 0])


@pytest.mark.parametrize(
    ("encoder", "knobs", "told"),
    [
        ("resnet18", [], "no encoder; use torchvision:NAME"),
        ("torchvision:resnet81", [], "torchvision has no model resnet81; it has resnet18"),
        (
            "timm:vit_smal_patch16_224",
            [],
            "timm has no model vit_smal_patch16_224; it has vit_small_patch16_224",
        ),
        (
            "torchvision:resnet18",
            ["method.network.layer=layer9"],
            "use one of conv1, bn1, relu, maxpool, layer1, ",
        ),
        ("torchvision:resnet18", ["method.network.layer=3"], "no numbered blocks; use one of conv1, "),
        ("torchvision:resnet18", ["method.network.stage=5"], "has no layer5; set method.network.stage lower"),
        ("timm:test_convnext", ["method.network.stage=5"], "has no stages.4"),
        (TINY_TIMM, ["method.network.layer=99"], "this encoder has blocks 0 to 5"),
        (TINY_TIMM, ["method.network.layer=block.1"], "use one of patch_embed, "),
        ("torchvision:mobilenet_v3_small", ["method.network.layer=nothing"], "features.0"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(encoder, knobs, told):
    with pytest.raises(UserError, match=told):
        build(encoder, *knobs)


def test_a_layer_that_gives_no_map_is_refused():
    encoder = build("torchvision:resnet18", "method.network.layer=fc")
    with pytest.raises(UserError, match=r"layer fc gives \(1, 1000\) and no map of features"):
        shape(encoder, 64, 64)


def test_a_network_that_cannot_read_the_size_says_what_to_set():
    class Picky(nn.Module):
        def forward(self, images):
            assert images.shape[-1] == 32, "32 pixels or nothing"

    with pytest.raises(
        UserError, match=r"64x64 pixels \(32 pixels or nothing\); set method.input.rule=fixed"
    ):
        shape(Encoder(Picky(), layer=""), 64, 64)


# ---------------------------------------------------------------- weights


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """As on a machine without a way out."""

    def refuse(*_, **__):
        raise OSError("there is no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def test_weights_that_cannot_be_downloaded_are_asked_for_as_a_file(no_network):
    with pytest.raises(UserError, match=r"torchvision:resnet18 cannot be downloaded .* --baseline untrained"):
        build_pretrained(method("torchvision:resnet18"))


def test_timm_weights_that_cannot_be_downloaded_are_asked_for_as_a_file(monkeypatch):
    import timm

    def offline(name, *, pretrained, **_):
        raise OSError("there is no network")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"cannot be made \(there is no network\).* --baseline untrained"):
        build_pretrained(method(TINY_TIMM))


@pytest.mark.parametrize("there", [True, False])
def test_a_hub_that_cannot_be_found_is_not_waited_for(monkeypatch, there):
    import timm
    from huggingface_hub import constants

    def look_up(*_):
        if not there:
            raise OSError("Name or service not known")

    seen = []

    def create(name, **_):
        seen.append(constants.HF_HUB_OFFLINE)
        raise OSError("nothing in the cache")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", look_up)
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(UserError, match="nothing in the cache"):
        build_pretrained(method(TINY_TIMM))
    assert seen == [not there] and constants.HF_HUB_OFFLINE is False


def test_without_timm_one_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"needs timm; install it with pip install mamp\[timm\]"):
        build(TINY_TIMM)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {
            "state_dict": {f"encoder_q.{n}": v for n, v in state.items() if not n.startswith("fc")}
        },
        lambda state: {
            "teacher": {f"backbone.{n}": v for n, v in state.items() if not n.startswith("layer4")}
        },
    ],
)
def test_a_file_of_weights_is_read_through_its_wrappers(tmp_path, wrapped):
    torch.manual_seed(1)
    from torchvision.models import resnet18

    source = resnet18()
    torch.save(wrapped(source.state_dict()), tmp_path / "w.pth")
    found = build_pretrained(method("torchvision:resnet18", f"method.network.weights={tmp_path / 'w.pth'}"))
    torch.testing.assert_close(found.network.layer3[1].conv2.weight, source.layer3[1].conv2.weight)


def test_a_safetensors_file_is_read(tmp_path):
    from safetensors.torch import save_file

    state = {name: value + 1 for name, value in build(TINY_TIMM).network.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    found = build_pretrained(method(TINY_TIMM, f"method.network.weights={tmp_path / 'w.safetensors'}"))
    torch.testing.assert_close(found.network.norm.weight.data, state["norm.weight"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"epoch": 3}, "holds no state dict"),
        ({"conv1.weight": torch.zeros(2, 2)}, r"does not fit method.encoder: conv1.weight is \(2, 2\) there"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_does_not_fit_is_told(tmp_path, content, told):
    file = tmp_path / "w.pth"
    if content is not None:
        torch.save(content, file)
    with pytest.raises(UserError, match=told):
        build_pretrained(method("torchvision:resnet18", f"method.network.weights={file}"))


# ---------------------------------------------------------------- the user's own

OWN = """
import torch
class Blur(torch.nn.Module):
    def forward(self, images):
        return torch.nn.functional.avg_pool2d(images, 6, ceil_mode=True)
class Tokens(torch.nn.Module):
    patch = 8
    def forward(self, images):
        cells = torch.nn.functional.avg_pool2d(images, 8).flatten(2).transpose(1, 2)
        return torch.cat((cells[:, :1], cells), dim=1)
def blur(): return Blur()
def tokens(): return Tokens()
def nothing(): return 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    yield tmp_path
    sys.modules.pop("my_nets", None)


@pytest.mark.parametrize("form", ["my_nets:{}", "my_nets.py:{}", "{folder}/my_nets.py:{}"])
def test_a_users_function_is_found_as_module_and_as_file(own, form):
    assert shape(build(form.format("blur", folder=own)), 25, 31) == (1, 3, 5, 6)


def test_a_users_tokens_become_a_grid_by_the_patch_that_it_tells(own):
    encoder = build("my_nets:tokens")
    assert encoder.patch == 8
    assert shape(encoder, 16, 40) == (1, 3, 2, 5)


@pytest.mark.parametrize(
    ("encoder", "told"),
    [
        ("my_nets:blurr", "my_nets has no function blurr"),
        ("my_net:blur", "there is no module my_net; use torchvision:NAME"),
        ("other.py:blur", "there is no file other.py"),
        ("my_nets:nothing", r"gives a int; give a torch.nn.Module"),
    ],
)
def test_what_is_wrong_with_a_users_function_is_told(own, encoder, told):
    with pytest.raises(UserError, match=told):
        build(encoder)


# ---------------------------------------------------------------- ours


def trunk(name: str, *more: str):
    return config.load(None, [f"method={name}", *more]).method


SMALL_STM = ["method.network.backbone=resnet18", "method.network.width=0.125", "method.network.key=8",
             "method.network.value=8", "method.network.decoder=8"]  # fmt: skip


@pytest.mark.parametrize(
    ("knobs", "grid"),
    [
        ([], (32, 7, 11)),
        (["method.network.layer=key"], (8, 7, 11)),
        (["method.network.layer=key", "method.network.stage_stride=null"], (8, 4, 6)),
        (["method.network.stage=2"], (16, 7, 11)),
    ],
)
def test_the_trunk_of_stm_is_read_like_a_resnet(knobs, grid):
    method_of_trunk = trunk("stm", *SMALL_STM)
    network = methods.get("stm").build_model(method_of_trunk)
    encoder = on_trunk(network, method_of_trunk, method("stm", *knobs))
    assert encoder.normalises
    assert shape(encoder, 50, 83) == (1, *grid)


@pytest.mark.parametrize("name", ["stm", "afb_urr"])
def test_the_keys_of_a_memory_are_those_that_it_compares(name):
    method_of_trunk = trunk(name, *SMALL_STM)
    network = methods.get(name).build_model(method_of_trunk).eval()
    images = torch.rand(1, 3, 32, 48)
    knobs = ["method.network.layer=key", "method.network.stage_stride=null"]
    from mamp.methods.stm.fitting import normalise

    with torch.inference_mode():
        want = network.look(normalise(images, "rgb")).key
        got = on_trunk(network, method_of_trunk, method(name, *knobs))(images)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize(("layer", "channels"), [("null", 2 * 8), ("network.layer2", 2 * 16)])
def test_the_trunk_of_mamp_is_read_in_both_views(layer, channels):
    method_of_trunk = trunk("mamp", "method.encoder.width=0.125", "method.encoder.features=8")
    network = methods.get("mamp").build_model(method_of_trunk)
    encoder = on_trunk(network, method_of_trunk, method("mamp", f"method.network.layer={layer}"))
    assert shape(encoder, 30, 41) == (1, channels, 8, 11)


def test_a_wrong_layer_of_our_trunk_lists_the_right_ones():
    method_of_trunk = trunk("stm", *SMALL_STM)
    network = methods.get("stm").build_model(method_of_trunk)
    with pytest.raises(UserError, match=r"use one of stem, .*layer1, .*key"):
        on_trunk(network, method_of_trunk, method("stm", "method.network.layer=res4"))


def test_a_method_without_a_trunk_names_those_that_have_one():
    with pytest.raises(UserError, match="method probe has no encoder that can be read; use one of mamp, stm"):
        on_trunk(nn.Identity(), method("torchvision:resnet18"), method("mamp"))


def test_our_trunk_without_weights_asks_for_them():
    with pytest.raises(UserError, match="give its weights with --weights, or --baseline untrained"):
        build_pretrained(method("stm"))


def test_the_list_of_layers_leaves_out_the_insides_of_blocks():
    names = layers(build(TINY_TIMM).network)
    assert "blocks.0" in names and not any(name.startswith("blocks.0.") for name in names)
