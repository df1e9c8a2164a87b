"""SSM-VOS: separable structure modelling for semi-supervised video object segmentation (T-CSVT 2021).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.methods.base import Method, Published, later
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
    published=(
        Published(
            "ssm-davis16",
            "DAVIS-2016",
            "https://www.dropbox.com/s/7dctisjdrl2b47c/ssm_davis16.pt",
            "dropbox",
            "not said by the authors",
            "DAVIS-2016 val J&F 86.0",
        ),
        Published(
            "ssm-davis17",
            "DAVIS-2017",
            "https://www.dropbox.com/s/ew2d2gy3rldxob9/ssm_davis17.pt",
            "dropbox",
            "not said by the authors",
            "DAVIS-2017 val J&F 77.6",
        ),
        Published(
            "ssm-youtube",
            "YouTube-VOS",
            "https://www.dropbox.com/s/jm24vm2puprcldz/ssm_youtube.pt",
            "dropbox",
            "not said by the authors",
            "none known here",
        ),
    ),
    trunk=later("mamp.methods.ssm.trunk:SsmTrunk"),
)
