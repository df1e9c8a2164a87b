"""STM: space-time memory networks (Oh, Lee, Xu and Kim, ICCV 2019), and STM-Cycle: cyclic training and gradient
correction (Li, Xu, Peng, See and Lin, NeurIPS 2020).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.config.stm import StmConfig
from mamp.methods.stm.network import Stm
from mamp.methods.stm.propagator import StmPropagator as build_propagator
from mamp.methods.stm.published import from_published
from mamp.methods.stm.task import StmTask as build_task
from mamp.methods.stm.trunk import StmTrunk as build_trunk

__all__ = ["build_model", "build_propagator", "build_task", "build_trunk", "from_published"]


def build_model(method: StmConfig) -> Stm:
    """The network that `method` describes, with fresh weights."""
    return Stm(method.network)
