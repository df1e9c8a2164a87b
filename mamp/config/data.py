"""Knobs of training video: where it lies, which clips are drawn, how they are augmented."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mamp.config.section import Section


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
    sample_seconds: float | None = Field(
        120,
        gt=0,
        description="longest that reading one clip may take; then the file is named, or with bad_frame=skip another clip is taken; null: any time",
    )
    scaled_jpeg: bool = Field(
        True,
        description="fit=crop: decode JPEG at 1/2, 1/4 or 1/8 of its size where that still has load_size; half the time for 720p, pixels differ a little; stretching always decodes in full",
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
