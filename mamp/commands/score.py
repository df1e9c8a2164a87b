"""`mamp score`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError


def add(commands: Any) -> None:
    """Put the command into the parser."""
    score = commands.add_parser("score", help="J and F of anybody's PNG folders, by the official definitions")
    score.add_argument(
        "truth", type=Path, metavar="TRUTH", help="a folder of mask folders, or a data set's root"
    )
    score.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS",
        help="a folder with a folder of PNGs for each sequence",
    )
    score.add_argument(
        "--protocol",
        help="davis2016, davis2017, youtubevos, longvideos or folder (default: guessed, and said)",
    )
    score.add_argument(
        "--split",
        help=(
            "which list of the data set, or a file of `mamp data holdout` (default: val; everything where"
            " there are no lists)"
        ),
    )
    score.add_argument("--seen", type=Path, help="youtubevos: a file of seen categories, one a line")
    score.add_argument(
        "--decay",
        choices=("exact", "official", "official_numpy2"),
        default="exact",
        help=(
            "how decay cuts a video into quarters: official wraps bin edges at 256 frames as the official"
            " tool does, official_numpy2 as it does under NumPy 2 (default %(default)s)"
        ),
    )
    score.add_argument("--json", type=Path, metavar="FILE", help="write scores.json here")
    score.add_argument("--csv", type=Path, metavar="FILE", help="write a table here")
    score.add_argument(
        "--official-csv", type=Path, metavar="DIR", help="write the official tool's two CSV files here"
    )
    score.add_argument(
        "--processes", type=int, help="how many sequences at a time (default: one for each processor)"
    )
    score.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from mamp.core.files import refuse_target, remove_abandoned
    from mamp.scoring import run_score

    if args.json and args.csv and args.json.resolve() == args.csv.resolve():
        raise UserError(f"--json and --csv both write {args.csv}; give each a file of its own")
    for path in (args.json, args.csv):
        if path:
            remove_abandoned(refuse_target(path))
    text = run_score(
        args.truth,
        args.predictions,
        protocol=args.protocol,
        split=args.split,
        seen=args.seen,
        json=args.json,
        csv=args.csv,
        official_csv=args.official_csv,
        processes=args.processes,
        decay=args.decay,
    )
    print(text)
