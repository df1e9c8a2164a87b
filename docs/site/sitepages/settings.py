"""The pages of settings, from the config classes: key, type, range, default, presets, meaning."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

from mamp.config import Config
from mamp.methods import METHODS
from mamp.methods.base import Method
from sitepages.commands import guarded, sentence

SHARED = """# Settings

A setting is `key=value`, written after a command, or a line of a YAML recipe:

```
mamp segment VIDEO --mask MASK.png --out masks method.propagation.top_k=10
```

Later layers win: the default, the preset of the method, the config kept with the weights (the network only),
the YAML file, then `key=value`. `mamp config METHOD` prints every setting with its value. A key that does not
exist is refused, and the message names the nearest one.

Settings that start with `method.` depend on the method: {methods}.
The settings below are the same for all methods.

"""


def pages() -> dict[str, str]:
    """Return the page of shared settings, and one for each method."""
    links = ", ".join(f"[{name}](settings-{name}.md)" for name in METHODS)
    shared = [SHARED.format(methods=links)]
    for name, field in Config.model_fields.items():
        if name != "method":
            shared += section(f"{name}.", field.annotation, {})
    found = {"reference/settings.md": "\n".join(shared)}
    for name, method in METHODS.items():
        found[f"reference/settings-{name}.md"] = method_page(method)
    return found


def method_page(method: Method) -> str:
    """Return the page of one method's settings."""
    lines = [
        f"# Settings of {method.name}",
        "",
        f"`method.name={method.name}`: {sentence(guarded(method.description))}",
    ]
    lines += ["The settings shared by all methods are in [Settings](settings.md).", ""]
    if method.presets:
        lines += [f"Presets: {', '.join(f'`method.preset={preset}`' for preset in method.presets)}.", ""]
    return "\n".join([*lines, *section("method.", method.config, preset_values(method))])


def section(prefix: str, kind: Any, presets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the lines of a group of settings, then of the groups below it."""
    fields = kind.model_fields
    inner = {name: field for name, field in fields.items() if group_of(field.annotation)}
    lines: list[str] = []
    own = [(name, field) for name, field in fields.items() if name not in inner]
    if own:
        lines = [f"## {prefix.rstrip('.')} {{ #{prefix.rstrip('.')} }}", "", first_paragraph(kind), ""]
    for name, field in own:
        if f"{prefix}{name}" == "method.name":
            continue  # the page's own title
        lines += knob(f"{prefix}{name}", field, presets.get(f"{prefix}{name}", {}))
    for name, field in inner.items():
        lines += section(f"{prefix}{name}.", group_of(field.annotation), presets)
    return lines


def group_of(kind: Any) -> type[BaseModel] | None:
    """Return the class of a group of settings, or None for a single setting."""
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def first_paragraph(kind: Any) -> str:
    """Return the first paragraph of a class's docstring on one line."""
    return guarded(" ".join((kind.__doc__ or "").strip().split("\n\n")[0].split()))


def knob(key: str, field: Any, presets: Mapping[str, Any]) -> list[str]:
    """Return the lines of one setting, an entry of a definition list with an anchor."""
    meaning = (field.description or "").splitlines() or [""]
    lines = [f"`{key}`{{ #{key} }}", f":   {sentence(guarded(meaning[0]))}"]
    lines += ["", *(f"    - {choice(line)}" for line in meaning[1:] if line.strip())] if meaning[1:] else []
    default = "required" if field.is_required() else f"default `{shown(field.get_default())}`"
    facts = [takes(field), default]
    facts += [
        f"`{preset}` sets `{shown(value)}`" for preset, value in presets.items() if value != field.default
    ]
    return [*lines, "", f"    <small>{'; '.join(facts)}.</small>", ""]


def choice(line: str) -> str:
    """Return a line `value: meaning` of a description with its value as code."""
    value, mark, meaning = line.strip().removeprefix("- ").partition(": ")
    return f"`{value}`: {guarded(meaning)}" if mark and " " not in value else guarded(line.strip())


def takes(field: Any) -> str:
    """Return in words what a setting takes."""
    limits = " ".join(bounds(field.metadata))
    words, null, _ = words_for(field.annotation).partition(" or `null`")
    return f"{words} {limits}".strip() + null


def words_for(kind: Any) -> str:
    """Return in words the values of a type."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return f"{words_for(args[0])} {' '.join(bounds(args[1:]))}".strip()
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in args)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(words_for(arg) for arg in args)
    if origin is tuple and args[-1] is Ellipsis:
        return f"list of {words_for(args[0])}"
    if origin is tuple:
        return f"{len(args)} values, each {words_for(args[0])}"
    if origin is dict:
        return f"mapping of {words_for(args[0])} to {words_for(args[1])}"
    known = {
        int: "integer",
        float: "number",
        bool: "`true` or `false`",
        str: "text",
        Path: "path",
        type(None): "`null`",
    }
    return known.get(kind, "`{path, fps, split}`" if group_of(kind) else str(kind))


def bounds(metadata: Any) -> Iterator[str]:
    """Yield the limits of a number or text, in words."""
    for limit in metadata:
        inner = getattr(limit, "metadata", ())  # Annotated[float, Field(ge=...)] inside a tuple
        yield from bounds(inner)
        for name, word in (("gt", "above"), ("ge", "from"), ("le", "to"), ("lt", "below")):
            if getattr(limit, name, None) is not None:
                yield f"{word} {getattr(limit, name):g}"
        if getattr(limit, "pattern", None):
            yield f"that matches `{limit.pattern}`"


def shown(value: Any) -> str:
    """Return a value as it is written after `key=`."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(
        value if not isinstance(value, Path) else str(value), default_flow_style=True, width=10**6
    )
    return text.removesuffix("...\n").strip()


def preset_values(method: Method) -> dict[str, dict[str, Any]]:
    """Return key -> preset (and data set) -> the value it sets there."""
    found: dict[str, dict[str, Any]] = {}
    for preset, datasets in method.presets.items():
        for dataset, values in datasets.items():
            name = f"{preset}` for `{dataset}" if dataset else preset
            for key, value in flat(values, "method."):
                found.setdefault(key, {})[name] = value
    return found


def flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of nested mappings."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
