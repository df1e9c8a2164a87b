"""`mamp export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError, plural


def add(commands: Any) -> None:
    """Put the command into the parser."""
    export = commands.add_parser(
        "export", help="the zip that a benchmark's server wants, checked before it is written"
    )
    export.add_argument(
        "server", choices=("davis", "youtubevos"), metavar="SERVER", help="davis or youtubevos"
    )
    export.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="an evaluation's folder, or one with a folder of PNGs a sequence",
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE.zip", help="the zip to write")
    export.add_argument(
        "--root", type=Path, help="the data set's root: it tells sequences, frames, sizes, objects"
    )
    export.add_argument("--split", help="which list of the data set (default val)")
    export.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from mamp.scoring import export

    if args.split and not args.root:
        raise UserError("--split is a list of the data set; give its root with --root, or leave --split out")
    made = export(args.server, args.folder, args.out, root=args.root, split=args.split)
    for note in made.notes:
        print(f"note: {note}")
    against = (
        "nothing missing" if args.root else "held against their own first masks; --root tells what is missing"
    )
    print(f"{made.path}: {plural(made.masks, 'mask')} of {plural(made.sequences, 'sequence')}, {against}")
