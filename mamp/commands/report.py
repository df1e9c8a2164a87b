"""`mamp report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import quiet


def add(commands: Any) -> None:
    """Put the command into the parser."""
    report = commands.add_parser("report", help="write an HTML page of evaluations and training runs")
    report.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folders that mamp evaluate or mamp train wrote"
    )
    report.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page to write")
    report.add_argument(
        "--root", type=Path, help="the data set's root, for films and pictures (default: no films)"
    )
    quiet(report)
    report.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from mamp.report import write_report

    for path in write_report(args.runs, args.out, root=args.root, quiet=args.quiet):
        print(path)
