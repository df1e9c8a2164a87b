"""Settings of MAMP, and what its presets set."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mamp.core.section import MANY, MAX_MB, MethodConfig, Section
from mamp.methods.mamp.families import FAMILIES, settings
from mamp.propagation import finishing
from mamp.propagation.motion.config import MotionConfig

ON_CPU = 16  # MB of working memory there; larger chunks cost page faults in every allocation


class JoinedEncoder(Section):
    """Another encoder whose features are joined to MAMP's."""

    encoder: str = Field(
        description="torchvision:NAME, timm:NAME, MODULE:FUNCTION or FILE.py:FUNCTION, as of the probe"
    )
    family: str | None = Field(None, description="the short name that these settings come from")
    weights: str | None = Field(
        None, description="a file with its state dict; null: what torchvision or timm download, or its own"
    )
    layer: int | str | None = Field(None, description="what is read, as method.network.layer of the probe")
    stage: int = Field(3, ge=1, le=8, description="stage that layer=null means, in a network of stages")
    final_norm: bool = Field(True, description="tokens of a block go through the last LayerNorm")
    scale: float = Field(
        1.0, gt=0, le=4, description="it sees frames so many times as large as MAMP's encoder does"
    )
    weight: float = Field(
        0.3, gt=0, lt=1, description="its part of the similarity; MAMP's own is what is left of 1"
    )
    project: int = Field(
        128,
        ge=1,
        le=4096,
        description=(
            "channels that are kept at most: features go onto the directions in which those of the first"
            " frame vary most"
        ),
    )
    mean: tuple[float, float, float] = Field(
        (0.485, 0.456, 0.406), description="subtracted from RGB in [0, 1]"
    )
    std: tuple[float, float, float] = Field((0.229, 0.224, 0.225), description="what RGB is divided by then")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        return settings(given)

    @model_validator(mode="after")
    def _can_be_read(self) -> JoinedEncoder:
        if ":" not in self.encoder.strip(":"):
            raise ValueError(
                f"{self.encoder!r} is not an encoder or a short name; use timm:NAME, torchvision:NAME,"
                f" FILE.py:FUNCTION, or one of {', '.join(FAMILIES)}"
            )
        if min(self.std) <= 0:
            raise ValueError("std has to be above 0")
        return self


class MampEncoder(Section):
    """The network; kept with the weights."""

    width: float = Field(
        1.0, gt=0, le=4, description="channel counts as a fraction of the published 64, 64, 128, 256, 256"
    )
    features: int = Field(64, ge=1, le=1024, description="channels C of a feature cell")
    lab: Literal["exact", "opencv"] = Field(
        "exact",
        description=(
            "how RGB becomes Lab\n"
            "exact: by the formula\n"
            "opencv: by OpenCV's table, which the published weights saw (extra opencv)"
        ),
    )
    similarity: Literal["cosine", "dot"] = Field(
        "cosine", description="how two features are compared; the published one is dot"
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description=(
            "what similarities are divided by before the softmax; null: 0.07 for cosine, sqrt(features) for"
            " dot"
        ),
    )

    distilled: bool = Field(
        False,
        description=(
            "a lighter network that gives in one pass what the encoder gives of two views;"
            " scripts/distil.py makes it"
        ),
    )

    joined: tuple[JoinedEncoder, ...] = Field(
        (),
        description=(
            "other encoders whose features are joined to these, by name or as mappings; --with is"
            " short for it"
        ),
    )

    @field_validator("joined", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return [given] if isinstance(given, (str, dict)) else given

    @model_validator(mode="after")
    def _something_is_left(self) -> MampEncoder:
        if (total := sum(one.weight for one in self.joined)) >= 1:
            raise ValueError(f"the weights of joined make {total:g}, which leaves nothing for MAMP's own")
        return self

    def resolved_temperature(self) -> float:
        """The divisor in force."""
        if self.temperature is not None:
            return self.temperature
        return 0.07 if self.similarity == "cosine" else self.features**0.5


class MampPropagation(Section):
    """How labels are carried from memory frames to the next frame."""

    labels: Literal["soft", "hard"] = Field(
        "soft", description=("what is remembered of a finished frame\nsoft: its scores\nhard: its label map")
    )
    top_k: int = Field(
        5, ge=1, le=4096, description="most similar cells, over all memories, that a query cell reads"
    )
    radius: int = Field(
        24, ge=0, le=128, description="half side of the square window a query cell looks into, in cells"
    )
    search: Literal["blocks", "exact"] = Field(
        "exact",
        description=(
            "how the most similar cells are found; with outside=zero always exact\n"
            "blocks: among the cells near by and in the best blocks of 2 x 2 cells, found by mean"
            " features\n"
            "exact: among all cells of the window"
        ),
    )
    search_near: int = Field(
        8,
        ge=0,
        le=128,
        description="search=blocks: half side of the window in which every cell is compared, in cells",
    )
    search_blocks: int = Field(
        24,
        ge=1,
        le=4096,
        description="search=blocks: how many blocks, over all memories, are compared cell by cell",
    )
    memory: Literal["recent", "davis", "youtube", "budget"] = Field(
        "recent",
        description=(
            "which frames are read\n"
            "recent: first, given and last ones\n"
            "davis: the published rule for DAVIS\n"
            "youtube: the published rule for YouTube-VOS\n"
            "budget: first, last and older ones, thinned within budget_mb"
        ),
    )
    memory_length: int = Field(
        7,
        ge=0,
        le=1000,
        description="recent, budget: how many last frames; davis: 5 as published; youtube: 4 as published",
    )
    budget_mb: float = Field(
        64,
        gt=0,
        description=(
            "budget: most that features and labels of memory frames take together, in millions of bytes;"
            " time grows with it"
        ),
    )
    sharpen: float = finishing.sharpen()
    background: float = finishing.background()
    outside: Literal["zero", "masked"] = Field(
        "masked",
        description=(
            "window cells outside the frame\nzero: score 0 and no label, as published\nmasked: left out"
        ),
    )
    views: Literal["hidden", "full"] = Field(
        "hidden",
        description=(
            "what the network sees of a frame\n"
            "hidden: once with each chroma channel hidden, as in training, features joined\n"
            "full: once in full, as published"
        ),
    )
    distilled: bool = Field(
        False,
        description=(
            "views=hidden: weights that have a distilled network give in one pass of it what two passes of"
            " the encoder give"
        ),
    )
    upsample: Literal["centred", "published"] = Field(
        "centred",
        description=(
            "how scores go back to pixels\n"
            "centred: to the pixels that their cells are centred on\n"
            "published: by half-pixel centres, 1.5 pixels to the right and below"
        ),
    )
    edge_radius: float = finishing.edge_radius(3)
    edge_eps: float = finishing.edge_eps()
    edge_fit: Literal["fast", "exact"] = finishing.edge_fit("exact")
    backfill: bool = Field(
        True,
        description=(
            "an object given late is also found in the memory frames before, where it passed for background"
        ),
    )
    temperature: float | None = Field(
        None, gt=0, description="divisor of similarities here; null: the encoder's own"
    )
    pad: int = Field(
        4, ge=1, le=64, description="frames are padded right and bottom to a multiple of this many pixels"
    )
    subsample: int = Field(
        1,
        ge=1,
        le=8,
        description="keep every n-th row and column of the padded frame (2 as published on YouTube-VOS)",
    )
    short_side: int | None = Field(
        360,
        ge=16,
        le=4320,
        description=(
            "short side in pixels to which frames are resized for the encoder; masks keep the video's"
            " size; null: not resized"
        ),
    )
    enlarge: float = Field(
        1.5, ge=1, le=4, description="short_side: frames are enlarged by this factor at most; 1: only shrunk"
    )
    tile: int = Field(
        8, ge=4, le=128, description="side of the query tile, in cells; changes speed, not results"
    )
    max_mb: int | None = Field(
        None,
        ge=1,
        le=MANY,
        description=MAX_MB.format(what="the correlation", on_cpu=ON_CPU),
    )

    def resolved_search(self) -> str:
        """The search in force."""
        whole = self.search_near >= self.radius  # every cell of the window is near by
        return "exact" if self.outside == "zero" or whole else self.search


class MampTraining(Section):
    """What is learnt from: reconstruction of one frame's colour from others."""

    references: int = Field(
        1, ge=1, le=8, description="reference frames r that the query frame is rebuilt from"
    )
    radius: int = Field(6, ge=1, le=64, description="half side of the window, in cells")
    batch_norm: Literal["frame", "clip"] = Field(
        "frame",
        description=(
            "what a batch norm averages over\n"
            "frame: each frame slot of the clips alone, as published\n"
            "clip: all frames of all clips"
        ),
    )


class MampConfig(MethodConfig):
    """Motion-aware mask propagation (Miao et al., ICME 2022)."""

    name: Literal["mamp"] = Field("mamp", description="which method")
    preset: Literal["exact", "fast", "tuned", "published"] = Field(
        "tuned",
        description=(
            "where the propagation settings start from; any of them may be set beside it\n"
            "tuned: the default\n"
            "fast: for a first look\n"
            "exact: as tuned, with every cell compared and every pixel fitted; several times slower\n"
            "published: as the published program"
        ),
    )
    encoder: MampEncoder = MampEncoder()
    propagation: MampPropagation = MampPropagation()
    motion: MotionConfig = MotionConfig()
    training: MampTraining = MampTraining()

    def reads_distilled(self) -> bool:
        """Whether frames are seen by the distilled network of the weights."""
        knobs = self.propagation
        return knobs.views == "hidden" and knobs.distilled and self.encoder.distilled


YOUTUBE = {"propagation": {"memory": "youtube", "memory_length": 4, "pad": 16, "subsample": 2}}

# What makes it fast at little loss. The fields' own defaults are the exact ways, since configs that were
# written before these settings existed have none of them.
QUICK = {"search": "blocks", "distilled": True, "edge_fit": "fast"}

# What a preset sets, and what it sets besides for one data set; "" is every data set.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "tuned": {"": {"propagation": QUICK}},
    "exact": {},
    "fast": {
        "": {
            "propagation": {
                **QUICK,
                "short_side": 240,
                "enlarge": 1,
                "radius": 16,
                "memory_length": 5,
                "search_near": 5,
                "search_blocks": 12,
                "sharpen": 1.5,
            }
        }
    },
    "published": {
        "": {
            "propagation": {
                "labels": "hard",
                "top_k": 36,
                "radius": 12,
                "search": "exact",
                "memory": "davis",
                "memory_length": 5,
                "outside": "zero",
                "backfill": False,
                "upsample": "published",
                "edge_radius": 0,
                "edge_fit": "exact",
                "views": "full",
                "pad": 4,
                "subsample": 1,
                "short_side": None,
            },
            "motion": {"source": "none"},
        },
        "youtubevos": YOUTUBE,
        "folder": YOUTUBE,  # the published demo of one's own video
    },
}
