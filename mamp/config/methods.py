"""Which methods there are, for the config: the knobs of each, and what its presets set."""

from __future__ import annotations

from typing import Any

from mamp.config import mamp
from mamp.config.section import Section

Method = mamp.MampConfig  # a second method makes this a union told apart by `name`
METHOD_CONFIGS: dict[str, type[Section]] = {"mamp": mamp.MampConfig}

# method -> preset -> data set -> values under all others; the data set "" is every one
PRESETS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {"mamp": mamp.PRESETS}
