"""AFB-URR: adaptive feature bank and uncertain-region refinement (Liang, Li, Jafari and Chen, NeurIPS 2020).

The first files to open: `propagator.py` (what happens per frame), `bank.py` (what is remembered) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.config.afb_urr import AfbConfig
from mamp.methods.afb_urr.network import AfbUrr
from mamp.methods.afb_urr.propagator import AfbPropagator as build_propagator
from mamp.methods.afb_urr.published import from_published
from mamp.methods.afb_urr.task import AfbTask as build_task
from mamp.methods.afb_urr.trunk import AfbTrunk as build_trunk

__all__ = ["build_model", "build_propagator", "build_task", "build_trunk", "from_published"]


def build_model(method: AfbConfig) -> AfbUrr:
    """The network that `method` describes, with fresh weights."""
    return AfbUrr(method.network)
