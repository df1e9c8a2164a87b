"""A config from its layers: preset, YAML file, `key=value` arguments."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mamp.config.whole import DEFAULT, Config
from mamp.core.errors import UserError
from mamp.core.layers import knobs, merge, read_overrides, read_yaml
from mamp.core.terminal import clipped, short
from mamp.methods import METHODS


def load(
    path: Path | str | None = None,
    overrides: Sequence[str] = (),
    *,
    dataset: str = "",
    base: Mapping[str, Any] | None = None,
) -> Config:
    """The resolved config.

    path: a YAML file, or None. overrides: `key=value`, values in YAML; a repeated `data.root` adds, any other
    repetition replaces. dataset: chooses what a preset says for that data set. base: values under the YAML's
    (the config kept with weights).

    Raises UserError naming the file's line or the argument, and the nearest right key.
    """
    given: dict[str, Any] = {}
    places: dict[str, str] = {}
    if base:
        merge(given, base)
    if path is not None:
        merge(given, read_yaml(Path(path), places))
    merge(given, read_overrides(overrides, places))
    preset = _preset_values(given, places, dataset)
    merge(preset, given)
    try:
        return Config.model_validate(preset)
    except ValidationError as error:
        raise UserError(_explain(error, places, preset["method"])) from None


def named_method(overrides: Sequence[str]) -> str | None:
    """The method that `key=value` arguments name; None where they leave it to the weights."""
    method = read_overrides(overrides, {}).get("method")
    name = method.get("name") if isinstance(method, Mapping) else None
    return None if name is None else str(name)


def dump(config: BaseModel) -> str:
    """The whole config as YAML that `load` reads back to the same config."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, where libyaml is there
    return yaml.dump(config.model_dump(mode="json"), Dumper=dumper, sort_keys=False)


def method_knobs(method: str) -> Iterator[tuple[str, Any, str]]:
    """Return (key, default, meaning and range) of every setting of a run of `method`.

    Raises UserError when there is no such method.
    """
    if method not in METHODS:
        raise UserError(f"{method} is not a method; use one of {', '.join(METHODS)}")
    yield from knobs(METHODS[method].config, "method.")
    yield from (knob for knob in knobs(Config) if knob[0].split(".")[0] != "method")


def resolved(method: str, overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """(key, value) of every setting of a run of `method` with `key=value` arguments; UserError as `load`."""
    if method not in METHODS:
        raise UserError(f"{method} is not a method; use one of {', '.join(METHODS)}")
    config = load(None, [f"method.name={method}", *overrides])
    yield from ((key, value) for key, value in _flat(config.model_dump(mode="json")))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")


def _preset_values(given: Mapping[str, Any], places: Mapping[str, str], dataset: str) -> dict[str, Any]:
    """What the preset that `given` chooses says, and the method's name."""
    method = given.get("method")
    method = method if isinstance(method, Mapping) else {}
    name = str(method.get("name", DEFAULT.name))
    if name not in METHODS:
        at = f"{places['method.name']}: " if "method.name" in places else ""
        raise UserError(f"{at}method.name={name} is not a method; use one of {', '.join(METHODS)}")
    known = METHODS[name]
    usual = known.config.model_fields["preset"].default if "preset" in known.config.model_fields else ""
    chosen = known.presets.get(str(method.get("preset", usual)), {})
    values: dict[str, Any] = {"method": {"name": name}}
    for key in ("", dataset):
        merge(values["method"], chosen.get(key, {}))
    return values


def _explain(error: ValidationError, places: Mapping[str, str], method: Any) -> str:
    """One sentence about the first thing that is wrong."""
    name = method["name"] if isinstance(method, Mapping) else DEFAULT.name
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if where[:2] == ["method", name]:  # a union's errors name the member
        del where[1]
    if first["type"] == "misread":
        where.append(first["ctx"]["field"])
    key = ".".join(where)
    place = next((places[k] for k in _prefixes(key) if k in places), None)
    place = place or next((p for k, p in reversed(list(places.items())) if k.startswith(f"{key}.")), None)
    at, called = f"{place}: " if place else "", clipped(key)
    if first["type"] == "extra_forbidden":
        keys, last = _all_keys(name), where[-1]
        near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
        near = near or [k for k in keys if k.split(".")[-1] == last]  # the name alone, without its section
        nearest = near[0] if near else ", ".join(Config.model_fields)
        return f"{at}{called} is not a key; did you mean {nearest}? (`mamp config {name}` lists them all)"
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    plain = first["type"] == "missing" or isinstance(first["input"], dict)
    found = "" if plain else f", but it is {_shown(first['input'])}"
    if first["type"] == "misread":
        return f"{at}{called} {message}"
    return f"{at}{called or 'the config'}: {message}{found}; `mamp config {name}` lists what each key takes"


def _shown(value: Any) -> str:
    """A value as YAML writes it, for a message."""
    if isinstance(value, date):
        return f"the date {value}"
    return json.dumps(value) if value is None or isinstance(value, bool) else short(value)


def _prefixes(key: str) -> Iterator[str]:
    parts = key.split(".")
    for n in range(len(parts), 0, -1):
        yield ".".join(parts[:n])


def _all_keys(method: str) -> list[str]:
    keys = [key for key, _, _ in method_knobs(method)]
    return keys + sorted({parent for key in keys for parent in _prefixes(key)} - set(keys))
