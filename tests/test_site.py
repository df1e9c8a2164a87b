"""The documentation site: its programs run, every setting and command is in it, it builds strictly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sitepages import commands, messages, pages  # docs/site
from sitepages.source import Source

from mamp import config, methods
from mamp.cli import build_parser
from mamp.video.film import Film
from mamp.video.masks import write_mask
from mamp.video.synthetic import render_clip

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?^(?P<indent> *)```python\n(?P<code>.*?)^ *```", re.S | re.M
)
LONGEST = 120  # characters of a line of prose


def programs() -> Iterator[tuple[str, str, str]]:
    """(place, mark, code) of every Python block; the mark says why it is not run here."""
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        for number, found in enumerate(FENCE.finditer(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(ROOT).as_posix()} {number}"
            yield place, found["mark"] or "", textwrap.dedent(found["code"])


PROGRAMS = list(programs())
RUN = [(place, code) for place, mark, code in PROGRAMS if place.startswith("docs/") and not mark]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the programs name: video.mp4, frames/*.png, mask.png, first.png, correction.png."""
    clip = render_clip(5, frames=4, size=(48, 64), objects=2)
    (tmp_path / "frames").mkdir()
    with Film(tmp_path / "video.mp4", fps=10) as film:
        for t, frame in enumerate(clip.frames):
            film.write(frame)
            Image.fromarray(frame).save(tmp_path / "frames" / f"{t:05d}.png")
    for name, labels in (("mask", 0), ("first", 0), ("correction", 2)):
        write_mask(tmp_path / f"{name}.png", clip.labels[labels])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", [pytest.param(code, id=place) for place, _, code in PROGRAMS])
def test_every_program_compiles(code: str):
    compile(code, "docs", "exec")


@pytest.mark.parametrize("code", [pytest.param(code, id=place) for place, code in RUN])
def test_every_program_runs(world: Path, code: str):
    before = set(world.iterdir())
    exec(compile(code, "docs", "exec"), {"__name__": "__main__"})
    written = set(world.iterdir()) - before
    assert "write_mask" not in code or len(written) == 4


def test_whatever_is_not_run_says_who_runs_it():
    for place, mark, _ in PROGRAMS:
        if mark:
            by = re.fullmatch(r"run by (tests/\S+\.py)|not run: .+", mark)
            assert by and (by[1] is None or (ROOT / by[1]).is_file()), place


def test_every_setting_is_on_its_page():
    made = pages()
    for method in methods.METHODS:
        text = made["reference/settings.md"] + made[f"reference/settings-{method}.md"]
        keys = {key for key, _, _ in config.method_knobs(method)} - {"method.name"}
        assert keys == set(re.findall(r"^`([\w.]+)`\{ #\1 \}$", text, flags=re.M)) & keys


def test_every_command_and_option_is_on_the_page():
    text = pages()["reference/commands.md"]
    for parser, _ in commands.leaves(build_parser()):
        assert f"## {parser.prog}\n" in text
        for action in parser._actions:
            assert not action.option_strings or action.option_strings[-1] in text
    assert "…" not in text and not re.findall(r"^:   *$", text, flags=re.M)  # every argument has a meaning


def found_messages(**files: str) -> list[str]:
    source = Source.of_texts({f"{name}.py": text for name, text in files.items()})
    return [text for module in source.modules.values() for text in messages.messages(source, module)]


def test_messages_are_taken_from_the_source():
    source = 'raise UserError(f"{path} is {kind.name} and " + "old; read {0} again") from None'
    assert found_messages(a=source) == ["*path* is *kind* and old; read \\{0\\} again"]
    assert messages.split("*path* is old; use a | b; copy it") == ("*path* is old; use a \\| b", "copy it")
    assert messages.split("*path* is old") == ("*path* is old", "correct what the message names")
    assert pages()["reference/messages.md"].count("\n| ") > 300


@pytest.mark.parametrize(
    ("before", "raised"),
    [
        ('FORMS = "give a or b"\n', "FORMS"),
        ("from b import FORMS\n", "FORMS"),
        ("", "'give a' if x else 'give b'"),
        ("def hint():\n    return 'give a' if x else 'give b'\n", "hint()"),
        ("def see(hint):\n    {}\nsee('give a')\nsee(hint='give b')\n", "hint"),
        ("def see(hint):\n    {}\nsee(lambda: 'give a or b')\n", "hint()"),
        ("def see(x):\n    hint = 'give a'\n    if x:\n        hint = 'give b'\n    {}\n", "hint"),
        (
            "def see(x):\n    hints = ['give a'] if x else []\n    hints.append('give b')\n    {}\n",
            "', or '.join(hints)",
        ),
        ("WAYS = {'x': 'give a', 'y': 'give b'}\n", "WAYS[kind]"),
        ("def see(x):\n    way = 'a' if x else 'b'\n    {}\n", "'give ' + way"),
    ],
)
def test_words_that_the_code_knows_are_written_out(before: str, raised: str):
    line = f'raise UserError(f"{{path}} is wrong; {{{raised}}}")'
    source = before.replace("{}", line) if "{}" in before else before + line
    (found,) = found_messages(a=source, b='FORMS = "give a or b"\n')
    assert found in ("*path* is wrong; give a / give b", "*path* is wrong; give a or b")


def test_words_that_only_the_run_knows_are_in_italics_and_apart():
    assert found_messages(a='raise UserError(f"weights{known(x)} of {a}{b} are wrong")') == [
        "weights*known* of *a**b* are wrong"
    ]
    assert messages.split("weights*known* of *a**b* x")[0] == "weights *known* of *a* *b* x"
    assert found_messages(a='raise UserError(f"{places} stands at {x + 1} of {MOST}")') == [
        "*places* stands at *x* of *most*"
    ]


def test_every_message_has_a_cure_and_no_name_of_a_constant():
    rows = re.findall(r"^\| (.+) \| (.*) \|$", pages()["reference/messages.md"], flags=re.M)
    assert all(cure.strip() for _, cure in rows)
    text = "\n".join(" ".join(row) for row in rows)
    assert not re.findall(r"\*(?:remedy|hint|FORMS|AGAIN|LACKS|INSTALL)\*|\*\*\w", text)
    assert not re.findall(r"(?<![\w*])\*[^*`\s][^*`]*\*(?!x\*)[a-z]{2,}", text)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name
)
def test_lines_and_paragraphs_of_prose_are_short(path: Path):
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    prose = [
        line for line in text.splitlines() if not line.lstrip().startswith(("|", "![", "<", "members: "))
    ]
    assert max(map(len, prose)) <= LONGEST
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:- |\d+\. |: {3}))", "\n".join(prose))
    assert max(len(paragraph.strip().splitlines()) for paragraph in paragraphs) <= 5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: links and anchors that lead nowhere end it."""
    pytest.importorskip("mkdocstrings", reason="needs mkdocs, of the extra docs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", "docs/site/mkdocs.yml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run([*command, "-d", str(out)], cwd=ROOT, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return out


def test_the_site_has_every_page_and_asks_nothing_of_another_host(site: Path):
    for name in ("index", "start/first-masks", "guides/add-a-method", "reference/python", "changelog"):
        assert (site / f"{name}.html").is_file()
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(
            r'<(?:link|script|img|iframe|source)[^>]+(?:href|src)="(?:https?:)?//[^"]*"', text
        )
    assert (site / "search" / "search_index.js").is_file()  # what search reads from disk


def test_drawings_are_in_the_page_and_follow_its_colours(site: Path):
    text = (site / "how-it-works.html").read_text(encoding="utf-8")
    assert text.count('<figure class="drawing"') == 3 and "<style>svg" not in text
    assert "currentColor" in text
