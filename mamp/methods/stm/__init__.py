"""STM and STM-Cycle: space-time memory, cyclic training and gradient correction.

STM is by Oh, Lee, Xu and Kim (ICCV 2019), STM-Cycle by Li, Xu, Peng, See and Lin (NeurIPS 2020).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.methods.base import Method, Published, later
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
    published=(
        Published(
            "stm-cycle-resnet18",
            "STM-Cycle, ResNet-18",
            "https://drive.google.com/file/d/1Lp9X2b0_som0WagT2MAovJ0NokjCfGUJ/view",
            "drive",
            "not said by the authors",
            "DAVIS-2017 val J&F 68.1 (J 65.3, F 70.8), with gradient correction",
        ),
        Published(
            "stm-cycle-resnet50",
            "STM-Cycle, ResNet-50",
            "https://drive.google.com/file/d/1tSTNBeqa9hyKBPX6NzL1N7EgkWAg_2cv/view",
            "drive",
            "not said by the authors",
            "DAVIS-2017 val J&F 73.4 (J 70.5, F 76.3), with gradient correction",
        ),
    ),
    trunk=later("mamp.methods.stm.trunk:StmTrunk"),
    receptive_field=True,
)
