"""`mamp config`."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Put the command into the parser."""
    config = commands.add_parser("config", help="every knob of a method: key, default, meaning")
    config.add_argument("method", metavar="METHOD", help="mamp, stm or probe")
    config.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from mamp import config

    for key, default, meaning in config.method_knobs(args.method):
        shown = (
            "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        )
        print(f"{key} = {shown}\n    {meaning}")
