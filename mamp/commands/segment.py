"""`mamp segment`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import common, overrides, weights
from mamp.core.errors import UserError


def add(commands: Any) -> None:
    """Put the command into the parser."""
    segment = commands.add_parser("segment", help="carry a mask through your own video")
    segment.add_argument("video", type=Path, metavar="VIDEO", help="a video file or a folder of images")
    segment.add_argument(
        "--mask",
        type=Path,
        required=True,
        help="PNG for the first frame, or a folder of PNGs named like frames",
    )
    segment.add_argument("--out", type=Path, required=True, help="folder for one palette PNG a frame")
    segment.add_argument(
        "--overlay", type=Path, metavar="FILE.mp4", help="a film of the masks over the frames"
    )
    segment.add_argument(
        "--overlay-style",
        choices=("blend", "contour", "segmentation", "mask", "rim", "heatmap", "erf"),
        help=(
            "how the film shows masks: blend, ours, where nothing is said; as the programs of STM-Cycle and"
            " AFB-URR (rim) drew them; or, of method stm, what the correction goes by"
        ),
    )
    weights(segment)
    overrides(segment)
    common(segment, _run)


def _run(args: argparse.Namespace) -> None:
    if args.overlay_style and not args.overlay:
        raise UserError(f"--overlay-style {args.overlay_style} needs a film to draw; add --overlay FILE.mp4")
    from mamp.segmentation import model as models
    from mamp.segmentation.segment import segment

    model = models.load(args.weights, device=args.device, overrides=args.overrides)
    timing = segment(
        args.video,
        args.mask,
        args.out,
        model.segmenter,
        overlay=args.overlay,
        overlay_style=args.overlay_style or "blend",
        bad_frame=model.config.evaluate.bad_frame,
        quiet=args.quiet,
    )
    print(f"{timing.frames} masks in {args.out}, {timing.frames / max(timing.seconds, 1e-9):.2f} frames/s")
    if args.overlay:
        print(f"overlay: {args.overlay}")
