"""Files that others wrote, read with bounds: plain files only, text in its usual encodings, JSON and YAML.

Whatever is wrong with the content is one exception, `Malformed`, whose words say what: no reader has to know
what Python's own parsers trip over.
"""

from __future__ import annotations

import codecs
import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from mamp.core.errors import Malformed, first_line

DEEPEST = 64  # maps and lists in one another
LONGEST_YAML = 128 * 1024  # letters; a recipe has four thousand, DAVIS's db_info.yaml thirty
MOST_NODES = 20_000  # values of a YAML file with all its aliases written out
_OPENED = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")
_DIGITS = 19  # of a whole number
_MARKS = (  # how a file begins that is not UTF-8
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def refuse_special(path: Path | str) -> None:
    """OSError where `path` is a pipe, a socket or a device, which may keep a reader waiting for ever.

    What the shell has opened (/dev/fd/63 of `<(command)`, /dev/stdin) and the null device are read.
    """
    if str(path).startswith(_OPENED) or str(path) == os.devnull:
        return
    if not stat.S_ISREG(mode := os.stat(path).st_mode) and not stat.S_ISDIR(mode):
        raise OSError(22, "it is a pipe, socket or device, and no file", str(path))


def read_text(path: Path | str) -> str:
    """Return the text of a plain file: UTF-8, with a byte-order mark or without, or UTF-16 or -32 with one.

    Raises OSError as `open` does, and Malformed for other bytes.
    """
    refuse_special(path)
    return decoded(Path(path).read_bytes())


def decoded(content: bytes) -> str:
    """The text of these bytes, as `read_text` reads it."""
    kind = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8-sig")
    try:
        text = content.decode(kind)
    except UnicodeDecodeError as error:
        name = kind.removesuffix("-sig").upper()
        raise Malformed(f"it is no {name} text from byte {error.start:,} on; save it as UTF-8") from None
    if "\0" in text:
        raise Malformed("it has zero bytes: no text, or UTF-16 without a byte-order mark; save it as UTF-8")
    return text


# ---------------------------------------------------------------- JSON


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises Malformed for what is no JSON, more than DEEPEST levels, and integers of more than 19 digits.
    """
    try:
        value = json.loads(text, parse_int=_whole)
    except RecursionError:
        raise Malformed(f"it has more than {DEEPEST} levels") from None
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed(f"it is no JSON: {first_line(error)}") from None
    _refuse_deep(value)
    return value


def read_json(path: Path) -> Any:
    """What `parse_json` finds in a file; OSError and Malformed as there and in `read_text`."""
    return parse_json(read_text(path))


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS + 1:
        raise Malformed(f"it has a number of {len(digits)} digits")
    return int(digits)


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if type(inner) in (dict, list)
        ]
        if not level:
            return
    raise Malformed(f"it has more than {DEEPEST} levels")


# ---------------------------------------------------------------- YAML


def parse_yaml(text: str) -> Any:
    """The value of a YAML document, None where it is empty; Malformed as `compose_yaml`, `construct_yaml`."""
    return construct_yaml(compose_yaml(text))


def compose_yaml(text: str) -> Any:
    """Return the node of a YAML document, which knows the lines of its keys; None where it is empty.

    Raises Malformed for what is no YAML, for aliases that hold themselves or stand for more than MOST_NODES
    values, and for more than DEEPEST levels.
    """
    if len(text) > LONGEST_YAML:
        raise Malformed(f"it has {len(text):,} letters, where settings have {LONGEST_YAML:,} at most")
    try:
        _refuse_bomb(text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise Malformed(" ".join(str(error).split())[:300]) from None
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:  # PyYAML's scanner lets Python's own through
        raise Malformed(f"it has a value that cannot be read: {first_line(error)}") from None


def construct_yaml(node: Any, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Return the value of a node; merges (<<) change the node.

    Raises Malformed for values that YAML's own reader cannot make, and whole numbers of more than 19 digits.
    """
    if node is None:
        return None
    try:
        value = loader("").construct_document(node)
    except yaml.YAMLError as error:
        raise Malformed(" ".join(str(error).split())[:300]) from None
    except Exception as error:  # dates, numbers and keys of odd form drive PyYAML's constructors anywhere
        raise Malformed(f"it has a value that cannot be read: {first_line(error)}") from None
    _refuse_long_numbers(value)
    return value


def read_yaml_value(path: Path) -> Any:
    """What `parse_yaml` finds in a file; OSError and Malformed as there and in `read_text`."""
    return parse_yaml(read_text(path))


def _refuse_bomb(text: str) -> None:
    """Count the values with all aliases written out, from the parser's events, which no alias multiplies."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []  # the maps and lists we are in: anchor, values so far
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        added, anchor = 0, event.anchor if isinstance(event, yaml.NodeEvent) else None
        if isinstance(event, yaml.CollectionStartEvent):
            if len(open_) >= DEEPEST:
                raise Malformed(f"it has more than {DEEPEST} levels")
            open_.append((anchor, 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            name, added = open_.pop()
            if name is not None:
                sizes[name] = added
        elif isinstance(event, yaml.AliasEvent):
            if any(name == anchor for name, _ in open_):
                raise Malformed(f"the anchor &{anchor} holds itself")
            added = sizes.get(str(anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            added = 1
            if anchor is not None:
                sizes[anchor] = 1
        if added and open_:
            name, size = open_[-1]
            open_[-1] = (name, size + added)
            if size + added > MOST_NODES:
                raise Malformed(f"it has more than {MOST_NODES:,} values, with its aliases written out")


def _refuse_long_numbers(value: Any) -> None:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            waiting += [*found.keys(), *found.values()]
        elif isinstance(found, (list, tuple, set)):
            waiting += found
        elif isinstance(found, int) and found.bit_length() > 64:
            raise Malformed(f"it has a number of more than {_DIGITS} digits")
