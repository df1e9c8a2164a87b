"""STM: space-time memory networks (Oh, Lee, Xu and Kim, ICCV 2019), and STM-Cycle: cyclic training and
gradient correction (Li, Xu, Peng, See and Lin, NeurIPS 2020).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.methods.base import Method, later
from mamp.methods.stm.config import PRESETS, StmConfig

METHOD = Method(
    name="stm",
    description=(
        "space-time memory (Oh et al., ICCV 2019) with cyclic training and gradient correction (Li et al.,"
        " NeurIPS 2020)"
    ),
    config=StmConfig,
    presets=PRESETS,
    build_propagator=later("mamp.methods.stm.propagator:StmPropagator"),
    build_model=later("mamp.methods.stm.network:build_model"),
    task=later("mamp.methods.stm.task:StmTask"),
    learns_from_masks=True,
    from_published=later("mamp.methods.stm.published:from_published"),
    trunk=later("mamp.methods.stm.trunk:StmTrunk"),
    receptive_field=True,
)
