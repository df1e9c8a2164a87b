"""Which methods there are, for the config: the knobs of each, and what its presets set."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mamp.config import afb_urr, mamp, probe, ssm, stm
from mamp.config.section import Section

Method = Annotated[
    mamp.MampConfig | stm.StmConfig | afb_urr.AfbConfig | ssm.SsmConfig | probe.ProbeConfig,
    Field(discriminator="name"),
]
METHOD_CONFIGS: dict[str, type[Section]] = {
    "mamp": mamp.MampConfig,
    "stm": stm.StmConfig,
    "afb_urr": afb_urr.AfbConfig,
    "ssm": ssm.SsmConfig,
    "probe": probe.ProbeConfig,
}

# method -> preset -> data set -> values under all others; the data set "" is every one
PRESETS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "mamp": mamp.PRESETS,
    "stm": stm.PRESETS,
    "afb_urr": afb_urr.PRESETS,
    "ssm": ssm.PRESETS,
    "probe": probe.PRESETS,
}
