"""Settings of the probe (label propagation with any encoder), and the published protocols as presets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from mamp.core.section import MANY, MAX_MB, SPEED, MethodConfig, Section, Side
from mamp.propagation import finishing

ON_CPU = 8  # MB of working memory there
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ProbeNetwork(Section):
    """What is read of the encoder."""

    weights: str | None = Field(
        None,
        description=(
            "a file with the encoder's state dict, or a name of torchvision's weights; null: the"
            " library's own, downloaded"
        ),
    )
    layer: int | str | None = Field(
        None,
        description=(
            "module or number of the block whose output is read; null: the stage below, a"
            " transformer's last LayerNorm, or the output"
        ),
    )
    stage: int = Field(
        3,
        ge=1,
        le=8,
        description=(
            "stage that layer=null means where a network has stages layer1, layer2, ... or stages.0,"
            " stages.1, ..."
        ),
    )
    final_norm: bool = Field(
        True,
        description=(
            "tokens of a block go through the transformer's last LayerNorm, as DINO reads earlier blocks"
        ),
    )
    stage_stride: int | None = Field(
        8,
        ge=4,
        le=32,
        description=(
            "pixels a cell of a ResNet covers at most: later strides become 1; null: as built; other networks"
            " are as built"
        ),
    )
    padding: Literal["zeros", "reflect"] = Field(
        "zeros",
        description="of convolutions; the published weights of CRW were trained with reflect",
    )
    positions: Literal["size", "scale"] = Field(
        "size",
        description=(
            "how positional grids are resampled\n"
            "size: to the size with antialias, as timm\n"
            "scale: by DINO's factor (h + 0.1) / h0"
        ),
    )


class ProbeInput(Section):
    """How a frame becomes the network's input."""

    rule: Literal["native", "short", "dino", "dinov3", "fixed", "cells"] = Field(
        "native",
        description=(
            "size of the input\n"
            "native: the frame's\n"
            "short: its short side as given\n"
            "dino: its short side as given, the long side floored to 64\n"
            "dinov3: both sides rounded up to whole patches\n"
            "fixed: exactly `size`\n"
            "cells: so that the features have `cells` on their short side"
        ),
    )
    cells: int = Field(
        60, ge=4, le=1024, description="cells: of the features' short side, whatever the encoder's stride"
    )
    enlarge: float = Field(4.0, ge=1, le=16, description="cells: frames are enlarged by this factor at most")
    short: int = Field(480, ge=16, le=8192, description="short side in pixels, for short, dino and dinov3")
    size: tuple[Side, Side] = Field((480, 880), description="height and width in pixels, for fixed")
    resize: Literal["opencv", "pillow", "float"] = Field(
        "float",
        description=(
            "how a frame is resized\n"
            "opencv: as cv2's bilinear on whole numbers\n"
            "pillow: Pillow's bicubic\n"
            "float: bilinear on floats without antialias"
        ),
    )
    mean: tuple[float, float, float] = Field(
        IMAGENET_MEAN, description="subtracted from RGB in [0, 1]; not for trunks of other methods"
    )
    std: tuple[float, float, float] = Field(
        IMAGENET_STD, description="what RGB is divided by then; not for trunks of other methods"
    )


class ProbePropagation(Section):
    """How labels are carried from context frames to the next frame."""

    context: int = Field(7, ge=1, le=1000, description="last frames that are read, besides the first")
    repeats: Literal["none", "twice", "padded"] = Field(
        "none",
        description=(
            "how often the first frame is read\n"
            "none: once\n"
            "twice: once more while it is among the last ones (vfs)\n"
            "padded: for every missing frame too (crw)"
        ),
    )
    free_first: bool = Field(False, description="one reading of the first frame knows no window (crw, dul)")
    radius: int = Field(12, ge=1, le=128, description="of the window, in cells")
    window: Literal["square", "disc", "open_disc"] = Field(
        "square",
        description=(
            "which cells are in the window\n"
            "square: |dy| and |dx| up to the radius\n"
            "disc: distance up to the radius\n"
            "open_disc: distance below the radius"
        ),
    )
    top_k: int = Field(5, ge=1, le=4096, description="most similar cells, over all context frames together")
    ties: Literal["kept", "cut"] = Field(
        "cut", description=("cells as similar as the k-th\nkept: read too\ncut: exactly k are read")
    )
    temperature: float = Field(0.1, gt=0, description="what similarities are divided by before the softmax")
    normalise: bool = Field(True, description="features get unit length, so that similarities are cosines")
    labels: Literal["soft", "hard"] = Field(
        "soft", description=("what is remembered of a finished frame\nsoft: its scores\nhard: its label map")
    )
    first_labels: Literal["nearest", "nearest_exact", "nearest_twice", "bilinear", "corners", "centred"] = (
        Field(
            "nearest",
            description=(
                "how masks become labels of cells\n"
                "nearest: Pillow's nearest\n"
                "nearest_exact: torch's nearest-exact\n"
                "nearest_twice: Pillow's nearest by way of the input's size\n"
                "bilinear: soft, by half-pixel centres\n"
                "corners: soft, by aligned corners\n"
                "centred: the pixel at a cell's centre"
            ),
        )
    )
    small_objects: Literal["lost", "kept"] = Field(
        "lost",
        description=(
            "an object that falls between the cells' centres\n"
            "lost: it is lost, as published\n"
            "kept: it has the cells that it touches"
        ),
    )
    backfill: bool = Field(
        False, description="an object given late is also found in the context frames, where it was background"
    )
    upsample: Literal["bilinear", "patch", "nearest", "corners", "centred"] = Field(
        "bilinear",
        description=(
            "how scores become pixels\n"
            "bilinear: by half-pixel centres\n"
            "patch: bilinear to whole patches, then nearest (dino)\n"
            "nearest: the nearest cell\n"
            "corners: bilinear by aligned corners\n"
            "centred: bilinear from the pixels that cells are centred on"
        ),
    )
    stretch: Literal["none", "channels", "dino"] = Field(
        "none",
        description=(
            "whether each channel is stretched to [0, 1] after upsampling, for the output only\n"
            "none: no\n"
            "channels: yes\n"
            "dino: yes; a channel of one positive value wins"
        ),
    )
    memory: Literal["context", "budget"] = Field(
        "context",
        description=(
            "which frames are read\n"
            "context: the first and the last `context`\n"
            "budget: these and older ones, thinned within budget_mb"
        ),
    )
    budget_mb: float = Field(
        64, gt=0, description="budget: most that features and labels of memory frames take, in MB"
    )
    sharpen: float = finishing.sharpen()
    background: float = finishing.background()
    edge_radius: float = finishing.edge_radius(0)
    edge_eps: float = finishing.edge_eps()
    edge_fit: Literal["fast", "exact"] = finishing.edge_fit("fast")
    tile: int = Field(
        8, ge=4, le=128, description="side of the query tile, in cells; changes speed, not results"
    )
    max_mb: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description=MAX_MB.format(what="the correlation", on_cpu=ON_CPU),
    )

    @model_validator(mode="after")
    def _fit_together(self) -> ProbePropagation:
        if self.edge_radius and (self.upsample not in ("bilinear", "centred") or self.stretch != "none"):
            raise ValueError("edge_radius needs upsample bilinear or centred, and stretch none")
        if self.memory == "budget" and (self.repeats != "none" or self.free_first):
            raise ValueError("memory budget needs repeats none and free_first false")
        return self


class ProbeConfig(MethodConfig):
    """Label propagation with the frozen features of any encoder."""

    name: Literal["probe"] = Field("probe", description="which method")
    preset: Literal["dino", "dinov3", "crw", "vfs", "dul", "rsp", "cropmae", "mamp", "tuned"] = Field(
        "dino",
        description=(
            "the published protocol that all settings below start from; `tuned` is MAMP's default for"
            " any encoder"
        ),
    )
    encoder: str = Field(
        "torchvision:resnet18",
        description=(
            "torchvision:NAME, timm:NAME (extra timm), MODULE:FUNCTION, FILE.py:FUNCTION, or a method"
            " here (its trunk, from --weights)"
        ),
    )
    network: ProbeNetwork = ProbeNetwork()
    input: ProbeInput = ProbeInput()
    propagation: ProbePropagation = ProbePropagation()

    @model_validator(mode="after")
    def _encoder_has_a_form(self) -> ProbeConfig:
        if not self.encoder.strip() or self.encoder.endswith(":"):
            raise ValueError(
                "encoder is torchvision:NAME, timm:NAME, MODULE:FUNCTION, FILE.py:FUNCTION or a method here"
            )
        return self

    def label(self) -> str:
        """The encoder, the preset, and every setting that differs from it: what a result is called."""
        start = type(self)(preset=self.preset, **PRESETS[self.preset].get("", {})).model_dump()
        own, groups = self.model_dump(), ("network", "input", "propagation")
        changes = [
            f"{key}={value}" for group in groups for key, value in _differing(start[group], own[group])
        ]
        return " ".join(["probe", self.encoder, self.preset, *changes])


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((key, b[key]) for key in b if a[key] != b[key] and key not in SPEED)


_CRW = {
    "context": 20, "repeats": "padded", "free_first": True, "radius": 12, "window": "open_disc", "top_k": 10,
    "ties": "cut", "temperature": 0.05, "first_labels": "bilinear", "upsample": "bilinear", "stretch": "none",
}  # fmt: skip
_DINO = {
    "context": 7,
    "repeats": "none",
    "radius": 12,
    "window": "square",
    "top_k": 5,
    "ties": "kept",
    "temperature": 0.1,
    "first_labels": "nearest",
    "upsample": "patch",
    "stretch": "dino",
}
_DINO_INPUT = {"rule": "dino", "short": 480, "resize": "opencv", "std": (0.228, 0.224, 0.225)}

# Where they come from, and the scores published with them: docs/probe.md
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "dino": {"": {"network": {"positions": "scale"}, "input": _DINO_INPUT, "propagation": _DINO}},
    "dinov3": {
        "": {
            "input": {"rule": "dinov3", "short": 960, "resize": "pillow"},
            "propagation": {
                **_DINO,
                "window": "disc",
                "temperature": 0.2,
                "first_labels": "nearest_exact",
                "upsample": "nearest",
                "stretch": "channels",
            },
        }
    },
    "crw": {"": {"input": {"rule": "native"}, "propagation": _CRW}},
    "vfs": {
        "": {
            "input": {"rule": "short", "short": 480, "resize": "opencv"},
            "propagation": {
                **_CRW,
                "repeats": "twice",
                "free_first": False,
                "temperature": 0.07,
                "first_labels": "nearest_twice",
                "stretch": "channels",
            },
        }
    },
    "dul": {
        "": {
            "network": {"stage": 4},
            "input": {"rule": "native"},
            "propagation": {**_CRW, "first_labels": "corners", "upsample": "corners"},
        }
    },
    "rsp": {
        "": {
            "network": {"positions": "scale"},
            "input": _DINO_INPUT,
            "propagation": {**_DINO, "context": 30, "radius": 30, "top_k": 7},
        }
    },
    "cropmae": {
        "": {
            "input": {"rule": "fixed", "size": (480, 880)},
            "propagation": {**_CRW, "radius": 20, "top_k": 7, "temperature": 0.7},
        }
    },
    "tuned": {
        "": {
            "input": {"rule": "cells"},
            "propagation": {
                "context": 7,
                "radius": 16,
                "top_k": 5,
                "temperature": 0.07,
                "first_labels": "centred",
                "upsample": "centred",
                "small_objects": "kept",
                "backfill": True,
                "sharpen": 1.5,
                "edge_radius": 3,
            },
        }
    },
    "mamp": {
        "": {
            "input": {"rule": "native"},
            "propagation": {
                "context": 7,
                "radius": 16,
                "top_k": 5,
                "temperature": 0.07,
                "small_objects": "kept",
                "backfill": True,
            },
        }
    },
}
