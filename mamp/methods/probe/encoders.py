"""Any network as an encoder: found by name or by the user's function, and read at one layer."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import socket
import sys
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from mamp.core.errors import UserError, first_line
from mamp.core.reading import STATE_NAMES, read_tensors
from mamp.methods.probe.config import ProbeConfig, ProbeNetwork
from mamp.methods.probe.positions import fit_positions
from mamp.methods.trunk import MethodTrunk

FORMS = "torchvision:NAME, timm:NAME, MODULE:FUNCTION or FILE.py:FUNCTION of your own"


class _Read(Exception):
    """The layer has answered; what follows it need not run."""


class Encoder(MethodTrunk):
    """Images (1, 3, H, W) -> features (1, C, h, w) of one layer of a network.

    network: the network. layer: the name of the module whose output is read; "" is the network's own output.
    norm: the name of a LayerNorm that tokens go through afterwards, or "". patch: side of a transformer's
    patch in pixels, 1 without one; images come in whole patches. Class and register tokens come first and are
    dropped.
    """

    def __init__(self, network: nn.Module, *, layer: str, norm: str = "", positions: str = "size") -> None:
        super().__init__()
        self.network, self.layer, self.norm, self.positions = network, layer, norm, positions
        self.patch = patch_side(network)
        # a trunk of this package, or a network that says so, takes RGB in [0, 1]
        self.normalises = bool(getattr(network, "normalises", False))

    @torch.compiler.disable
    def forward(self, images: Tensor) -> Tensor:
        """Features on the layer's grid, not normalised."""
        if self.patch > 1:
            grid = images.shape[-2] // self.patch, images.shape[-1] // self.patch
            fit_positions(self.network, grid, how=self.positions)
        found: list[Any] = []

        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            found.append(output)
            raise _Read

        handle = self.network.get_submodule(self.layer).register_forward_hook(keep) if self.layer else None
        try:
            found.append(self.network(images))
        except _Read:
            pass
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"the encoder cannot read {images.shape[-1]}x{images.shape[-2]} pixels ({first_line(error)});"
                " set method.input.rule=fixed and method.input.size to what it was made for"
            ) from None
        finally:
            if handle is not None:
                handle.remove()
        output = found[0]
        if self.norm:
            output = self.network.get_submodule(self.norm)(output)
        return self._grid(output, images.shape[-2:])

    def _grid(self, output: Any, size: Sequence[int]) -> Tensor:
        """(1, C, h, w) of what the layer gave: a map, channels first or last, or tokens."""
        where = f"layer {self.layer}" if self.layer else "the encoder"
        if isinstance(output, (tuple, list)) and output:
            output = output[0]
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UserError(
                f"{where} gives {shape} and no map of features; set method.network.layer to one of"
                f" {', '.join(layers(self.network))}"
            )
        if output.ndim == 4:
            first, last = (_skew(output.shape[a:b], size) for a, b in ((2, 4), (1, 3)))
            output = output if first <= last else output.movedim(-1, 1)
            return output.flatten(0, 1)[None]  # MAMP's trunk sees an image in several views
        height, width = size[0] // self.patch, size[1] // self.patch
        extra = output.shape[1] - height * width
        if extra < 0 or self.patch == 1:
            raise UserError(
                f"{where} gives {output.shape[1]} tokens for {height}x{width} patches; set"
                f" method.network.layer to one of {', '.join(layers(self.network))}"
            )
        return output[:, extra:].transpose(1, 2).unflatten(2, (height, width))


def build_encoder(method: ProbeConfig, *, pretrained: bool) -> Encoder:
    """The encoder that `method` names; pretrained: with its weights, else random ones.

    Raises UserError when there is no such network, layer or file of weights.
    """
    source, _, name = method.encoder.rpartition(":")
    knobs = method.network
    if not source:
        raise UserError(f"method.encoder={method.encoder} is no encoder; use {FORMS}")
    library = source in ("torchvision", "timm")
    named = knobs.weights if source == "torchvision" and _is_name(knobs.weights) else None
    wanted = pretrained and library and (knobs.weights is None or named is not None)
    if source == "torchvision":
        network = _torchvision(name, named or "DEFAULT" if wanted else None)
    elif source == "timm":
        network = _timm(name, wanted)
    else:
        network = _users_own(method.encoder, source, name)
    if pretrained and knobs.weights is not None and named is None:
        load_state(network, Path(knobs.weights), find_layer(network, knobs, own=not library))
    return wrap(network, knobs, own=not library)


def wrap(network: nn.Module, knobs: ProbeNetwork, *, own: bool) -> Encoder:
    """The network, read and changed as `knobs` say; own: layer=null means its output.

    Raises UserError when there is no such layer.
    """
    layer = find_layer(network, knobs, own=own)
    _change_strides(network, knobs.stage_stride)
    if knobs.padding == "reflect":
        _reflect(network)
    norm = final_norm(network) if knobs.final_norm and layer in blocks(network) else ""
    return Encoder(network.eval(), layer=layer, norm=norm, positions=knobs.positions)


def _torchvision(name: str, weights: str | None) -> nn.Module:
    from torchvision import models

    if name not in models.list_models():
        raise UserError(f"torchvision has no model {name}; it has {_near(name, models.list_models())}")
    try:
        network = models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"the weights of torchvision:{name} cannot be downloaded ({first_line(error)}); give a file with"
            " method.network.weights=FILE, or --baseline untrained"
        ) from None
    except (KeyError, ValueError):
        known = ", ".join(w.name for w in models.get_model_weights(name))
        raise UserError(
            f"torchvision has no weights {weights} for {name}; give a file that exists, or one of {known}"
        ) from None
    if isinstance(network, models.VisionTransformer):  # it takes one size only, by an assertion
        network._process_input = MethodType(_tokens, network)
    return network


def _tokens(network: Any, images: Tensor) -> Tensor:
    """Patches (B, N, D) of images of any size."""
    return network.conv_proj(images).flatten(2).transpose(1, 2)


def _timm(name: str, pretrained: bool) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise UserError(
            "method.encoder=timm:... needs timm; install it with pip install mamp[timm]"
        ) from None
    base = name.split(".")[0]
    if not name.startswith("hf-hub") and base not in timm.list_models():
        raise UserError(f"timm has no model {base}; it has {_near(base, timm.list_models())}")
    try:
        with _at_once() if pretrained else contextlib.nullcontext():
            try:
                return timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True)
            except TypeError:  # a network without positional grids
                return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except Exception as error:  # the hub's client raises what it likes
        raise UserError(
            f"timm:{name} cannot be made ({first_line(error)}); give weights with"
            " method.network.weights=FILE, or --baseline untrained"
        ) from None


@contextlib.contextmanager
def _at_once() -> Iterator[None]:
    """Where the hub cannot be found, what was downloaded earlier is used, and nothing waits for minutes."""
    try:
        from huggingface_hub import constants
    except ImportError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    try:
        socket.getaddrinfo(urllib.parse.urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _users_own(spec: str, source: str, name: str) -> nn.Module:
    """What the user's function gives."""
    try:
        if source.endswith(".py"):
            found = importlib.util.spec_from_file_location(Path(source).stem, source)
            assert found is not None and found.loader is not None
            module = importlib.util.module_from_spec(found)
            found.loader.exec_module(module)
        else:
            if str(Path.cwd()) not in sys.path:
                sys.path.append(str(Path.cwd()))
            module = importlib.import_module(source)
    except FileNotFoundError:
        raise UserError(f"method.encoder={spec}: there is no file {source}; use {FORMS}") from None
    except ModuleNotFoundError as error:
        raise UserError(
            f"method.encoder={spec}: there is no module {error.name}; use {FORMS}, and begin where it can be"
            " imported"
        ) from None
    make = getattr(module, name, None)
    if not callable(make):
        raise UserError(
            f"method.encoder={spec}: {source} has no function {name}; write one that gives a network"
        )
    network = make()
    if not isinstance(network, nn.Module):
        raise UserError(
            f"method.encoder={spec} gives a {type(network).__name__}; give a torch.nn.Module, images (B, 3,"
            " H, W) to features (B, C, h, w)"
        )
    return network


def find_layer(network: nn.Module, knobs: ProbeNetwork, *, own: bool) -> str:
    """The name of the module to read; "" is the network's output, which layer=null means where `own`."""
    layer, names = knobs.layer, dict(network.named_modules())
    numbered = blocks(network)
    choice = f"use one of {', '.join(layers(network))}"
    if isinstance(layer, int):
        if -len(numbered) <= layer < len(numbered):
            return numbered[layer]
        there = f"has blocks 0 to {len(numbered) - 1}" if numbered else f"has no numbered blocks; {choice}"
        raise UserError(f"method.network.layer={layer} is no block; this encoder {there}")
    if layer is not None:
        if layer not in names or not layer:
            raise UserError(f"method.network.layer={layer} is no layer of this encoder; {choice}")
        return layer
    if own:
        return ""
    for pattern, first in (("layer{}", 1), ("stages.{}", 0)):
        if pattern.format(first) in names:
            if (stage := pattern.format(knobs.stage - 1 + first)) in names:
                return stage
            raise UserError(
                f"method.network.stage={knobs.stage}: this encoder has no {stage}; set method.network.stage"
                f" lower, or method.network.layer: {choice}"
            )
    if norm := final_norm(network):
        return norm
    numbered = numbered or [n for n in names if n.startswith("features.") and n.count(".") == 1]
    if not numbered:
        raise UserError(f"this encoder's layers are not known by name; set method.network.layer: {choice}")
    return numbered[-1]


def layers(network: nn.Module) -> list[str]:
    """Names worth reading, without the insides of blocks; at most 60."""
    inner = set(blocks(network))
    names = [name for name, _ in network.named_modules() if name and name.count(".") <= 1]
    return [*dict.fromkeys([*(n for n in names if not any(n.startswith(b + ".") for b in inner)), *inner])][
        :60
    ]


def blocks(network: nn.Module) -> list[str]:
    """Names of a transformer's blocks, in order."""
    for container in ("blocks", "encoder.layers", "layers", "transformer.resblocks"):
        try:
            found = network.get_submodule(container)
        except AttributeError:
            continue
        if isinstance(found, (nn.Sequential, nn.ModuleList)):
            return [f"{container}.{name}" for name, _ in found.named_children()]
    return []


def final_norm(network: nn.Module) -> str:
    """The name of a transformer's last LayerNorm, or ""."""
    for name in ("norm", "encoder.ln", "ln_post"):
        try:
            module = network.get_submodule(name)
        except AttributeError:
            continue
        if blocks(network) and not isinstance(module, nn.Identity):
            return name
    return ""


def patch_side(network: nn.Module) -> int:
    """Return the pixels of a transformer's patch; 1 for other networks.

    It is the network's `patch`, or that of its first convolution without overlap.
    """
    patch = getattr(network, "patch", None)
    if isinstance(patch, int):
        return patch
    if not blocks(network):
        return 1
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            same = module.kernel_size == module.stride and module.kernel_size[0] == module.kernel_size[1]
            return module.kernel_size[0] if same else 1
    return 1


def _change_strides(network: nn.Module, largest: int | None) -> None:
    """Strides of layer1, layer2, ... become 1 where their product with the stem's 4 would pass `largest`."""
    if largest is None:
        return
    total = 4
    for number in range(2, 9):
        stage = getattr(network, f"layer{number}", None)
        if stage is None:
            return
        total *= 2
        if total <= largest:
            continue
        for module in stage.modules():
            if isinstance(module, (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)) and module.stride in ((2, 2), 2):
                if isinstance(module, nn.Conv2d):
                    module.stride = (1, 1)
                else:  # pooled shortcuts of ResNet-D: a pool of one is none
                    module.kernel_size = module.stride = 1
                    module.padding = 0


def _reflect(network: nn.Module) -> None:
    """Convolutions mirror the map at its edges."""
    for conv in (m for m in network.modules() if isinstance(m, nn.Conv2d)):
        conv.padding_mode = "reflect"
        sides = (0, 0) if isinstance(conv.padding, str) else conv.padding
        conv._reversed_padding_repeated_twice = [side for side in reversed(sides) for _ in range(2)]


def load_state(network: nn.Module, path: Path, layer: str) -> None:
    """Put the state dict in a file into the network; what comes behind `layer` and heads may be missing.

    Wrappers such as {"state_dict": ...} and prefixes such as module. or backbone. are seen through.
    Raises UserError for a file that is no state dict, or does not fit.
    """
    state = _innermost(read_tensors(path), path)
    own = network.state_dict()
    prefix = _prefix(state, own)
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    children = [name for name, _ in network.named_children()]
    behind = set(children[children.index(layer.split(".")[0]) + 1 :]) if layer else set()
    for name, value in own.items():
        if name.split(".")[0] in behind or name.endswith("num_batches_tracked"):
            continue
        if name not in found or found[name].shape != value.shape:
            there = tuple(found[name].shape) if name in found else "absent"
            raise UserError(
                f"{path} does not fit method.encoder: {name} is {there} there and {tuple(value.shape)} here;"
                " name the network that the file is of"
            )
    fitting = {n: v for n, v in found.items() if n in own and own[n].shape == v.shape}
    network.load_state_dict(fitting, strict=False)


def _innermost(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The mapping of names to tensors inside of a checkpoint's wrappers."""
    wrappers = (*STATE_NAMES, "teacher", "model_state_dict", "network", "encoder", "student")
    while isinstance(loaded, dict):
        tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        loaded = next((loaded[name] for name in wrappers if isinstance(loaded.get(name), dict)), None)
    raise UserError(f"{path} holds no state dict; give a file of names and tensors")


def _prefix(state: dict[str, Tensor], own: dict[str, Tensor]) -> str:
    """What stands before our names in the file, by majority."""
    votes: dict[str, int] = {}
    for mine in list(own)[:20]:
        for name in state:
            if name == mine or name.endswith("." + mine):
                prefix = name[: len(name) - len(mine)]
                votes[prefix] = votes.get(prefix, 0) + 1
    return max(votes, key=lambda prefix: (votes[prefix], -len(prefix))) if votes else ""


def _is_name(weights: str | None) -> bool:
    """Is it the name of torchvision's weights, as IMAGENET1K_V1, and no file?"""
    return weights is not None and "." not in weights and "/" not in weights and not Path(weights).exists()


def _near(name: str, known: Sequence[str]) -> str:
    import difflib

    return ", ".join(difflib.get_close_matches(name, known, n=5, cutoff=0.4) or list(known)[:5])


def _skew(grid: Sequence[int], size: Sequence[int]) -> float:
    """How far a grid's cells are from square."""
    cell = [side / max(cells, 1) for side, cells in zip(size, grid, strict=True)]
    return max(cell) / max(min(cell), 1e-9)
