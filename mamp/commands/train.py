"""`mamp train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import common, overrides
from mamp.core.errors import UserError
from mamp.core.terminal import printable


def add(commands: Any) -> None:
    """Put the command into the parser."""
    train = commands.add_parser(
        "train", help="train a network; goes on by itself when the run folder holds a checkpoint"
    )
    train.add_argument(
        "config", type=Path, metavar="CONFIG", help="a YAML recipe, for example configs/mamp_cpu.yaml"
    )
    train.add_argument("--run", type=Path, help="the run's folder (default runs/CONFIG-NAME)")
    overrides(train)
    common(train, _run)


def _run(args: argparse.Namespace) -> None:
    from mamp import config
    from mamp.training.engine import train

    loaded = config.load(args.config, args.overrides)
    run = args.run or Path("runs") / args.config.stem
    if printable(str(run)) != str(run) or "\n" in str(run):
        raise UserError(f"--run {str(run)!r} has control characters; give another name")
    print(train(loaded, run, device=args.device, quiet=args.quiet))
