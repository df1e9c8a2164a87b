"""The config of a run, whole."""

from __future__ import annotations

from mamp.config.data import DataConfig
from mamp.config.evaluate import EvaluateConfig
from mamp.config.mamp import MampConfig
from mamp.config.methods import Method
from mamp.config.section import Section
from mamp.config.slurm import SlurmConfig
from mamp.config.tracking import TrackingConfig
from mamp.config.train import TrainConfig
from mamp.config.validation import ValidationConfig


class Config(Section):
    """Everything a run is made of."""

    method: Method = MampConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    validation: ValidationConfig = ValidationConfig()
    tracking: TrackingConfig = TrackingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    slurm: SlurmConfig = SlurmConfig()
