"""What every group of settings is, and what every method's config has."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from mamp.core.misread import as_written
from mamp.core.terminal import CONTROL

# no knob needs more; what numpy and torch count in has twice the bits
MANY = 2**31 - 1
_CONTROL = re.compile(f"[{CONTROL}]")


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, values: Any) -> Any:
        """Refuse numbers that YAML reads otherwise than they are written."""
        if not isinstance(values, dict):
            return values
        fields = cls.model_fields
        return {
            name: as_written(value, fields[name].annotation, name) if name in fields else value
            for name, value in values.items()
        }

    @field_validator("*")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Refuse control characters, which reach files, scripts and terminals, in texts however deep."""
        waiting = [value]
        while waiting:
            found = waiting.pop()
            if isinstance(found, (str, PurePath)) and _CONTROL.search(str(found)):
                raise ValueError("has control characters; write it without them")
            if isinstance(found, dict):
                waiting += [*found.keys(), *found.values()]
            elif isinstance(found, (list, tuple)):
                waiting += found
        return value


class MethodConfig(Section):
    """The settings of a method.

    Each has a field `name`, a Literal of its own name, and most have `preset`, a Literal of their presets'
    names. Of the others, `network` and `encoder` are kept with the weights; `propagation`, `motion` and
    `training` are chosen anew.
    """

    def label(self) -> str | None:
        """Return the name of results with these settings in tables; None for the folder's name."""
        return None


# Settings of `propagation` that change speed and memory alone: results made with others are as good
SPEED = ("tile", "max_mb")
MAX_MB = (
    "bound on the working memory of {what}, in MB; null: {on_cpu}, and on CUDA an eighth of the free memory,"
    " up to 1024; changes speed, not results"
)

Amp = Annotated[
    Literal["off", "auto", "bf16", "fp16"], BeforeValidator(lambda v: "off" if v is False else v)
]  # YAML's off
AMP = "number format of the network: float32, or mixed; auto: bf16 where the device is faster at it, else off"

Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
Width = Annotated[float, Field(gt=0, le=4)]  # a network's channel counts as a fraction of the published ones
Side = Annotated[int, Field(ge=16, le=4096)]  # of what a network sees, in pixels
