"""Settings from a YAML file and from `key=value` arguments, and where each of them was given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

from mamp.core.errors import Malformed, UserError, first_line
from mamp.core.misread import SettingsLoader
from mamp.core.terminal import clipped, short
from mamp.core.texts import DEEPEST, compose_yaml, construct_yaml, read_text


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Lay `values` over `into`, mapping by mapping."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            below = into[key] if isinstance(into.get(key), dict) else {}
            into[key] = below
            merge(below, value)
        else:
            into[key] = value


def read_yaml(path: Path, places: dict[str, str]) -> dict[str, Any]:
    """The settings in a YAML file; puts into `places` the line of every key. UserError when it is none."""
    try:
        node = compose_yaml(read_text(path))
        _note_lines(node, "", path, places)
        values = construct_yaml(node, SettingsLoader)
    except FileNotFoundError:
        raise UserError(f"config {path} does not exist; the recipes are in configs/") from None
    except OSError as error:
        raise UserError(f"config {path} cannot be read ({first_line(error)}); give a YAML file") from None
    except Malformed as error:
        raise UserError(f"config {path} is not YAML for settings: {error}; correct that line") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"config {path} holds a {type(values).__name__}; it needs keys such as method: and data:"
        )
    return values


def _note_lines(node: Any, prefix: str, path: Path, places: dict[str, str]) -> None:
    """Remember the line of every key, and refuse a key written twice."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue  # which the values refuse
        line = key.start_mark.line + 1
        if key.value in seen:
            raise UserError(f"{path} line {line}: {clipped(prefix + key.value)} is given twice; keep one")
        seen.add(key.value)
        places[f"{prefix}{key.value}"] = f"{path} line {line}"
        _note_lines(value, f"{prefix}{key.value}.", path, places)


def read_overrides(overrides: Sequence[str], places: dict[str, str]) -> dict[str, Any]:
    """The settings in `key=value` arguments, values in YAML; puts into `places` the argument of every key."""
    values: dict[str, Any] = {}
    roots: list[Any] = []
    for argument in overrides:
        key, equals, text = argument.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", key):
            raise UserError(f"argument {short(argument)} is not key=value; write for example train.steps=100")
        try:
            value = construct_yaml(compose_yaml(text), SettingsLoader)
        except Malformed as error:
            raise UserError(
                f"argument {short(argument)}: the value is not YAML ({error}); put quotes around it"
            ) from None
        if key == "method" and isinstance(value, str):  # method=probe is short for method.name=probe
            key = "method.name"
        places[key] = f"argument {clipped(argument)}"
        if key == "data.root":
            roots.extend(value if isinstance(value, list) else [value])
            value = list(roots)
        inner = values
        *parents, last = key.split(".")
        if len(parents) >= DEEPEST:
            raise UserError(
                f"argument {short(argument)} has {len(parents) + 1} levels; no setting has so many"
            )
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise UserError(
                    f"argument {short(argument)} goes below a key that was given a value; drop one of the two"
                )
        inner[last] = value
    return values


def knobs(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(key, default, meaning) of every knob below `section`."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from knobs(kind, f"{prefix}{name}.")
        else:
            default = None if field.is_required() else field.get_default()
            meaning = field.description or ""
            allowed = _choices(kind) or _range(field.metadata)
            yield f"{prefix}{name}", default, f"{meaning} [{allowed}]" if allowed else meaning


def _choices(kind: Any) -> str:
    return "|".join(map(str, get_args(kind))) if get_origin(kind) is Literal else ""


def _range(bounds: Sequence[Any]) -> str:
    """What the bounds of a number allow, in words."""
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    found = [
        f"{word} {getattr(b, kind):g}" for kind, word in words.items() for b in bounds if hasattr(b, kind)
    ]
    return " ".join(found)
