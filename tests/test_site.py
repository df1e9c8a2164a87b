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

from mamp import config, methods
from mamp.cli import build_parser
from mamp.video.film import Film
from mamp.video.masks import write_mask
from mamp.video.synthetic import render_clip

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?^(?P<indent> *)```python\n(?P<code>.*?)^ *```", re.S | re.M
)
LONGEST = 160  # characters of a line of prose


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


def test_messages_are_taken_from_the_source():
    source = 'raise UserError(f"{path} is {kind.name} and " + "old; read {0} again") from None'
    assert list(messages.messages(source)) == ["*path* is *name* and old; read \\{0\\} again"]
    assert messages.split("*path* is old; use a | b; copy it") == ("*path* is old; use a \\| b", "copy it")
    assert pages()["reference/messages.md"].count("\n| ") > 300


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_lines_and_paragraphs_of_prose_are_short(path: Path):
    others = {"experiments.md", "methods.md", "data.md", "training.md", "cluster.md", "video.md"}
    if path.name in others:
        pytest.skip("written line by line elsewhere")
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    prose = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "![", "<"))]
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
