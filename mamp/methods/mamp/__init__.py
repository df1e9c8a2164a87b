"""MAMP: motion-aware mask propagation (Miao, Bennamoun, Gao and Mian, ICME 2022, arXiv 2107.12569).

The first files to open: `propagator.py` (what happens per frame) and `task.py` (what is learnt).
"""

from __future__ import annotations

from mamp.methods.base import Method, Published, later
from mamp.methods.mamp.config import PRESETS, MampConfig

METHOD = Method(
    name="mamp",
    description=(
        "motion-aware mask propagation (Miao et al., ICME 2022): features that find a frame's colours in"
        " other frames"
    ),
    config=MampConfig,
    presets=PRESETS,
    build_propagator=later("mamp.methods.mamp.propagator:MampPropagator"),
    build_model=later("mamp.methods.mamp.encoder:build_model"),
    shipped="mamp-small",
    task=later("mamp.methods.mamp.task:MampTask"),
    from_published=later("mamp.methods.mamp.published:from_published"),
    published=(
        Published(
            "mamp",
            "YouTube-VOS, without labels",
            "https://drive.google.com/drive/folders/1beeyiom8b0M6xUhu9-YHLinmI8jMcv46",
            "drive folder",
            "not said by the authors",
            "DAVIS-2017 val J&F 69.7 (J 68.3, F 71.2), with RAFT flow",
        ),
    ),
    attach=later("mamp.methods.mamp.joined:attach"),
    trunk=later("mamp.methods.mamp.trunk:MampTrunk"),
    onnx=later("mamp.methods.mamp.onnx:export"),
    widen=later("mamp.methods.mamp.widen:widen"),
)
