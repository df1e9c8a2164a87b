"""`mamp data`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_FETCHED = ("davis2016", "davis2017", "davis2017-test-dev", "youtubevos")


def add(commands: Any) -> None:
    """Put the command into the parser."""
    data = commands.add_parser("data", help="bring data sets, look through them, cut a hold-out")
    kinds = data.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_fetch(kinds)


def _add_fetch(kinds: Any) -> None:
    fetch = kinds.add_parser(
        "fetch", help="download and unpack an official archive of DAVIS; goes on where it was interrupted"
    )
    fetch.add_argument("name", choices=_FETCHED, metavar="NAME", help=", ".join(_FETCHED))
    fetch.add_argument("--out", type=Path, help="the data set's root-to-be (default data/DAVIS2017, ...)")
    fetch.add_argument("--url", help="another place of the same archive: an address, or a local file")
    fetch.add_argument("--sha256", help="the checksum that the archive must have")
    fetch.add_argument("--keep", action="store_true", help="keep the archive, beside the root")
    fetch.add_argument("--quiet", action="store_true", help="no progress on standard error")
    fetch.set_defaults(function=_fetch)


def _fetch(args: argparse.Namespace) -> None:
    from mamp.data.fetch import fetch

    print(fetch(args.name, args.out, url=args.url, sha256=args.sha256, keep=args.keep, quiet=args.quiet))
