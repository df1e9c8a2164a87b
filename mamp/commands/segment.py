"""`mamp segment`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import common, overrides, weights
from mamp.core.errors import UserError


def add(commands: Any) -> None:
    """Put the command into the parser."""
    segment = commands.add_parser(
        "segment",
        help="carry a mask through your own video",
        description="Carry the mask of one frame through a video: one palette PNG for each frame. The time it"
        " takes is shown after two frames. A run that was stopped goes on when the same command is given"
        " again.",
        epilog="A first mask: `mamp first VIDEO --out first.png` writes the frame to paint on.",
    )
    segment.add_argument("video", type=Path, metavar="VIDEO", help="a video file or a folder of images")
    segment.add_argument(
        "--mask",
        type=Path,
        required=True,
        help="PNG of one frame (the first, or the one at --at), or a folder of PNGs named like frames",
    )
    segment.add_argument("--out", type=Path, required=True, help="folder for one palette PNG a frame")
    _part(segment)
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
    segment.add_argument(
        "--redo", action="store_true", help="begin again instead of going on with a run that was stopped"
    )
    weights(segment)
    overrides(segment)
    common(segment, _run)


def _part(parser: argparse.ArgumentParser) -> None:
    """Which frames, and which way."""
    group = parser.add_argument_group(
        "part of the video", "WHERE is a frame number (120), a frame's name, or a time (1:02.5 or 12s)."
    )
    group.add_argument("--start", metavar="WHERE", help="the first frame to use (default: the video's first)")
    group.add_argument("--end", metavar="WHERE", help="the last frame to use, included")
    group.add_argument("--every", type=int, default=1, metavar="N", help="use every N-th frame")
    group.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    group.add_argument(
        "--at", metavar="WHERE", help="the frame that a single mask is of (default: the first)"
    )
    group.add_argument(
        "--direction",
        choices=("both", "forward", "backward"),
        help="which way masks are carried. Default: both when the first mask is of a later frame, else"
        " forward. Between two masks each object follows the nearer one",
    )


def _run(args: argparse.Namespace) -> None:
    if args.overlay_style and not args.overlay:
        raise UserError(f"--overlay-style {args.overlay_style} needs a film to draw; add --overlay FILE.mp4")
    from mamp.segmentation import model as models
    from mamp.segmentation.segment import segment
    from mamp.video.parts import Part

    model = models.load(args.weights, device=args.device, overrides=args.overrides)
    timing = segment(
        args.video,
        args.mask,
        args.out,
        model.segmenter,
        part=Part(args.start, args.end, args.every, args.max_frames),
        at=args.at,
        direction=args.direction,
        redo=args.redo,
        run_info=model.run_info(),
        overlay=args.overlay,
        overlay_style=args.overlay_style or "blend",
        bad_frame=model.config.evaluate.bad_frame,
        quiet=args.quiet,
    )
    print(f"{timing.frames} masks in {args.out}, {timing.frames / max(timing.seconds, 1e-9):.2f} frames/s")
    if args.overlay:
        print(f"overlay: {args.overlay}")
