"""`mamp config`."""

from __future__ import annotations

import argparse
from typing import Any

from mamp.methods import METHODS, table


def add(commands: Any) -> None:
    """Put the command into the parser."""
    config = commands.add_parser("config", help="list the methods, or every setting of one with its meaning")
    config.add_argument(
        "method",
        metavar="METHOD",
        nargs="?",
        help=f"{', '.join(METHODS)}; without it, a table of the methods",
    )
    config.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="show the values that these give, for example method.preset=published",
    )
    config.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    if args.method is None:
        print(table())
        return
    from mamp import config

    values = dict(config.resolved(args.method, args.overrides)) if args.overrides else {}
    for key, default, meaning in config.method_knobs(args.method):
        default = values.get(key, default)
        shown = (
            "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        )
        print(f"{key} = {shown}\n    {meaning.replace(chr(10), chr(10) + ' ' * 6)}")
