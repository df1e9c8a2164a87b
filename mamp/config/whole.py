"""The config of a run, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from mamp.config.data import DataConfig
from mamp.config.evaluate import EvaluateConfig
from mamp.config.slurm import SlurmConfig
from mamp.config.tracking import TrackingConfig
from mamp.config.train import TrainConfig
from mamp.config.validation import ValidationConfig
from mamp.core.section import Section
from mamp.methods import METHODS

DEFAULT = next(iter(METHODS.values()))  # the method of a config that names none

if TYPE_CHECKING:
    AnyMethod = Any
else:
    AnyMethod = Annotated[
        Union[tuple(method.config for method in METHODS.values())],  # noqa: UP007
        Field(discriminator="name"),
    ]


class Config(Section):
    """Everything a run is made of. `method` is the config class of one method of the registry."""

    method: AnyMethod = DEFAULT.config()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    validation: ValidationConfig = ValidationConfig()
    tracking: TrackingConfig = TrackingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    slurm: SlurmConfig = SlurmConfig()
