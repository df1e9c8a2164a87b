"""Knobs of training video: where it lies, which clips are drawn, how they are augmented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mamp.core.section import MANY, Section, Side

Count = Annotated[int, Field(ge=0, le=MANY)]
Copies = Annotated[int, Field(ge=1, le=100_000)]  # an epoch is a list of its clips


class Root(Section):
    """One place where training video lies."""

    path: Path = Field(description="a data set's root, a folder of frame folders, or a folder of video files")
    fps: float | None = Field(
        None, gt=0, le=10_000, description="frames a second; null: what the data set or the file says"
    )
    split: str | None = Field(
        None, description="which list of the data set; null: train where there are lists, else all"
    )

    @field_validator("path")
    @classmethod
    def _home(cls, value: Path) -> Path:
        return expanded(value)


def expanded(path: Path) -> Path:
    """`path` with ~ as the home folder, which a shell does not put in after `data.root=`."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with the home folder of a user who is not there") from None


class Expected(Section):
    """What data.root must give, before data.leave_out takes any away; a run on other data is refused."""

    videos: int | None = Field(None, ge=1, le=MANY, description="how many videos; null: any")
    frames: int | None = Field(None, ge=1, le=MANY, description="frames of all videos together; null: any")
    digest: str | None = Field(
        None,
        description="the list of names, frames and rates, as a run prints it before it begins; null: any",
    )


class Affine(Section):
    """How clips with masks are moved, drawn once per clip, applied on the device; all 0 is nothing."""

    crop: float = Field(
        0.0, ge=0, lt=0.5, description="each side loses up to this part; the rest is stretched to the frame"
    )
    scale: float = Field(0.0, ge=0, lt=1, description="grows or shrinks by up to this part")
    shear: float = Field(0.0, ge=0, le=60, description="sheared by up to so many degrees")
    rotate: float = Field(0.0, ge=0, le=180, description="turned by up to so many degrees")
    contrast: float = Field(0.0, ge=0, le=1, description="values are multiplied by up to this more or less")
    shift: float = Field(
        0.0, ge=0, le=1, description="up to this is added to all values, which lie in 0 to 1; not cut off"
    )
    flip: float = Field(0.0, ge=0, le=1, description="chance of a left-right flip")


class Moves(Section):
    """How each frame of a clip after the first is moved, on the device, before anything else.

    It makes clips of still pictures (data.sampling=stills). The first frame is only cropped. All 0 and crops
    of 1 change nothing. AFB-URR's published values for stills: flip 0.3, brightness, contrast and saturation
    0.1, hue 0.03, rotate 20, shift 0.1, scale 0.1, shear 10, crop 0.8 to 1.
    """

    flip: float = Field(0.0, ge=0, le=1, description="chance of a left-right flip")
    brightness: float = Field(0.0, ge=0, le=1, description="multiplied by up to this part more or less")
    contrast: float = Field(
        0.0, ge=0, le=1, description="contrast changes by up to this part, about the frame's mean"
    )
    saturation: float = Field(0.0, ge=0, le=1, description="saturation changes by up to this part")
    hue: float = Field(0.0, ge=0, le=0.5, description="largest turn of hue, as part of the circle")
    rotate: float = Field(0.0, ge=0, le=180, description="turned by up to so many degrees")
    shift: float = Field(0.0, ge=0, le=1, description="shifted by up to this part of each side")
    scale: float = Field(0.0, ge=0, lt=1, description="grows or shrinks by up to this part")
    shear: float = Field(0.0, ge=0, le=60, description="sheared by up to so many degrees")
    crop: tuple[float, float] = Field(
        (1.0, 1.0),
        description=(
            "random resized crop: smallest and largest part of the area; what is cut out is stretched to"
            " data.size, with fit=letterbox to data.box"
        ),
    )
    ratio: tuple[float, float] = Field(
        (1.0, 1.0),
        description=(
            "random resized crop: smallest and largest width over height, those of the whole frame being 1"
        ),
    )
    warp: float = Field(
        0.0,
        ge=0,
        le=0.25,
        description="thin plate spline through 4 x 4 points, each displaced by up to this part of each side",
    )

    @field_validator("crop", "ratio")
    @classmethod
    def _ordered(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        most = 1 if info.field_name == "crop" else 10
        if not 0 < value[0] <= value[1] <= most:
            raise ValueError(f"needs two numbers with 0 < smallest <= largest <= {most}")
        return value

    @property
    def on(self) -> bool:
        """Whether anything moves."""
        return self != Moves()


class Augment(Section):
    """Drawn once per clip, applied on the device."""

    crop: tuple[float, float] = Field(
        (1.0, 1.0), description="random resized crop: smallest and largest part of the area; 1, 1 is none"
    )
    flip: float = Field(0.0, ge=0, le=1, description="chance of a left-right flip")
    brightness: float = Field(
        0.0, ge=0, le=1, description="strength of a random change of brightness and contrast; 0 is none"
    )
    saturation: float = Field(
        0.0, ge=0, le=1, description="strength of a random change of saturation; 0 is none"
    )
    hue: float = Field(0.0, ge=0, le=0.5, description="largest turn of hue, as part of the circle; 0 is none")
    reverse: float = Field(0.0, ge=0, le=1, description="chance that a clip runs backwards")
    scales: tuple[int, ...] = Field(
        (), description="sides of the square, in pixels, one of which is drawn for each step; none: data.size"
    )

    @field_validator("scales")
    @classmethod
    def _sides(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(32 <= side <= 2048 and side % 8 == 0 for side in value):
            raise ValueError("needs sides of 32 to 2048 pixels that are multiples of 8")
        return value

    @field_validator("crop")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("needs two numbers with 0 < smallest <= largest <= 1")
        return value


class DataConfig(Section):
    """Where training video lies and how clips are drawn from it."""

    root: tuple[Root, ...] = Field(
        (), description="training video; may be repeated; PATH, PATH@FPS or {path, fps, split}"
    )
    leave_out: Path | None = Field(
        None,
        description="videos that are not trained on: a list of `mamp data holdout`, or names, one a line",
    )
    expect: Expected = Expected()
    size: int = Field(256, ge=32, le=2048, description="side of the square the network trains on, in pixels")
    fit: Literal["stretch", "crop", "letterbox"] = Field(
        "stretch",
        description=(
            "how a frame becomes a square: stretched as published, or a random square of its short side;"
            " letterbox: whole, in a box"
        ),
    )
    box: tuple[Side, Side] = Field(
        (240, 427),
        description=(
            "letterbox: height and width of the box; what is left of it is black and has no label, portrait"
            " frames are transposed (STM-Cycle)"
        ),
    )
    load_size: int | None = Field(
        None,
        ge=32,
        le=2048,
        description="side of the square the workers hand over, which the device crops from; null: size",
    )
    sampling: Literal["published", "random", "skip", "reference", "shuffled", "stills"] = Field(
        "published",
        description=(
            "clips of an epoch: disjoint groups of each video as published, a random start for each video,"
            " each next frame up to max_skip after the one before (STM), every frame with the one before it,"
            " after a reference from anywhere in its video (SSM-VOS), any frames of each video in any order"
            " (AFB-URR), or a clip of each picture alone, which data.moves moves"
        ),
    )
    max_skip: tuple[Count, ...] = Field(
        (5,),
        min_length=1,
        description=(
            "skip sampling: most stored frames between two frames of a clip, at first; one for all roots, or"
            " one for each"
        ),
    )
    skip_growth: tuple[Count, ...] = Field(
        (5,),
        min_length=1,
        description="skip sampling: what max_skip grows by; one for all roots, or one for each",
    )
    skip_epochs: int = Field(
        5, ge=1, le=MANY, description="skip sampling: epochs after which max_skip grows again"
    )
    skip_limit: int = Field(100, ge=1, le=MANY, description="skip sampling: where max_skip ends")
    repeat: tuple[Copies, ...] = Field(
        (1,),
        min_length=1,
        description=(
            "skip, reference, shuffled and stills: how often an epoch holds the videos, or pictures, of a"
            " root; one for all roots, or one for each"
        ),
    )
    clips_per_video: int = Field(
        1, ge=1, le=100_000, description="random sampling: clips drawn from each video in an epoch"
    )
    intervals: tuple[Count, ...] = Field(
        (2, 5, 8), min_length=1, description="frame intervals that are drawn from"
    )
    interval_chances: tuple[float, ...] = Field(
        (0.4, 0.4, 0.2), min_length=1, description="chance of each interval; sums to 1"
    )
    interval_fps: float | None = Field(
        30.0,
        gt=0,
        description=(
            "the rate at which intervals are counted; each source's own rate maps them; null: stored frames,"
            " whatever the rate"
        ),
    )
    bad_frame: Literal["error", "skip", "repeat"] = Field(
        "error", description="what to do about a frame that cannot be read"
    )
    sample_seconds: float | None = Field(
        120,
        gt=0,
        description=(
            "longest that reading one clip may take; then the file is named, or with bad_frame=skip another"
            " clip is taken; null: any time"
        ),
    )
    scaled_jpeg: bool = Field(
        True,
        description=(
            "fit=crop: decode JPEG at 1/2, 1/4 or 1/8 of its size where that still has load_size; half the"
            " time for 720p, pixels differ a little; stretching always decodes in full"
        ),
    )
    workers: int = Field(2, ge=0, le=128, description="loader processes; 0 loads in the training process")
    augment: Augment = Augment()
    affine: Affine = Affine()
    moves: Moves = Moves()

    @field_validator("root", mode="before")
    @classmethod
    def _roots(cls, value: Any) -> Any:
        values = [value] if isinstance(value, (str, Path, dict)) else value
        return tuple(_root(v) for v in values) if isinstance(values, (list, tuple)) else values

    @field_validator("leave_out")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        return value and expanded(value)

    @model_validator(mode="after")
    def _chances(self) -> DataConfig:
        if len(self.intervals) != len(self.interval_chances) or abs(sum(self.interval_chances) - 1) > 1e-6:
            raise ValueError("interval_chances needs one chance for each of intervals, summing to 1")
        if min(self.intervals) < 1 or min(self.interval_chances) < 0:
            raise ValueError("intervals are 1 or more and chances 0 or more")
        return self

    @model_validator(mode="after")
    def _for_each_root(self) -> DataConfig:
        lists = {"max_skip": self.max_skip, "skip_growth": self.skip_growth, "repeat": self.repeat}
        for name, values in lists.items():
            least = 0 if name == "skip_growth" else 1
            if min(values) < least:
                raise ValueError(f"{name} needs numbers from {least} on")
            if self.root and len(values) not in (1, len(self.root)):
                raise ValueError(
                    f"{name} needs one number, or one for each of the {len(self.root)} of data.root"
                )
        return self


def _root(value: Any) -> Any:
    """`PATH@FPS` as written on the command line -> {path, fps}."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(.+)@(\d+(?:\.\d+)?)", value)
    return {"path": match[1], "fps": float(match[2])} if match else {"path": value}
