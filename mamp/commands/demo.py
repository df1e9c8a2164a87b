"""`mamp demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import common
from mamp.core.errors import UserError


def add(commands: Any) -> None:
    """Put the command into the parser."""
    demo = commands.add_parser(
        "demo",
        help="first masks, then three minutes of training without labels (--minutes), then scores",
    )
    demo.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="where results go (default %(default)s)"
    )
    demo.add_argument(
        "--minutes", type=float, default=3.0, help="how long to train, about (default %(default)g)"
    )
    demo.add_argument("--video", type=Path, help="your own video too: a file or a folder of images")
    demo.add_argument("--mask", type=Path, help="the mask of its first frame (PNG)")
    common(demo, _run)


def _run(args: argparse.Namespace) -> None:
    from mamp.demo import demo

    if (args.video is None) != (args.mask is None):
        raise UserError("--video and --mask go together; give both, or neither")
    demo(
        args.out,
        video=args.video,
        mask=args.mask,
        minutes=args.minutes,
        device=args.device,
        quiet=args.quiet,
    )
