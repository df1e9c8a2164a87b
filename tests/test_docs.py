"""Whatever the documents name exists: files, links, headings, commands and their flags, settings, recipes."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sitepages import pages  # docs/site

from launch import submit
from mamp import __version__, config, methods
from mamp.cli import _parse, build_parser
from mamp.core.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GENERATED = {ROOT / "docs" / name: text for name, text in pages().items()}  # of the site alone
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))
PROGRAMS = ("mamp", "bash", "python", "python3")
PATH = re.compile(r"(?:mamp|configs|scripts|tests|docs|launch|\.ci)/[\w./-]+")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())


def blocks(text: str) -> Iterator[str]:
    """What stands between fences."""
    yield from re.findall(r"^```[^\n]*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def inline(text: str) -> Iterator[str]:
    """What stands between single backticks, outside of fences."""
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of ours: without prompt, variables before it, comment behind it, and
    brackets.
    """
    lines = [line for block in blocks(text) for line in re.sub(r"\\\n", " ", block).splitlines()]
    for line in [*lines, *inline(text)]:
        line = re.sub(r"^\s*(\$ )?((?:\w+=\S* )*)", "", line)
        if line.split(" ")[0] not in PROGRAMS or len(line.split()) < 2:
            continue
        try:
            words = shlex.split(re.sub(r"\s#.*", "", line.replace("[", " ").replace("]", " ")))
        except ValueError:
            words = line.split()
        yield [word for word in words if word not in {"...", "…", "|"}]


def problem(words: list[str]) -> str | None:
    """What is wrong with a command, or None."""
    program, first, *rest = words
    if program == "mamp":
        return problem_of_mamp(words[1:])
    if program == "bash" or not first.startswith("-"):
        if first.startswith("../") or first.isupper():
            return None
        return None if (ROOT / first).is_file() else f"there is no {first}"
    if first == "-m" and rest:
        if rest[0] == "launch.submit":
            return problem_of_options(submit.build_parser(), rest[1:])
        return problem_of_mamp(rest[1:]) if rest[0] == "mamp" else problem_of_module(rest[0])
    return None


def problem_of_module(name: str) -> str | None:
    return None if importlib.util.find_spec(name) else f"there is no module {name}"


def problem_of_mamp(words: list[str]) -> str | None:
    return problem_of_options(build_parser(), words)


def problem_of_options(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    while words and (choices := subcommands(parser)) and not words[0].startswith("-"):
        names = words[0].split("|")
        if any(name not in choices for name in names):
            return f"{parser.prog} has no command {words[0]}"
        parser, words = choices[names[-1]], words[1:]
    for word in words:
        flag = word.partition("=")[0]
        if word.startswith("-") and flag not in parser._option_string_actions:
            return f"{parser.prog} has no {flag}"
        if PATH.fullmatch(word) and not (ROOT / word).exists():
            return f"there is no {word}"
        key = re.match(r"((?:method|data|train|evaluate|tracking|slurm)(?:\.\w+)+)=", word)
        if key and key[1] not in keys():
            return f"{key[1]} is not a setting"
    return None


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def keys() -> set[str]:
    return {key for method in methods.METHODS for key, _, _ in config.method_knobs(method)}


def anchors(text: str) -> set[str]:
    """What the headings of a document are linked by."""
    headings = re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@every_document
def test_every_relative_link_leads_somewhere(document: Path):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        path, _, anchor = (target[0] or target[1]).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        linked = (document.parent / path).resolve() if path else document
        assert linked.exists() or linked in GENERATED, f"{document.name} links to {path}"
        if anchor:
            there = GENERATED[linked] if linked in GENERATED else linked.read_text()
            assert anchor in anchors(there), f"{document.name} links to {path}#{anchor}"


@every_document
def test_every_command_can_be_given(document: Path):
    found = {" ".join(words): problem(words) for words in commands(document.read_text())}
    assert not {command: wrong for command, wrong in found.items() if wrong}


@every_document
def test_every_command_of_a_block_parses(document: Path):
    fenced = "\n".join(f"```\n{block}```\n" for block in blocks(document.read_text()))
    wrong = {}
    for words in commands(fenced):
        try:
            if words[:1] == ["mamp"]:
                _parse(words[1:])
            elif words[1:3] == ["-m", "launch.submit"]:
                submit.build_parser().parse_known_args(words[3:])
        except UserError as error:
            wrong[" ".join(words)] = str(error)
        except SystemExit as end:
            if end.code:  # 0: --help, --version
                wrong[" ".join(words)] = "argparse refuses it"
    assert not wrong


@every_document
def test_every_file_named_is_there(document: Path):
    text = document.read_text()
    named = {
        path for words in inline(text) for path in PATH.findall(words) if PATH.fullmatch(words.split()[0])
    }
    missing = [
        path for path in named if not (ROOT / path.rstrip(".")).exists() and not re.search(r"[A-Z]{3,}", path)
    ]
    assert not missing


@every_document
def test_every_setting_named_is_one(document: Path):
    text = document.read_text()
    named = set(re.findall(r"\b((?:method|data|train|evaluate|slurm)\.[a-z_]+(?:\.[a-z_]+)*)=", text))
    assert named <= keys()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_loads(recipe: Path):
    loaded = config.load(recipe)
    assert config.load(None, base=yaml.safe_load(config.dump(loaded))) == loaded


def test_the_losses_that_recipes_tell_are_of_their_own_length():
    told = [train for recipe in RECIPES if (train := config.load(recipe).train).expect_loss]
    assert told and all(train.expect_steps == train.steps for train in told)


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda p: p.name)
def test_scripts_give_commands_that_exist(script: Path):
    text = script.read_text()
    for line in re.findall(r"^(?:run|exec) (.+)$", text, flags=re.MULTILINE):
        words = [word for word in line.split() if not word.startswith('"')]
        assert words[0] == "pytest" or problem(words) is None, line
    assert script.name.startswith("_") or text.startswith("#!/usr/bin/env bash\n")


def test_the_version_stands_in_the_changelog_and_the_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest is not None
    assert newest[1] == citation["version"] == __version__


def test_the_citation_names_five_papers():
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert len(references) == 5
    for paper in references:
        assert paper["title"]
        assert paper["authors"]
        assert 2019 <= paper["year"] <= 2022


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("`mamp demo --out runs/x`", None),
        ("`mamp demo --aut runs/x`", "mamp demo has no --aut"),
        ("`mamp dome`", "mamp has no command dome"),
        ("```\n$ FOO=1 mamp train configs/none.yaml  # so\n```", "there is no configs/none.yaml"),
        ("```\nmamp train configs/mamp_demo.yaml train.stops=3\n```", "train.stops is not a setting"),
        ("```\nbash scripts/none.sh\n```", "there is no scripts/none.sh"),
        ("```\npython -m pytest tests\n```", None),
        ("`mamp segment VIDEO --mask PNG --out DIR [--overlay FILE.mp4] [key=value ...]`", None),
        ("`mamp weights info|convert`", None),
        ("`python -m launch.submit train CONFIG --dry-run`", None),
        (
            "`python -m launch.submit train CONFIG --wet-run`",
            "python -m launch.submit train has no --wet-run",
        ),
    ],
)
def test_a_wrong_command_is_found(text: str, wrong: str | None):
    (words,) = commands(text)
    assert problem(words) == wrong


def test_the_table_of_methods_is_the_registrys(repository: Path):
    assert methods.table() in (repository / "docs" / "methods.md").read_text(encoding="utf-8")
