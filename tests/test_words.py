"""Words of messages, docstrings, comments, names and docs: one plain vocabulary, and no torn docstring."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# instead: show, print, list, warn; fix, correct; needs; (say whose)
BANNED = re.compile(
    r"(?<![a-z])(told|tell|tells|telling|teller|mend|mends|mended|mending|wants"
    r"|bought with|of ours|which is what)(?![a-z])",
    re.IGNORECASE,
)
PYTHON = sorted(
    path
    for folder in ("mamp", "launch", "scripts", "examples", "docs")
    for path in (ROOT / folder).rglob("*.py")
)
PROSE = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "docs/**/*.svg",
        "configs/*.yaml",
        "scripts/*.sh",
        "mamp/**/*.html",
    )
    for path in ROOT.glob(pattern)
)
KEYS = {"told"}  # of a checkpoint's file, since its first version


def written(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every string, docstring and comment; of an f-string what is not filled in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in KEYS:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def named(source: str) -> Iterator[tuple[int, str]]:
    """(line, name) of every function, class, argument and variable."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


def banned(items: Iterator[tuple[int, str]]) -> list[str]:
    """`line: word` of each banned word, also where a line ends in the middle of it."""
    return [
        f"{line}: {found[0]}"
        for line, text in items
        for found in BANNED.finditer(" ".join(text.replace("_", " ").split()))
    ]


def torn(source: str) -> Iterator[str]:
    """Docstring lines that end though the next word would fit, and summaries of several lines."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        text = ast.get_docstring(node, clean=False)
        if text is None:
            continue
        lines = text.rstrip().splitlines()
        if len(lines) > 1 and lines[1].strip():
            yield lines[0]
        margin = " " * (0 if isinstance(node, ast.Module) else node.col_offset + 4)
        prose = re.compile(rf"{margin}\S")  # what is indented further is a list or a program
        for line, following in zip(lines[1:], lines[2:], strict=False):
            plain = prose.match(line) and prose.match(following) and line[-1] not in ".:;"
            if plain and len(line) + len(following.split()[0]) < 94:
                yield line.strip()


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_code_speaks_plainly(path: Path):
    source = path.read_text(encoding="utf-8")
    assert banned(written(source)) == []
    assert banned(named(source)) == []
    assert list(torn(source)) == []


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_docs_speak_plainly(path: Path):
    assert banned(iter([(0, path.read_text(encoding="utf-8"))])) == []


def test_a_banned_word_is_found():
    assert banned(
        written('"""It is told\n\nof a file of\nours."""\nx = f"{told} which is\\nwhat"  # mend it\n')
    ) == [
        "1: told",
        "1: of ours",
        "5: which is what",
        "5: mend",
    ]
    assert banned(named("def _told(teller): untold = 1")) == ["1: told", "1: teller"]
    assert list(torn('def f():\n    """Return a\n    thing."""\n')) == ["Return a"]
