"""The table of error messages, from every `UserError(...)` in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sitepages.commands import guarded

INTRO = """# Error messages

Every message that ends a command with status 2, as it stands in the code. Words in *italics* are filled in:
the file, the key, the value that was found. Search this page for a few words of your message. Common problems
and their cures are in [Troubleshooting](../troubleshooting.md).
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
    tables: dict[str, set[tuple[str, str]]] = {}
    for path in sorted([*(root / "mamp").rglob("*.py"), *(root / "launch").rglob("*.py")]):
        name = path.relative_to(root).as_posix()
        room = next((title for place, title in ROOMS.items() if name.startswith(f"{place}/")), "Commands")
        tables.setdefault(room, set()).update(map(split, messages(path.read_text(encoding="utf-8"))))
    lines = [INTRO]
    for room in dict.fromkeys([*ROOMS.values(), "Commands"]):
        rows = sorted(tables.get(room, ()), key=lambda row: row[0].strip("*`").lower())
        if rows:
            lines += [f"## {room}", "", "| message | what to do |", "|---|---|"]
            lines += [f"| {message} | {remedy} |" for message, remedy in rows] + [""]
    return "\n".join(lines)


def messages(source: str) -> Iterator[str]:
    """Yield the message of each `UserError(...)`, with *names* in place of what is filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "UserError" and node.args:
            yield from (text for text in words(node.args[0]) if re.search(r"[a-z]{3,} ", text))


def words(node: ast.expr) -> list[str]:
    """Return the texts that an expression of strings may give; empty where only a variable knows."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [guarded(node.value.replace("\n", " "))]
    if isinstance(node, ast.JoinedStr):
        parts = [
            guarded(str(part.value)) if isinstance(part, ast.Constant) else placeholder(part)
            for part in node.values
        ]
        return ["".join(parts).replace("\n", " ")]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = words(node.left) or ["*…*"], words(node.right) or ["*…*"]
        return [f"{a}{b}" for a in left for b in right]
    if isinstance(node, ast.IfExp):
        return [*words(node.body), *words(node.orelse)]
    return []


def placeholder(part: ast.expr) -> str:
    """Return in italics the name of what is filled in."""
    value = part.value if isinstance(part, ast.FormattedValue) else part
    while isinstance(value, (ast.Subscript, ast.Call)) and not isinstance(value, ast.Name):
        value = value.value if isinstance(value, ast.Subscript) else value.func
        if isinstance(value, ast.Attribute) and value.attr in {"join", "get", "name"}:
            return "*…*"
    name = (
        value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else "…"
    )
    return f"*{name.strip('_').replace('_', ' ') or '…'}*"


def split(message: str) -> tuple[str, str]:
    """Return what happened, and the remedy behind the last semicolon; both safe in a table."""
    message = re.sub(r"\*([^*`]*)\*(?=\*)", r"*\1* ", message).replace("|", "\\|")
    if message.count("`") % 2:
        message = message.replace("`", "")
    head, mark, remedy = message.rpartition("; ")
    return (head, remedy) if mark else (message, "")
