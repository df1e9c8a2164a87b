"""The pages that are made from the code: commands, settings, messages, examples."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sitepages import commands, messages, settings

ROOT = Path(__file__).resolve().parents[3]


@cache
def pages() -> dict[str, str]:
    """Return the text of every generated page by its name below docs/."""
    return {
        "reference/commands.md": commands.page(),
        **settings.pages(),
        "reference/messages.md": messages.page(ROOT),
        "examples.md": examples(ROOT / "examples"),
    }


def examples(folder: Path) -> str:
    """Return a page with the programs of `folder`."""
    lines = ["# Example programs", "", "Short programs to start from. They are in the folder `examples`.", ""]
    for path in sorted(folder.glob("*.py")):
        lines += [f"## {path.name}", "", "```python", path.read_text(encoding="utf-8").rstrip(), "```", ""]
    return "\n".join(lines)
