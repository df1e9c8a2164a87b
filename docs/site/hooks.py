"""What the site has beside docs/*.md: generated reference pages, files of the root, drawings, links."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import sitepages  # noqa: E402  (it lies beside this file)

from mamp.methods import METHODS  # noqa: E402

# files of the repository that are pages of the site too: where they lie -> the page
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples": "examples.md",
    "mamp/weights/mamp-small.md": "weights/mamp-small.md",
    "mamp/weights/mamp-resnet18.md": "weights/mamp-resnet18.md",
}
COPIED = [path for path in OUTSIDE if path.endswith(".md") and path != "README.md"]
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
DRAWING = re.compile(r"!\[([^\]]*)\]\(([^)\s]+\.svg)\)")


def on_config(config: Any) -> Any:
    """Put a page of settings for each method below the shared ones."""
    for group in config["nav"]:
        for item in group.get("Reference", []):
            if "Settings" in item:
                each = [{name: f"reference/settings-{name}.md"} for name in METHODS]
                item["Settings"] = [{"For all methods": item["Settings"]}, *each]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, and the files of the root that are pages too."""
    for name, text in {
        **sitepages.pages(),
        **{OUTSIDE[path]: (ROOT / path).read_text() for path in COPIED},
    }.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links out of docs/ into links of the site, and put drawings into the page."""
    source = page.file.src_uri
    copied = next((path for path in COPIED if OUTSIDE[path] == source), None)
    place = posixpath.dirname(copied if copied else f"docs/{source}")
    markdown = DRAWING.sub(lambda found: _drawing(found[1], place, found[2]), markdown)
    return LINK.sub(lambda found: _link(found, source=source, place=place), markdown)


def _link(found: re.Match[str], *, source: str, place: str) -> str:
    """A link as the site has it; where the site has no such page, its words alone."""
    words, (target, hash_, anchor) = found[1], found[2].partition("#")
    if not target or re.match(r"[a-z]+:", target):
        return found[0]
    path = posixpath.normpath(posixpath.join(place, target))
    if path in OUTSIDE:
        to = OUTSIDE[path]
    elif path.startswith("docs/"):
        to = path.removeprefix("docs/")
    else:
        return words if words.strip("`") == path else f"{words} (`{path}`)"
    return f"[{words}]({posixpath.relpath(to, posixpath.dirname(source) or '.')}{hash_}{anchor})"


def _drawing(words: str, place: str, name: str) -> str:
    """The drawing itself, whose lines then have the colour of the page's text."""
    text = (ROOT / place / name).read_text(encoding="utf-8")
    text = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)  # its colours for other viewers
    text = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return f'<figure class="drawing" role="img" aria-label="{words}">{text}</figure>'
