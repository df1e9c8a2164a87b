"""`mamp weights`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Put the command into the parser."""
    weights = commands.add_parser("weights", help="look at weights, or convert published ones")
    kinds = weights.add_subparsers(dest="kind", required=True, metavar="KIND")
    info = kinds.add_parser("info", help="method, size and provenance of weights")
    info.add_argument("source", metavar="WEIGHTS", help="a file, a run folder, or a shipped name")
    info.set_defaults(function=_weights_info)
    convert = kinds.add_parser("convert", help="read a published checkpoint and write a file of ours")
    convert.add_argument("source", type=Path, metavar="CHECKPOINT", help="for example the published mamp.pt")
    convert.add_argument("target", type=Path, metavar="OUT.safetensors")
    convert.add_argument("--method", default="mamp", help="whose checkpoint it is (default %(default)s)")
    convert.set_defaults(function=_weights_convert)


def _weights_info(args: argparse.Namespace) -> None:
    import json

    from mamp import weights

    found = weights.read(args.source)
    count = sum(value.numel() for name, value in found.state.items() if value.is_floating_point())
    print(f"{found.path}: {len(found.state)} tensors, {count:,} numbers")
    print(json.dumps({"method": found.method, "provenance": found.provenance}, indent=2))


def _weights_convert(args: argparse.Namespace) -> None:
    from mamp import weights

    found = weights.convert(args.source, args.target, method=args.method)
    print(
        f"{args.target}: {len(found.state)} entries of a {found.method['name']} checkpoint, all names and shapes fit"
    )
    network = found.method.get("network") or found.method.get("encoder") or {}
    print(
        f"of {found.provenance['published_entries']} in {args.source}; {', '.join(f'{k}={v}' for k, v in network.items())}"
    )
