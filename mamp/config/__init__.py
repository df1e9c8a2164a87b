"""Every knob of every method, typed, with its meaning, default and range; no torch.

A config is made of layers, later ones winning: the method's preset (and what the preset says for the data
set at hand), a YAML file, `key=value` arguments. The resolved whole is saved with every result.
"""

from __future__ import annotations

from mamp.config.afb_urr import AfbConfig, AfbNetwork, AfbPropagation, AfbTraining
from mamp.config.data import Affine, Augment, DataConfig, Expected, Moves, Root
from mamp.config.evaluate import EvaluateConfig
from mamp.config.mamp import MampConfig, MampEncoder, MampPropagation, MampTraining
from mamp.config.methods import METHOD_CONFIGS, PRESETS
from mamp.config.motion import MotionConfig
from mamp.config.probe import ProbeConfig, ProbeInput, ProbeNetwork, ProbePropagation
from mamp.config.reading import dump, load, method_knobs, named_method
from mamp.config.slurm import SlurmConfig
from mamp.config.ssm import SsmConfig, SsmNetwork, SsmPropagation, SsmTraining
from mamp.config.stm import StmConfig, StmNetwork, StmPropagation, StmTraining
from mamp.config.tracking import TrackingConfig
from mamp.config.train import TrainConfig
from mamp.config.validation import ValidationConfig
from mamp.config.whole import Config

__all__ = [
    "METHOD_CONFIGS",
    "PRESETS",
    "AfbConfig",
    "AfbNetwork",
    "AfbPropagation",
    "AfbTraining",
    "Affine",
    "Augment",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "Expected",
    "MampConfig",
    "MampEncoder",
    "MampPropagation",
    "MampTraining",
    "MotionConfig",
    "Moves",
    "ProbeConfig",
    "ProbeInput",
    "ProbeNetwork",
    "ProbePropagation",
    "Root",
    "SlurmConfig",
    "TrackingConfig",
    "SsmConfig",
    "SsmNetwork",
    "SsmPropagation",
    "SsmTraining",
    "StmConfig",
    "StmNetwork",
    "StmPropagation",
    "StmTraining",
    "TrainConfig",
    "ValidationConfig",
    "dump",
    "load",
    "method_knobs",
    "named_method",
]
