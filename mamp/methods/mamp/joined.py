"""Features of other encoders beside MAMP's: each at its own resolution, brought to MAMP's cells, and joined.

Every encoder's features have unit length at each cell, times the root of its weight. So a dot product of
joined features is the weighted mean of the encoders' cosines. Encoders run once a frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mamp.core.errors import UserError
from mamp.core.progress import say_once
from mamp.methods.mamp.config import JoinedEncoder, MampConfig
from mamp.methods.mamp.families import NEED_A_FILE, SEEN
from mamp.methods.probe.config import ProbeConfig, ProbeInput, ProbeNetwork
from mamp.methods.probe.encoders import build_encoder
from mamp.methods.probe.frames import normalise, whole_patches
from mamp.methods.trunk import MethodTrunk
from mamp.ops.folding import fold_batch_norms
from mamp.ops.sizes import resize, scaled, size_of

NAME = "joined"  # the submodule of the network that holds the others


def attach(network: nn.Module, method: MampConfig, *, device: torch.device) -> dict[str, str]:
    """Put the encoders that `method` joins into the network; return encoder -> checksum of its weights.

    Raises UserError where an encoder, its layer or its weights cannot be had.
    """
    if not method.encoder.joined:
        return {}
    if method.encoder.similarity != "cosine":
        raise UserError(
            "method.encoder.joined joins features of unit length, and these weights compare by"
            f" {method.encoder.similarity} (method.encoder.similarity); use weights that compare by cosine"
        )
    others = [build(one).to(device) for one in method.encoder.joined]
    network.add_module(NAME, nn.ModuleList(others))
    return {
        f"{n} {one.encoder}": _checksum(other)
        for n, (one, other) in enumerate(zip(method.encoder.joined, others, strict=True))
    }


def build(one: JoinedEncoder, *, pretrained: bool = True) -> nn.Module:
    """Return an encoder to join, a `MethodTrunk`: images (1, 3, H, W) to features (1, C, h, w).

    pretrained: with its weights, else random ones. Raises UserError where it cannot be had.
    """
    name = one.family or one.encoder
    if pretrained and one.family in NEED_A_FILE and one.weights is None:
        raise UserError(
            f"the weights of {name} are not downloaded by any library; give their file: --with {name}=FILE"
        )
    knobs = ProbeNetwork(
        weights=one.weights, layer=one.layer, stage=one.stage, final_norm=one.final_norm, stage_stride=8
    )
    try:
        made = build_encoder(ProbeConfig(encoder=one.encoder, network=knobs), pretrained=pretrained)
    except UserError as error:
        said = str(error).replace("method.network.", "").replace(", or --baseline untrained", "")
        raise UserError(f"method.encoder.joined, {name}: {_licence(said, name)}") from None
    if one.family and one.family not in SEEN:
        say_once(
            f"{name}: its layer, scale and weight were chosen without having seen it; try weights on a video"
            " with masks"
        )
    return fold_batch_norms(made.requires_grad_(False))


def _licence(said: str, name: str) -> str:
    """What a hub said, with what to do where it asks for a licence."""
    if any(word in said.lower() for word in ("gated", "401", "403", "restricted", "must be authenticated")):
        return f"{said}; the hub asks you to accept a licence: accept it there, log in, or --with {name}=FILE"
    return said


def _checksum(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class Joining:
    """Join features of several encoders in a video's frames.

    State: for each encoder with more channels than it keeps, the directions (C, project) along which the
    first frame's features vary most.
    """

    def __init__(self, method: MampConfig) -> None:
        self.ones: Sequence[JoinedEncoder] = method.encoder.joined
        self.directions: list[Tensor | None] = [None] * len(self.ones)

    def copied(self) -> Joining:
        """Another that goes on from here; tensors are shared and never change."""
        other = object.__new__(Joining)
        other.ones, other.directions = self.ones, list(self.directions)
        return other

    @property
    def channels(self) -> int:
        """About as many channels as are joined."""
        return sum(one.project for one in self.ones)

    def pixels(self, size: tuple[int, int]) -> int:
        """Pixels that the largest encoder sees of a frame that MAMP's sees at `size`."""
        most = max((one.scale for one in self.ones), default=0.0)
        return round(size[0] * most) * round(size[1] * most)

    def __call__(
        self, own: Tensor, others: nn.ModuleList, frame: Tensor, *, inner: tuple[int, int], cell: int
    ) -> Tensor:
        """Features (C, h, w), and those of the others there.

        own: MAMP's, (C, h, w), of unit length. frame: float (3, H, W) in [0, 1]. inner: its size as MAMP's
        encoder sees it, without the padding. cell: pixels of that to a feature cell.
        """
        rest = 1 - sum(one.weight for one in self.ones)
        parts = [own * rest**0.5]
        for n, (one, other) in enumerate(zip(self.ones, others, strict=True)):
            found = self._projected(n, self._seen(one, other, frame, inner))
            found = F.normalize(_at_cells(found, size_of(own), inner, cell=cell), dim=0)
            parts.append(found * one.weight**0.5)
        return torch.cat(parts).contiguous()

    def _seen(self, one: JoinedEncoder, other: nn.Module, frame: Tensor, inner: tuple[int, int]) -> Tensor:
        """Features (C, h', w') of the frame at the size that the encoder sees, unit length."""
        assert isinstance(other, MethodTrunk)
        wanted = scaled(inner, one.scale)
        size = whole_patches((max(wanted[0], other.patch), max(wanted[1], other.patch)), other.patch)
        image = resize(frame, size, antialias=size < size_of(frame))
        if not other.normalises:
            image = normalise(image, ProbeInput(mean=one.mean, std=one.std))
        features = other(image[None].contiguous(memory_format=torch.channels_last))[0].float()
        return F.normalize(features, dim=0)

    def _projected(self, n: int, features: Tensor) -> Tensor:
        """(C, h', w') on the directions of the first frame; as it is with few channels."""
        channels, keep = len(features), self.ones[n].project
        if channels <= keep:
            return features
        with torch.autocast(features.device.type, enabled=False):
            if self.directions[n] is None:
                flat = features.flatten(1)
                products = (flat @ flat.T).cpu().double()  # not every device has float64
                best = torch.linalg.eigh(products).eigenvectors[:, -keep:]
                self.directions[n] = best.float().to(features.device)
            return torch.einsum("cp,chw->phw", self.directions[n], features)


def _at_cells(features: Tensor, cells: tuple[int, int], inner: tuple[int, int], *, cell: int) -> Tensor:
    """(C, h', w') over the whole frame, read bilinearly at the pixels that MAMP's cells are centred on."""
    sides = [
        2 * (torch.arange(count, device=features.device) * cell + 0.5) / side - 1
        for count, side in zip(cells, inner, strict=True)
    ]
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    places = torch.stack((columns, rows), dim=-1)[None]  # (1, h, w, 2), x first
    return F.grid_sample(features[None], places, padding_mode="border", align_corners=False)[0]
