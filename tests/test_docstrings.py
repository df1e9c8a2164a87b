"""Docstrings of public names are a manual: summary line, Args, Returns, Raises. No docstring is torn."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mamp

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ("docs/reference/python.md", "docs/reference/contracts.md")


def listed() -> Iterator[str]:
    """Names that the site's Reference lists, with their members."""
    for page in REFERENCE:
        text = (ROOT / page).read_text(encoding="utf-8")
        for found in re.finditer(r"^::: (\S+)\n(?:    options:\n      members: \[(.*)\]\n)?", text, re.M):
            yield found[1]
            yield from (f"{found[1]}.{member}" for member in (found[2] or "").split(", ") if member)


def resolved(name: str) -> Any:
    """The object of a dotted name."""
    module, _, rest = name.rpartition(".")
    try:
        return vars(importlib.import_module(module))[rest]
    except ModuleNotFoundError:
        owner = resolved(module)
        return inspect.getattr_static(owner, rest)


PUBLIC = {name: resolved(name) for name in listed()}


def sections(text: str) -> dict[str, str]:
    """Section -> its lines; "" is what stands before the first."""
    parts = re.split(r"^(Args|Attributes|Returns|Raises):\n", text, flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(section: str) -> set[str]:
    """Names that a section of names explains."""
    return set(re.findall(r"^    (\w+): \S", section, flags=re.M))


def missing(thing: Any) -> list[str]:
    """What the docstring of a public name lacks."""
    shown_as_value = isinstance(thing, property)
    thing = thing.fget if shown_as_value else thing
    text = inspect.getdoc(thing) or ""
    parts, lacks = sections(text), []
    if not re.fullmatch(r"\S.*[.:]", text.split("\n")[0]):
        lacks.append("a summary of one line")
    function = inspect.unwrap(thing) if inspect.isroutine(thing) else None
    if function is not None:
        signature = inspect.signature(function)
        needed = [name for name in signature.parameters if name != "self"]
        lacks += [f"Args of {name}" for name in needed if name not in entries(parts.get("Args", ""))]
        plain = shown_as_value or (not needed and text.startswith("Return "))
        if signature.return_annotation not in ("None", inspect.Signature.empty) and not plain:
            lacks += ["Returns"] if "Returns" not in parts else []
        if "raise UserError" in inspect.getsource(function) and "Raises" not in parts:
            lacks.append("Raises")
    elif dataclasses.is_dataclass(thing):
        lacks += [
            f"Attributes of {field.name}"
            for field in dataclasses.fields(thing)
            if field.name not in entries(parts.get("Attributes", ""))
        ]
    return lacks


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_docstrings_of_public_names_are_a_manual(name: str):
    assert missing(PUBLIC[name]) == []


def test_the_reference_lists_every_public_name():
    shown = {name.rpartition(".")[2] for name in PUBLIC}
    assert set(mamp.__all__) - {"__version__"} <= shown


def test_what_may_refuse_its_input_says_so():
    for name in ("load", "segment_video", "read_mask", "write_mask"):
        assert "UserError" in sections(inspect.getdoc(getattr(mamp, name)) or "")["Raises"]


def test_a_lack_is_found():
    def bare(frame, *, size) -> int:
        """Return so
        much.
        """
        raise UserError("no")  # noqa: F821

    assert missing(bare) == ["a summary of one line", "Args of frame", "Args of size", "Returns", "Raises"]
