"""The settings of a run, typed, each with meaning, default and range. A method's are in its folder. No torch.

A config is made of layers, later ones winning: the method's preset (and what the preset says for the data
set at hand), a YAML file, `key=value` arguments. The resolved whole is saved with every result.
"""

from __future__ import annotations

from mamp.config.data import Affine, Augment, DataConfig, Expected, Moves, Root
from mamp.config.evaluate import EvaluateConfig
from mamp.config.reading import dump, load, method_knobs, named_method, resolved
from mamp.config.slurm import SlurmConfig
from mamp.config.tracking import TrackingConfig
from mamp.config.train import TrainConfig
from mamp.config.validation import ValidationConfig
from mamp.config.whole import Config

__all__ = [
    "Affine",
    "Augment",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "Expected",
    "Moves",
    "Root",
    "SlurmConfig",
    "TrackingConfig",
    "TrainConfig",
    "ValidationConfig",
    "dump",
    "load",
    "method_knobs",
    "named_method",
    "resolved",
]
