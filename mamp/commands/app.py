"""`mamp app`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import common, overrides, settings, weights
from mamp.core.errors import UserError
from mamp.methods import METHODS, needing_weights


def add(commands: Any) -> None:
    """Put the command into the parser."""
    app = commands.add_parser(
        "app", help="draw masks on your own video in the browser, carry them on, correct them"
    )
    app.add_argument(
        "video", type=Path, nargs="?", metavar="VIDEO", help="a video file or a folder of images"
    )
    app.add_argument(
        "--out",
        type=Path,
        metavar="PROJECT",
        help="folder of the masks, saved as you go (default runs/app/NAME)",
    )
    app.add_argument("--method", help=f"{', '.join(METHODS)}; {needing_weights()} need --weights")
    app.add_argument("--port", type=int, help="port on this machine (default 7345, or any that is free)")
    app.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    app.add_argument(
        "--memory-mb",
        type=float,
        default=1000.0,
        help=(
            "memory for going on from a corrected frame without computing earlier ones again (default"
            " %(default)g)"
        ),
    )
    app.add_argument(
        "--suggest",
        metavar="MODULE:FUNCTION",
        help="your own function that makes masks from clicks and boxes, such as one of SAM (docs/app.md)",
    )
    weights(app)
    overrides(app)
    common(app, _run)


def _run(args: argparse.Namespace) -> None:
    if args.video is not None and "=" in str(args.video) and not args.video.exists():
        args.overrides, args.video = [str(args.video), *args.overrides], None
    try:
        import pycocotools  # noqa: F401
        import scipy  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(f"mamp app needs {error.name}; pip install 'mamp[app]'") from None
    from mamp.app.run import serve
    from mamp.segmentation import model as models

    named = [f"method.name={args.method}"] if args.method else []
    model = models.load(args.weights, device=args.device, overrides=settings(args, *named), fetch=args.fetch)

    def reload(preset: str, device: str) -> models.Model:
        given = settings(args, *named)
        rest = [word for word in given if not word.startswith("method.preset=")]
        chosen = [f"method.preset={preset}"] if preset else []
        return models.load(args.weights, device=device, overrides=[*rest, *chosen], fetch=args.fetch)

    serve(
        model,
        video=args.video,
        out=args.out,
        port=args.port,
        browser=not args.no_browser,
        kept_mb=args.memory_mb,
        suggest=args.suggest,
        reload=reload,
        quiet=args.quiet,
    )
