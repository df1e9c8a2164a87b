"""Every knob of every method, typed, with its meaning, default and range; no torch.

A config is made of layers, later ones winning: the method's preset (and what the preset says for the data
set at hand), a YAML file, `key=value` arguments. The resolved whole is saved with every result.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from mamp.errors import UserError
from mamp.layers import knobs, merge, read_overrides, read_yaml


class Section(BaseModel):
    """A frozen group of knobs that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# ---------------------------------------------------------------- motion


class MotionConfig(Section):
    """Where things were: memory frames are brought to the query before features are compared."""

    source: Literal["none", "coarse", "dis", "raft"] = Field(
        "none",
        description="nothing; global matching of our own pooled features; OpenCV's DIS flow (extra opencv); RAFT, which was trained with labels",
    )
    compose: bool = Field(
        False, description="flow to far frames as a chain of flows between neighbours, one new flow a frame"
    )
    dis_preset: Literal["ultrafast", "fast", "medium"] = Field(
        "medium", description="dis: OpenCV's preset, from fast to careful"
    )
    raft: Literal["large", "small"] = Field(
        "large", description="raft: which network; the published one is large"
    )
    weights: str | None = Field(
        None,
        description="raft: a file with the weights of torchvision's network, or torchvision to download them (large: C_T_SKHT_V1, as published)",
    )
    iterations: int | None = Field(
        None, ge=1, le=64, description="raft: iterations; null: 2, and 5 to far frames, as published"
    )
    coarse_pool: int = Field(
        4, ge=1, le=32, description="coarse: side of the block of cells that moves as one"
    )
    coarse_pull: float = Field(
        0.01,
        ge=0,
        le=1,
        description="coarse: cosine that a block of distance must gain; keeps even areas still",
    )
    coarse_temperature: float = Field(
        0.02, gt=0, description="coarse: divisor of cosines where the best match is refined below a block"
    )


# ---------------------------------------------------------------- MAMP


class MampEncoder(Section):
    """The network; kept with the weights."""

    width: float = Field(
        1.0, gt=0, le=4, description="channel counts as a fraction of the published 64, 64, 128, 256, 256"
    )
    features: int = Field(64, ge=1, le=1024, description="channels C of a feature cell")
    lab: Literal["exact", "opencv"] = Field(
        "exact",
        description="RGB to Lab by the exact formula, or by OpenCV's table, which the published weights saw (extra opencv)",
    )
    similarity: Literal["cosine", "dot"] = Field(
        "cosine", description="how two features are compared; the published one is dot"
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="what similarities are divided by before the softmax; null: 0.07 for cosine, sqrt(features) for dot",
    )

    def resolved_temperature(self) -> float:
        """The divisor in force."""
        if self.temperature is not None:
            return self.temperature
        return 0.07 if self.similarity == "cosine" else self.features**0.5


class MampPropagation(Section):
    """How labels are carried from memory frames to the next frame."""

    labels: Literal["soft", "hard"] = Field(
        "soft", description="what is remembered of a finished frame: its scores, or its label map"
    )
    top_k: int = Field(
        5, ge=1, le=4096, description="most similar cells, over all memories, that a query cell reads"
    )
    radius: int = Field(
        16, ge=0, le=128, description="half side of the square window a query cell looks into, in cells"
    )
    memory: Literal["recent", "davis", "youtube", "budget"] = Field(
        "recent",
        description="which frames are read: first, given and last ones; the published rules for DAVIS or YouTube-VOS; or first, last and older ones thinned within budget_mb",
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
        description="budget: most that features and labels of memory frames take together, in millions of bytes; time grows with it",
    )
    outside: Literal["zero", "masked"] = Field(
        "masked",
        description="window cells outside the frame: score 0 and no label, as published, or left out",
    )
    views: Literal["hidden", "full"] = Field(
        "hidden",
        description="what the network sees of a frame: as in training, once with each chroma channel hidden, features joined; or once in full, as published",
    )
    upsample: Literal["centred", "published"] = Field(
        "centred",
        description="scores go back to the pixels their cells were centred on; published: by half-pixel centres, 1.5 pixels to the right and below",
    )
    backfill: bool = Field(
        True,
        description="an object given late is also found in the memory frames before, where it passed for background",
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
    scale: float = Field(1.0, gt=0, le=4, description="resize frames by this factor before the encoder")
    tile: int = Field(
        8, ge=4, le=128, description="side of the query tile, in cells; changes speed, not results"
    )
    max_mb: int = Field(
        16, ge=1, description="bound on the correlation's working memory, in MB; changes speed, not results"
    )


class MampTraining(Section):
    """What is learnt from: reconstruction of one frame's colour from others."""

    references: int = Field(
        1, ge=1, le=8, description="reference frames r that the query frame is rebuilt from"
    )
    radius: int = Field(6, ge=1, le=64, description="half side of the window, in cells")


class MampConfig(Section):
    """Motion-aware mask propagation (Miao et al., ICME 2022)."""

    name: Literal["mamp"] = Field("mamp", description="which method")
    preset: Literal["tuned", "published"] = Field(
        "tuned", description="where the propagation knobs start from; any of them may be set beside it"
    )
    encoder: MampEncoder = MampEncoder()
    propagation: MampPropagation = MampPropagation()
    motion: MotionConfig = MotionConfig()
    training: MampTraining = MampTraining()


YOUTUBE = {"propagation": {"memory": "youtube", "memory_length": 4, "pad": 16, "subsample": 2}}

# What a preset sets, and what it sets besides for one data set; "" is every data set.
PRESETS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("mamp", "tuned"): {},
    ("mamp", "published"): {
        "": {
            "propagation": {
                "labels": "hard", "top_k": 36, "radius": 12, "memory": "davis", "memory_length": 5,
                "outside": "zero", "backfill": False, "upsample": "published", "views": "full", "pad": 4, "subsample": 1, "scale": 1.0,
            },
            "motion": {"source": "none"},
        },
        "youtubevos": YOUTUBE,
        "folder": YOUTUBE,  # the published demo of one's own video
    },
}  # fmt: skip

# ---------------------------------------------------------------- data


class Root(Section):
    """One place where training video lies."""

    path: Path = Field(description="a data set's root, a folder of frame folders, or a folder of video files")
    fps: float | None = Field(
        None, gt=0, description="frames a second; null: what the data set or the file says"
    )
    split: str | None = Field(
        None, description="which list of the data set; null: train where there are lists, else all"
    )


class Augment(Section):
    """Drawn once per clip, applied on the device."""

    crop: tuple[float, float] = Field(
        (1.0, 1.0), description="random resized crop: smallest and largest part of the area; 1, 1 is none"
    )
    flip: float = Field(0.0, ge=0, le=1, description="chance of a left-right flip")
    brightness: float = Field(
        0.0, ge=0, le=1, description="strength of a random change of brightness and contrast; 0 is none"
    )
    reverse: float = Field(0.0, ge=0, le=1, description="chance that a clip runs backwards")

    @field_validator("crop")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("wants two numbers with 0 < smallest <= largest <= 1")
        return value


class DataConfig(Section):
    """Where training video lies and how clips are drawn from it."""

    root: tuple[Root, ...] = Field(
        (), description="training video; may be repeated; PATH, PATH@FPS or {path, fps, split}"
    )
    size: int = Field(256, ge=32, le=2048, description="side of the square the network trains on, in pixels")
    fit: Literal["stretch", "crop"] = Field(
        "stretch",
        description="how a frame becomes a square: stretched as published, or a random square of its short side",
    )
    load_size: int | None = Field(
        None,
        ge=32,
        le=2048,
        description="side of the square the workers hand over, which the device crops from; null: size",
    )
    sampling: Literal["published", "random"] = Field(
        "published",
        description="clips of an epoch: disjoint groups of each video as published, or a random start for each video",
    )
    clips_per_video: int = Field(
        1, ge=1, description="random sampling: clips drawn from each video in an epoch"
    )
    intervals: tuple[int, ...] = Field(
        (2, 5, 8), min_length=1, description="frame intervals that are drawn from"
    )
    interval_chances: tuple[float, ...] = Field(
        (0.4, 0.4, 0.2), min_length=1, description="chance of each interval; sums to 1"
    )
    interval_fps: float | None = Field(
        30.0,
        gt=0,
        description="the rate at which intervals are told; each source's own rate maps them; null: stored frames, whatever the rate",
    )
    bad_frame: Literal["error", "skip", "repeat"] = Field(
        "error", description="what to do about a frame that cannot be read"
    )
    workers: int = Field(2, ge=0, le=128, description="loader processes; 0 loads in the training process")
    augment: Augment = Augment()

    @field_validator("root", mode="before")
    @classmethod
    def _roots(cls, value: Any) -> Any:
        values = [value] if isinstance(value, (str, Path, dict)) else value
        return tuple(_root(v) for v in values) if isinstance(values, (list, tuple)) else values

    @model_validator(mode="after")
    def _chances(self) -> DataConfig:
        if len(self.intervals) != len(self.interval_chances) or abs(sum(self.interval_chances) - 1) > 1e-6:
            raise ValueError("interval_chances wants one chance for each of intervals, summing to 1")
        if min(self.intervals) < 1 or min(self.interval_chances) < 0:
            raise ValueError("intervals are 1 or more and chances 0 or more")
        return self


def _root(value: Any) -> Any:
    """`PATH@FPS` as written on the command line -> {path, fps}."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)", value)
    return {"path": match[1], "fps": float(match[2])} if match else {"path": value}


# ---------------------------------------------------------------- training and evaluation


Amp = Annotated[
    Literal["off", "auto", "bf16", "fp16"], BeforeValidator(lambda v: "off" if v is False else v)
]  # YAML's off
AMP = "number format of the network: float32, or mixed; auto: bf16 where the device is faster at it, else off"


class TrainConfig(Section):
    """The engine: steps, optimiser, checkpoints."""

    seed: int = Field(0, ge=0, description="of weights, clips, augmentation and dropped channels")
    epochs: float = Field(33, gt=0, description="passes over the clips, when steps is null")
    steps: int | None = Field(None, ge=1, description="optimiser steps; null: as many as epochs makes")
    batch: int = Field(24, ge=1, description="clips in a step")
    lr: float = Field(1e-3, gt=0, description="learning rate at its highest")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Adam's averages")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (AdamW); 0 is Adam")
    schedule: Literal["constant", "halving", "cosine"] = Field(
        "halving", description="how the learning rate falls"
    )
    milestones: tuple[int, ...] = Field(
        (400_000, 600_000, 800_000, 1_000_000),
        description="halving: the rate halves once more than this many clips were seen",
    )
    warmup: int = Field(0, ge=0, description="steps over which the rate rises to lr")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the gradient; null: not clipped")
    amp: Amp = Field("off", description=AMP)
    log_every: int = Field(10, ge=1, description="steps between lines of log.jsonl")
    checkpoint_every: int = Field(
        500, ge=1, description="steps between checkpoints; one is written at the end too"
    )
    keep: int = Field(2, ge=1, description="how many last checkpoints stay")


class EvaluateConfig(Section):
    """Segmenting and evaluating."""

    amp: Amp = Field("off", description=AMP)
    bad_frame: Literal["error", "skip", "repeat"] = Field(
        "error", description="what to do about a frame that cannot be read"
    )


Method = MampConfig  # a second method makes this a union told apart by `name`
METHOD_CONFIGS: dict[str, type[Section]] = {"mamp": MampConfig}


class Config(Section):
    """Everything a run is made of."""

    method: Method = MampConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()


# ---------------------------------------------------------------- reading


def load(
    path: Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    dataset: str = "",
    base: Mapping[str, Any] | None = None,
) -> Config:
    """The resolved config.

    path: a YAML file, or None. overrides: `key=value`, values in YAML; a repeated `data.root` adds, any other
    repetition replaces. dataset: chooses what a preset says for that data set. base: values under the YAML's
    (the config kept with weights).

    Raises UserError naming the file's line or the argument, and the nearest right key.
    """
    given: dict[str, Any] = {}
    places: dict[str, str] = {}
    if base:
        merge(given, base)
    if path is not None:
        merge(given, read_yaml(Path(path), places))
    merge(given, read_overrides(overrides, places))
    preset = _preset_values(given, dataset)
    merge(preset, given)
    try:
        return Config.model_validate(preset)
    except ValidationError as error:
        raise UserError(_explain(error, places)) from None


def dump(config: BaseModel) -> str:
    """The whole config as YAML that `load` reads back to the same config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _preset_values(given: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    method = given.get("method")
    method = method if isinstance(method, Mapping) else {}
    name = str(method.get("name", "mamp"))
    preset = str(method.get("preset", "tuned"))
    values: dict[str, Any] = {"method": {"name": name}}
    for key in ("", dataset):
        merge(values["method"], PRESETS.get((name, preset), {}).get(key, {}))
    return values


def _explain(error: ValidationError, places: Mapping[str, str]) -> str:
    """One sentence about the first thing that is wrong."""
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    key = ".".join(where)
    place = next((places[k] for k in _prefixes(key) if k in places), None)
    place = place or next((p for k, p in reversed(list(places.items())) if k.startswith(f"{key}.")), None)
    at = f"{place}: " if place else ""
    if first["type"] == "extra_forbidden":
        keys, last = _all_keys(), where[-1]
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
        near = near or [k for k in keys if k.split(".")[-1] == last]  # the name alone, without its section
        nearest = near[0] if near else ", ".join(Config.model_fields)
        return f"{at}{key} is not a key; did you mean {nearest}? (`mamp config mamp` lists them all)"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    told = first["type"] == "missing" or isinstance(first["input"], dict)
    found = "" if told else f", but it is {first['input']!r}"
    return f"{at}{key or 'the config'}: {message}{found}; `mamp config mamp` tells what each key takes"


def _prefixes(key: str) -> Iterator[str]:
    parts = key.split(".")
    for n in range(len(parts), 0, -1):
        yield ".".join(parts[:n])


def _all_keys() -> list[str]:
    keys = [key for key, _, _ in knobs(Config)]
    return keys + sorted({parent for key in keys for parent in _prefixes(key)} - set(keys))
