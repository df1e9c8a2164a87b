"""The page of commands, from the parsers themselves."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from launch import submit
from mamp.cli import build_parser

INTRO = """# Commands

`mamp COMMAND --help` prints the same. Results go to standard output, progress to standard error.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | a defect in mamp; please report it with `mamp --version` |
| 2 | an input or an option is wrong; one sentence says which, and what to do |
| 75 | a scheduler stopped the command; the same command goes on |
| 130 | interrupted by Ctrl-C or SIGTERM; what was finished is kept |

Arguments `key=value` are [settings](settings.md). Values are written as in YAML.
"""


def page() -> str:
    """Return the page: every command of `mamp`, then those of `launch.submit`."""
    lines = [INTRO]
    for parser, meaning in leaves(build_parser()):
        lines += entry(parser, meaning)
    for parser, meaning in leaves(submit.build_parser()):
        lines += entry(parser, meaning)
    return "\n".join(lines)


def leaves(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yield each parser that has no commands below it, and what the list of commands says of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, below in action.choices.items():
                if any(isinstance(a, argparse._SubParsersAction) for a in below._actions):
                    yield from leaves(below)
                else:
                    yield below, helps.get(name, "")


def entry(parser: argparse.ArgumentParser, meaning: str) -> list[str]:
    """Return the lines of one command: what it does, its usage, its arguments."""
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    usage = re.sub(r"\n +", "\n    ", usage)
    text = plain(parser.description or sentence(meaning), parser)
    lines = [f"## {parser.prog}", "", text, "", "```text", usage, "```", ""]
    if parser.epilog:
        lines += [plain(parser.epilog, parser), ""]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if not isinstance(a, argparse._HelpAction)]
        if not actions:
            continue
        if group.title not in ("positional arguments", "options", None):
            lines += [
                f"**{sentence(str(group.title))}** {plain(group.description or '', parser)}".rstrip(),
                "",
            ]
        for action in actions:
            lines += argument(parser, action)
    return lines


def argument(parser: argparse.ArgumentParser, action: argparse.Action) -> list[str]:
    """Return the lines of one argument, as an entry of a definition list."""
    shown = parser._get_formatter()._format_args(action, action.metavar or action.dest.upper())
    if action.choices is not None and action.metavar is None:
        shown = "|".join(map(str, action.choices))
    names = [f"{name} {shown}".rstrip() for name in action.option_strings[-1:]] or [shown]
    words = sentence(plain(action.help or "", parser, action))
    notes = []
    if action.required and action.option_strings:
        notes.append("Required.")
    return [f"`{names[0]}`", f":   {' '.join([words, *notes]).strip() or '…'}", ""]


def plain(text: str, parser: argparse.ArgumentParser, action: argparse.Action | None = None) -> str:
    """Return a help text with its %-fields filled in, on one line, safe in Markdown."""
    fields = {**(vars(action) if action else {}), "prog": parser.prog}
    text = " ".join((text % fields).split()) if "%" in text else " ".join(text.split())
    return guarded(text)


def guarded(text: str) -> str:
    """Return the text with what Markdown would read as markup put in backticks or escaped."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([<>*_{}\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def sentence(text: str) -> str:
    """Return the text with a capital and a full stop."""
    text = text.strip()
    if not text:
        return text
    first = text.split()[0]
    named = re.search(r"[A-Z_.=`\\/]|[,:]$", first)  # a file, a key, or the first of several values
    text = text if named else text[0].upper() + text[1:]
    return text if text[-1] in ".:!?" else f"{text}."
