"""The table of error messages, from every `UserError(...)` in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sitepages.source import Module, Source

INTRO = """# Error messages

Every message that ends a command with status 2, as it stands in the code. Words in *italics* are filled in:
the file, the key, the value that was found. Where a message may have one of several texts, all are shown,
with ` / ` between them. Search this page for a few words of your message. Common problems and their cures
are in [Troubleshooting](../troubleshooting.md).
"""
ROOMS = {
    "mamp/config": "Settings",
    "mamp/core": "Files, devices, settings",
    "mamp/video": "Video, frames and masks",
    "mamp/segmentation": "Segmenting and evaluating",
    "mamp/weights": "Weights and ONNX",
    "mamp/methods": "Methods",
    "mamp/propagation": "Methods",
    "mamp/ops": "Methods",
    "mamp/datasets": "Data sets",
    "mamp/tools": "Data commands",
    "mamp/loading": "Training data",
    "mamp/training": "Training",
    "mamp/scoring": "Scores and export",
    "mamp/report": "Report",
    "mamp/app": "The page in the browser",
    "mamp/commands": "Commands",
    "launch": "Cluster",
}


def page(root: Path) -> str:
    """Return the page, with one table for each part of the package."""
    source = Source.of_folders(root, ["mamp", "launch"])
    tables: dict[str, set[tuple[str, str]]] = {}
    for module in source.modules.values():
        room = next(
            (title for place, title in ROOMS.items() if module.name.startswith(f"{place}/")), "Commands"
        )
        tables.setdefault(room, set()).update(map(split, messages(source, module)))
    lines = [INTRO]
    for room in dict.fromkeys([*ROOMS.values(), "Commands"]):
        rows = sorted(tables.get(room, ()), key=lambda row: row[0].strip("*`").lower())
        if rows:
            lines += [f"## {room}", "", "| message | what to do |", "|---|---|"]
            lines += [f"| {message} | {remedy} |" for message, remedy in rows] + [""]
    return "\n".join(lines)


def messages(source: Source, module: Module) -> Iterator[str]:
    """Yield the message of each `UserError(...)`, with *names* in place of what is filled in."""
    for node in module.calls:
        if getattr(node.func, "id", "") == "UserError" and node.args:
            first = node.args[0]
            if not isinstance(first, (ast.Constant, ast.JoinedStr, ast.BinOp, ast.IfExp)):
                continue  # an error that is passed on
            yield from (text for text in source.words(first, module) if re.search(r"[a-z]{3,} ", text))


def split(message: str) -> tuple[str, str]:
    """Return what happened, and the remedy behind the last semicolon; both safe in a table."""
    message = apart(message).replace("|", "\\|")
    if message.count("`") % 2:
        message = message.replace("`", "")
    head, mark, remedy = message.rpartition("; ")
    return (head, remedy) if mark else (message, "correct what the message names")


def apart(message: str) -> str:
    """Return the message with a space where *names* would run into each other or into words."""
    message = re.sub(r"(?<![\\*])\*([^*`]+)\*(?=\*[^*`\s])", r"*\1* ", message)
    message = re.sub(r"(?<![\w\\*])(\*[^*`\s][^*`]*\*)(?=[a-z]{3})", r"\1 ", message)
    return re.sub(r"(?<=[a-z]{3})(\*[^*`\\]+\*)(?=[^\w*]|$)", r" \1", message)
