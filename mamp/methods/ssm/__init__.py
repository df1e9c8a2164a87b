"""SSM-VOS: separable structure modelling for semi-supervised video object segmentation (T-CSVT 2021).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.config.ssm import SsmConfig
from mamp.methods.ssm.network import Ssm
from mamp.methods.ssm.propagator import SsmPropagator as build_propagator
from mamp.methods.ssm.published import from_published
from mamp.methods.ssm.task import SsmTask as build_task
from mamp.methods.ssm.trunk import SsmTrunk as build_trunk

__all__ = ["build_model", "build_propagator", "build_task", "build_trunk", "from_published"]


def build_model(method: SsmConfig) -> Ssm:
    """The network that `method` describes, with fresh weights."""
    return Ssm(method.network)
