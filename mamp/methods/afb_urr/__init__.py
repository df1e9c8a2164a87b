"""AFB-URR: adaptive feature bank and uncertain-region refinement (Liang, Li, Jafari and Chen, NeurIPS 2020).

The first files to open: `propagator.py` (what happens per frame), `bank.py` (what is remembered) and
`task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.methods.afb_urr.config import PRESETS, AfbConfig
from mamp.methods.base import Method, later

METHOD = Method(
    name="afb_urr",
    description=(
        "adaptive feature bank and uncertain-region refinement, for long videos (Liang et al., NeurIPS 2020)"
    ),
    config=AfbConfig,
    presets=PRESETS,
    build_propagator=later("mamp.methods.afb_urr.propagator:AfbPropagator"),
    build_model=later("mamp.methods.afb_urr.network:build_model"),
    task=later("mamp.methods.afb_urr.task:AfbTask"),
    learns_from_masks=True,
    from_published=later("mamp.methods.afb_urr.published:from_published"),
    trunk=later("mamp.methods.afb_urr.trunk:AfbTrunk"),
)
