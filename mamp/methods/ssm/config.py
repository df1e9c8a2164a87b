"""Knobs of SSM-VOS, and what its presets set."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mamp.core.section import Backbone, MethodConfig, Section, Side, Width

Margin = Annotated[float, Field(ge=0, le=4)]
LEAST_HEIGHT = 193  # with the published context block, in pixels: it needs 7 rows of 32


class SsmNetwork(Section):
    """The network; kept with the weights."""

    backbone: Backbone = Field(
        "resnet50", description="trunk, all four stages; published resnet50 and resnet101"
    )
    width: Width = Field(
        1.0,
        description="channel counts of the trunk as a fraction of the published 64, 128, 256, 512",
    )
    top_k: int = Field(
        32,
        ge=1,
        le=1024,
        description="reference cells a cell is matched with, and cells that the structure is made of",
    )
    decoder: int = Field(256, ge=1, le=1024, description="channels of the decoder")
    matching: Literal["conv", "cosine"] = Field(
        "conv",
        description="cells are compared by dot products, or by those of unit vectors; no weights differ",
    )
    structure: Literal["reference", "current"] = Field(
        "reference",
        description=(
            "whose features the structure maps are made of: the reference frame's, as the published program"
            " by a mix-up of arguments, or the current frame's, as in the paper"
        ),
    )
    context: Literal["swapped", "centred"] = Field(
        "swapped",
        description=(
            "padding of the context block's second branch: swapped as published, which needs inputs higher"
            " than 192 pixels, or along its kernels"
        ),
    )


class SsmPropagation(Section):
    """How masks are carried to the next frame."""

    input_size: tuple[Side, Side] = Field(
        (512, 512), description="height and width that an object's crop is stretched to, in pixels"
    )
    margin: Margin = Field(
        0.5, description="what the box of an object grows by on each side, as a part of it"
    )
    merge: Literal["soft", "hard"] = Field(
        "soft",
        description="background's score beside the objects' p: the product of all 1 - p, or their least",
    )
    reference: Literal["first", "last"] = Field(
        "last",
        description=(
            "which of the masks given for an object it is compared with; the first, as published, or the last"
        ),
    )
    batch: int = Field(
        8,
        ge=1,
        le=256,
        description=(
            "most objects that go through the network as one, fewer on the CPU where their crops are large;"
            " changes memory, not results"
        ),
    )


class SsmTraining(Section):
    """What is learnt from: a reference, a frame, and the mask before it."""

    structure: float = Field(
        0.1, ge=0, description="weight of the cross entropy of the structure maps' own masks"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="part of the decoder's channels dropped")
    blur: float = Field(
        1.0, ge=0, le=1, description="chance that the previous mask becomes a blob of its place and size"
    )
    flip: float = Field(0.5, ge=0, le=1, description="chance of a left-right flip")
    rotate: float = Field(45.0, ge=0, le=180, description="turned by up to so many degrees")
    margins: tuple[Margin, Margin] = Field(
        (0.0, 1.0),
        description="least and largest margin of a crop, drawn for each side, as a part of the box",
    )
    freeze_norm: bool = Field(
        False, description="batch norms keep their running statistics; as published they are trained"
    )
    weight_decay: float = Field(
        0.0, ge=0, description="L2 term added to the gradient (5e-4 as published), not AdamW's decay"
    )
    init: str | None = Field(
        None,
        description=(
            "where the trunk begins: imagenet (torchvision downloads it), a file with torchvision's state"
            " dict, or a run of MAMP of the same width (its stem, which sees Lab, is not taken); null: random"
        ),
    )

    @model_validator(mode="after")
    def _ordered(self) -> SsmTraining:
        if self.margins[0] > self.margins[1]:
            raise ValueError("margins needs the smaller one first")
        return self


class SsmConfig(MethodConfig):
    """Separable structure modelling (SSM-VOS, T-CSVT 2021): each object alone, cut out where it was."""

    name: Literal["ssm"] = Field("ssm", description="which method")
    preset: Literal["tuned", "published"] = Field(
        "tuned", description="where the propagation knobs start from: ours, or the published program"
    )
    network: SsmNetwork = SsmNetwork()
    propagation: SsmPropagation = SsmPropagation()
    training: SsmTraining = SsmTraining()

    @model_validator(mode="after")
    def _large_enough(self) -> SsmConfig:
        refuse_small("method.propagation.input_size", self.propagation.input_size, self.network)
        return self


def refuse_small(name: str, size: tuple[int, int], network: SsmNetwork) -> None:
    """Raise ValueError if inputs of `size` (H, W), as setting `name` has them, are too small."""
    if network.context == "swapped" and size[0] < LEAST_HEIGHT:
        raise ValueError(
            f"{name} is {size[0]} pixels high, and method.network.context=swapped needs {LEAST_HEIGHT} or"
            " more"
        )
    if (cells := -(-size[0] // 16) * -(-size[1] // 16)) < network.top_k:
        raise ValueError(f"{name} makes {cells} cells, fewer than method.network.top_k={network.top_k}")


# What a preset sets, and what it sets besides for one data set; "" is every data set.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "tuned": {},
    "published": {
        "": {
            "propagation": {
                "input_size": [512, 512], "margin": 0.5, "merge": "soft", "reference": "first",
            },
        },
    },
}  # fmt: skip
