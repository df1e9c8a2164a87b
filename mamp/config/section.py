"""What every group of knobs is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """A frozen group of knobs that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Amp = Annotated[
    Literal["off", "auto", "bf16", "fp16"], BeforeValidator(lambda v: "off" if v is False else v)
]  # YAML's off
AMP = "number format of the network: float32, or mixed; auto: bf16 where the device is faster at it, else off"
