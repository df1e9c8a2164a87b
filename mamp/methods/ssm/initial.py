"""Where the trunk begins: ImageNet weights, a file, or what our label-free encoder learnt."""

from __future__ import annotations

from mamp.core.errors import UserError
from mamp.methods.ssm.network import Ssm
from mamp.methods.stm.initial import as_torchvision, read_state


def initialise(model: Ssm, source: str) -> int:
    """Initialise the trunk of `model` from `source`; return how many of its entries were set.

    source: `imagenet` has torchvision download its weights of the backbone; else a file: torchvision's state
    dict, or MAMP weights, whose stages have ResNet-18's block shapes; their stem, which sees Lab, is not
    taken. The weights of the mask in the first convolution stay as drawn. Where a shape differs the entry
    stays random.

    Raises UserError when the file cannot be read or nothing in it fits.
    """
    state = as_torchvision(read_state(source, model), lab=False)
    own = model.encoder.state_dict()
    fitting = {n: v for n, v in state.items() if n in own and own[n].shape == v.shape}
    stem = state.get("conv1.weight")
    if stem is not None and stem.shape == own["conv1.weight"][:, :3].shape:
        fitting["conv1.weight"] = own["conv1.weight"].clone()
        fitting["conv1.weight"][:, :3] = stem
    if not any(name.endswith("weight") for name in fitting):
        raise UserError(
            f"method.training.init={source} has no entry that fits this trunk; leave it out, or set"
            " method.network to fit"
        )
    model.encoder.load_state_dict(fitting, strict=False)
    return len(fitting)
