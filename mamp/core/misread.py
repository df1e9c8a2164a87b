"""Numbers that YAML 1.1 reads otherwise than they are written: 017 is 15, 1:30 is 90, yes is true."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from mamp.core.terminal import short


class Misread(str):
    """The text of such a number. number: what YAML reads."""

    number: float


class SettingsLoader(yaml.SafeLoader):
    """Constructs such numbers as `Misread`, which a text keeps as it is written and a number refuses."""

    def number(self, node: yaml.ScalarNode) -> Any:
        """The whole number or float of a node."""
        read = super().construct_yaml_int if node.tag.endswith(":int") else super().construct_yaml_float
        value = read(node)
        digits = str(node.value).replace("_", "").lstrip("+-")
        octal = len(digits) > 1 and digits.isdecimal() and digits[0] == "0" and int(digits) != abs(value)
        if ":" not in digits and not octal:
            return value
        misread = Misread(node.value)
        misread.number = value
        return misread


for _kind in ("int", "float"):
    SettingsLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", SettingsLoader.number)


def as_written(value: Any, annotation: Any, field: str) -> Any:
    """Return a setting's value with the texts that it has; for fields of sections within it, as it is.

    Raises PydanticCustomError `misread`, which knows the field, where a number is asked for and YAML reads
    another one, or a truth value.
    """
    kinds = _kinds(annotation)
    if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds):
        return value
    number = bool(kinds & {int, float}) and not kinds & {str, bool, Any}
    if number and (why := next(_misread(value), None)) is not None:
        raise PydanticCustomError("misread", "{why}", {"why": why, "field": field})
    return _texts(value)


def _misread(value: Any) -> Iterator[str]:
    if isinstance(value, Misread):
        yield f"is {short(str(value))}, which YAML reads as {value.number:g}; write a plain number"
    elif isinstance(value, bool):
        yield f"is {str(value).lower()} as YAML reads it (as it reads yes, no, on and off); write a number"
    elif isinstance(value, (list, tuple, Mapping)):
        for inner in (*value, *value.values()) if isinstance(value, Mapping) else value:
            yield from _misread(inner)


def _texts(value: Any) -> Any:
    if isinstance(value, Misread):
        return str(value)
    if isinstance(value, dict):
        return {_texts(name): _texts(inner) for name, inner in value.items()}
    return [_texts(inner) for inner in value] if type(value) is list else value


@cache
def _kinds(annotation: Any) -> frozenset[Any]:
    """The plain types that an annotation is made of; those of the values of a map."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return frozenset(type(value) for value in inner)
    if origin is Annotated:
        return _kinds(inner[0])
    if origin in (Union, types.UnionType, tuple, list, frozenset, set):
        return frozenset().union(*(_kinds(one) for one in inner if one is not ...))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _kinds(inner[1])
    return frozenset({annotation})
