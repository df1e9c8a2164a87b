"""Comma lists in settings make a sweep: one run for each combination, named by what changes."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Sequence

from mamp.core.errors import UserError


def count(settings: Sequence[str]) -> int:
    """How many runs `points` would give."""
    return math.prod(len(dict.fromkeys(split(setting.partition("=")[2]))) for setting in settings)


def points(settings: Sequence[str]) -> dict[str, list[str]]:
    """name -> `key=value` settings of every run; the name is empty where there is one run and no list.

    A list is values between commas outside of brackets and quotes: `train.lr=1e-3,1e-4`. Raises UserError for
    an empty value and for a list in slurm.*, since all jobs of an array ask for the same.
    """
    single: list[str] = []
    swept: list[list[tuple[str, str]]] = []
    for setting in settings:
        key, _, text = setting.partition("=")
        values = split(text)
        if len(values) == 1:
            single.append(setting)
            continue
        if "" in values:
            raise UserError(f"{setting} has an empty value; write values between commas, or quote the comma")
        if key.startswith("slurm."):
            raise UserError(f"{setting}: the jobs of a sweep ask for the same; submit once for each value")
        swept.append([(key, value) for value in dict.fromkeys(values)])
    if not swept:
        return {"": single}
    keys = [choices[0][0] for choices in swept]
    if len(set(keys)) < len(keys):
        raise UserError(f"{max(keys, key=keys.count)} is given two lists; give one")
    short = _short(keys)
    found = {}
    for chosen in itertools.product(*swept):
        name = _name([f"{short[key]}={value}" for key, value in chosen])
        found[name] = [*single, *(f"{key}={value}" for key, value in chosen)]
    return found


def split(text: str) -> list[str]:
    """Parts between commas that stand outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _short(keys: Sequence[str]) -> dict[str, str]:
    """The shortest ends of the keys that differ."""
    longest = max(key.count(".") for key in keys) + 1
    for depth in range(1, longest + 1):
        ends = {key: ".".join(key.split(".")[-depth:]) for key in keys}
        if len(set(ends.values())) == len(keys):
            return ends
    return {key: key for key in keys}


def _name(parts: Sequence[str]) -> str:
    """A folder's name, safe for file systems and shells. A checksum keeps names apart."""
    wished = ",".join(parts)
    name = re.sub(r"[^\w.,=+@-]", "-", wished)[:120]
    if name == wished:
        return name
    return f"{name}-{hashlib.sha256(wished.encode(errors='surrogateescape')).hexdigest()[:6]}"
