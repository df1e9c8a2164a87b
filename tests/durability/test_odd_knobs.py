"""Settings with odd values. Two hundred seeded ones; fuzz.py makes more."""

import json
import re

from odd import settings
from odd.contract import breaches
from pydantic import BaseModel, TypeAdapter

from mamp import config
from mamp.methods import METHODS

# a module by its number, which the network has or not; options of sbatch; sides with a check of their own
UNBOUNDED = {"probe: method.network.layer", "slurm.extra", "data.augment.scales"}


def test_a_setting_is_refused_or_kept_as_it_was_given(tmp_path):
    assert breaches(settings.KINDS["knobs"], "knobs", tmp_path) == []


def _whole_numbers(section, prefix):
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _whole_numbers(field.annotation, f"{prefix}{name}.")
        elif "int" in re.findall(r"\w+", str(field.annotation)):
            yield f"{prefix}{name}", section, name


def test_every_whole_number_has_an_upper_bound():
    sections = [(config.Config, ""), *((m.config, f"{name}: method.") for name, m in METHODS.items())]
    free = []
    for section, prefix in sections:
        for key, holder, name in _whole_numbers(section, prefix):
            schema = TypeAdapter(holder).json_schema()["properties"][name]
            found = json.dumps(schema)
            bounded = "maximum" in found.lower() or "exclusiveMaximum" in found
            if '"integer"' in found and not bounded and key not in UNBOUNDED:
                free.append(key)
    assert free == []
