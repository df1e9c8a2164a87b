"""The probe: masks carried by the frozen features of any encoder, under the protocols that papers report.

The first files to open: `propagator.py` (what happens per frame), `encoders.py` (where features come from)
and the presets in `config.py`.
"""

from __future__ import annotations

from mamp.methods.base import Method, later
from mamp.methods.probe.config import PRESETS, ProbeConfig

METHOD = Method(
    name="probe",
    description=(
        "label propagation with any frozen encoder, under the published protocols of DINO, CRW, VFS and"
        " others"
    ),
    config=ProbeConfig,
    presets=PRESETS,
    build_propagator=later("mamp.methods.probe.propagator:ProbePropagator"),
    build_model=later("mamp.methods.probe.build:build_model"),
    pretrained=later("mamp.methods.probe.build:build_pretrained"),
    needs_weights=False,
    on_trunk=later("mamp.methods.probe.build:on_trunk"),
)
