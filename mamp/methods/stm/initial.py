"""Where the trunks begin: ImageNet weights, a file, or what our label-free encoder learnt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mamp.core.errors import UserError
from mamp.core.reading import read_tensors, state_dict_in
from mamp.methods.supervised import renamed

IMAGENET = "imagenet"
TORCHVISION = ((r"^layer1\.", "res2."), (r"^layer2\.", "res3."), (r"^layer3\.", "res4."))
MAMP = (  # our label-free encoder's names -> torchvision's
    (r"^stem\.0\.", "conv1."),
    (r"^stem\.1\.", "bn1."),
    (r"\.left\.0\.", ".conv1."),
    (r"\.left\.1\.", ".bn1."),
    (r"\.left\.3\.", ".conv2."),
    (r"\.left\.4\.", ".bn2."),
    (r"\.shortcut\.", ".downsample."),
)


def initialise(model: nn.Module, source: str, *, colour: str) -> int:
    """Initialise `model` from `source`; return how many of its entries were set.

    source: `imagenet` has torchvision download its weights of `model.backbone`; else a file. It holds
    torchvision's state dict, STM or AFB-URR weights (the whole network), or MAMP weights, whose first three
    stages have ResNet-18's block shapes. Where a shape differs the entry stays random. MAMP's stem is taken
    only with `colour` lab.

    Raises UserError when the file cannot be read or nothing in it fits.
    """
    state = read_state(source, model)
    own = model.state_dict()
    if "memory_encoder.mask.weight" in state:
        named = dict(state)
    else:
        trunk = _as_trunk(state, colour)
        named = {
            f"{part}.{name}": v for part in ("memory_encoder", "query_encoder") for name, v in trunk.items()
        }
    fitting = {name: v for name, v in named.items() if name in own and own[name].shape == v.shape}
    if not any(name.endswith("weight") for name in fitting):
        raise UserError(
            f"method.training.init={source} has no entry that fits this network; leave it out, or set"
            " method.network to fit"
        )
    model.load_state_dict(fitting, strict=False)
    return len(fitting)


def _as_trunk(state: Mapping[str, Tensor], colour: str) -> dict[str, Tensor]:
    """Entries of torchvision's ResNet or of MAMP's encoder -> a trunk's."""
    return {
        renamed(name, TORCHVISION): value
        for name, value in as_torchvision(state, lab=colour == "lab").items()
    }


def as_torchvision(state: Mapping[str, Tensor], *, lab: bool) -> dict[str, Tensor]:
    """Return entries of MAMP's encoder under torchvision's names; torchvision's own as they are.

    lab: with MAMP's stem, which sees Lab.
    """
    if "stem.0.weight" not in state:
        return dict(state)
    return {renamed(n, MAMP): v for n, v in state.items() if lab or not n.startswith("stem.")}


def read_state(source: str, model: nn.Module) -> Mapping[str, Tensor]:
    """Return the state dict that `method.training.init` names: torchvision's, downloaded, or a file's.

    Raises UserError when it cannot be had.
    """
    if source == IMAGENET:
        return _download(str(model.backbone))
    path = Path(source)
    if path.is_dir() and (path / "weights.safetensors").is_file():
        path /= "weights.safetensors"
    if not path.is_file():
        what = "is a folder without weights.safetensors" if path.is_dir() else "does not exist"
        raise UserError(
            f"method.training.init={path} {what}; give a file, a run folder with weights, or imagenet"
        )
    state = state_dict_in(read_tensors(path))
    if state is None:
        raise UserError(
            f"method.training.init={source} holds no state dict; give torchvision's file, or weights of mamp"
        )
    return state


def _download(backbone: str) -> Mapping[str, Tensor]:
    import torchvision

    weights = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
    try:
        return torch.hub.load_state_dict_from_url(weights.url, map_location="cpu", check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"ImageNet weights of {backbone} cannot be downloaded ({error}); fetch {weights.url} where there"
            " is a network, and pass method.training.init=FILE"
        ) from None
