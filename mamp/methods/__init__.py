"""The registry of methods. To add one, add its folder with a `METHOD` (see `base.py`) and its line below."""

from __future__ import annotations

import importlib
from typing import Any

from mamp.core.errors import UserError
from mamp.methods.base import Method, Published

FOLDERS = [
    "mamp",
    "stm",
    "afb_urr",
    "ssm",
    "probe",
    "flow",
]

# what a method may lack -> how the sentence about it begins
LACKS = {
    "task": "is not trained",
    "from_published": "has no published checkpoints to convert",
    "trunk": "has no encoder that can be read",
    "on_trunk": "does not start from another method's network",
    "onnx": "has no ONNX form",
    "widen": "cannot be widened",
    "receptive_field": "has no gradient correction, so there is no ERF to draw",
    "needs_weights": "needs no weights",
}


def load_registry() -> dict[str, Method]:
    """Import every folder's `METHOD`, in the registry's order; this imports no torch."""
    found = {}
    for name in FOLDERS:
        held = vars(importlib.import_module(f"mamp.methods.{name}"))
        if "METHOD" not in held:
            raise ImportError(f"mamp/methods/{name}/__init__.py has no METHOD, and FOLDERS names it")
        found[name] = held["METHOD"]
    return found


METHODS: dict[str, Method] = load_registry()


def get(name: str) -> Method:
    """Return the method called `name`; UserError when there is none."""
    if name not in METHODS:
        raise UserError(f"method.name={name} is not a method; use one of {', '.join(METHODS)}")
    return METHODS[name]


def having(part: str) -> list[str]:
    """List the names of the methods that have `part`, a field of `Method`."""
    return [name for name, method in METHODS.items() if vars(method)[part]]


def published() -> dict[str, tuple[str, Published]]:
    """Return name -> (method, weights) of all weights that authors published."""
    return {one.name: (name, one) for name, method in METHODS.items() for one in method.published}


def needing_weights() -> str:
    """List the methods that need a file of weights, since none ship with the package."""
    return ", ".join(name for name, method in METHODS.items() if method.needs_weights and not method.shipped)


def table() -> str:
    """Return a Markdown table of the methods: name, what each is, what it learns from, its weights."""
    rows = ["| `method.name` | what it is | learns from | weights |", "|---|---|---|---|"]
    for name, method in METHODS.items():
        learns = "masks" if method.learns_from_masks else "frames alone" if method.task else "nothing"
        shipped = f"`{method.shipped}` ships" if method.shipped else "a file"
        needs = shipped if method.needs_weights else "none"
        rows.append(f"| `{name}` | {method.description} | {learns} | {needs} |")
    return "\n".join(rows)


def require(name: str, part: str) -> Any:
    """Return `part`, a field of `Method`, of the method called `name`.

    Raises UserError that names what the method lacks.
    """
    method = get(name)
    if found := vars(method)[part]:
        return found
    if part in ("task", "from_published", "widen") and not method.needs_weights:
        remedy = "it needs no weights"
    else:
        remedy = f"use one of {', '.join(having(part))}"
    raise UserError(f"method {name} {LACKS[part]}; {remedy}")
