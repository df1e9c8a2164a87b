"""SSM-VOS: separable structure modelling for semi-supervised video object segmentation (T-CSVT 2021).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.methods.base import Method, later
from mamp.methods.ssm.config import PRESETS, SsmConfig

METHOD = Method(
    name="ssm",
    description="separable structure modelling: each object in its own crop (Zhu et al., T-CSVT 2021)",
    config=SsmConfig,
    presets=PRESETS,
    build_propagator=later("mamp.methods.ssm.propagator:SsmPropagator"),
    build_model=later("mamp.methods.ssm.network:build_model"),
    task=later("mamp.methods.ssm.task:SsmTask"),
    learns_from_masks=True,
    from_published=later("mamp.methods.ssm.published:from_published"),
    trunk=later("mamp.methods.ssm.trunk:SsmTrunk"),
)
