"""`mamp segment`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import (
    DRAWN_STYLES,
    chosen_look,
    common,
    how_to_read,
    look,
    overrides,
    settings,
    weights,
)
from mamp.core.errors import UserError


def add(commands: Any) -> None:
    """Put the command into the parser."""
    segment = commands.add_parser(
        "segment",
        help="carry a mask through your own video",
        description=(
            "Carry the mask of one frame through a video: one palette PNG for each frame. The time it"
            " takes is shown after two frames. A run that was stopped goes on when the same command is given"
            " again."
        ),
        epilog="A first mask: `mamp first VIDEO --out first.png` writes the frame to paint on.",
    )
    segment.add_argument(
        "video", type=Path, metavar="VIDEO", help="a video file, a folder of images, or a camera: camera:0"
    )
    segment.add_argument(
        "--mask",
        type=Path,
        action="append",
        required=True,
        help=(
            "mask of one frame (the first, or the one at --at): an image, or a labelme, COCO, YOLO or .npy"
            " file; again for one file an object; or a folder of masks named like frames. `mamp mask` shows"
            " how it is read"
        ),
    )
    how_to_read(segment)
    segment.add_argument("--out", type=Path, required=True, help="folder for one palette PNG a frame")
    _part(segment)
    _forms(segment)
    segment.add_argument(
        "--redo", action="store_true", help="begin again instead of going on with a run that was stopped"
    )
    segment.add_argument(
        "--bad-frame",
        choices=("error", "skip", "repeat"),
        help=(
            "what to do with a frame that cannot be read: end there (default), leave it out, or use the one"
            " before it"
        ),
    )
    segment.add_argument(
        "--stream", type=int, metavar="N", help="which video stream of a file, from 0 (default: the largest)"
    )
    weights(segment)
    overrides(segment)
    common(segment, _run)


def _forms(parser: argparse.ArgumentParser) -> None:
    """What is written besides the masks."""
    group = parser.add_argument_group("what to take away")
    group.add_argument(
        "--save",
        action="append",
        default=[],
        metavar="FORM[=PATH]",
        help=(
            "write another form too: cutout, film, mask-video, gif, sheet, coco, yolo, labelme or csv;"
            " several with commas between, or the option again. Without =PATH it is called after --out:"
            " masks-gif.gif. cutout=FILE.mov is ProRes 4444, cutout=FILE.webm VP9, both with transparency"
        ),
    )
    group.add_argument(
        "--overlay",
        type=Path,
        metavar="FILE.mp4",
        help="a film of the masks over the frames, with the video's times and sound: .mp4, .mov, .mkv, .webm",
    )
    look(group, styles=(*DRAWN_STYLES, "heatmap", "erf"))


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
        help=(
            "which way masks are carried. Default: both when the first mask is of a later frame, else"
            " forward. Between two masks each object follows the nearer one"
        ),
    )


def _run(args: argparse.Namespace) -> None:
    drawn = args.overlay or any(form in word for word in args.save for form in ("film", "gif", "sheet"))
    if args.overlay_style and not drawn:
        raise UserError(f"--overlay-style {args.overlay_style} needs a film to draw; add --overlay FILE.mp4")
    from mamp.segmentation import model as models
    from mamp.segmentation.segment import segment
    from mamp.video.camera import camera_number
    from mamp.video.export import wishes
    from mamp.video.first_masks.reading import Reader
    from mamp.video.parts import Part

    number = camera_number(args.video)
    if number is not None:
        _run_camera(args, number)
        return
    drawn_as = chosen_look(args)
    save = wishes(args.save, args.out)
    reader = Reader(args.invert, args.colours)
    model = models.load(args.weights, device=args.device, overrides=settings(args), fetch=args.fetch)
    timing = segment(
        args.video,
        args.mask,
        args.out,
        model.segmenter,
        reader=reader,
        part=Part(args.start, args.end, args.every, args.max_frames),
        at=args.at,
        direction=args.direction,
        redo=args.redo,
        run_info=model.run_info(),
        overlay=args.overlay,
        look=drawn_as,
        save=save,
        bad_frame=args.bad_frame or model.config.evaluate.bad_frame,
        stream=args.stream,
        quiet=args.quiet,
    )
    count = len(list(args.out.glob("*.png")))
    print(f"{count} masks in {args.out}, {timing.frames / max(timing.seconds, 1e-9):.2f} frames/s")
    if args.overlay:
        print(f"overlay: {args.overlay}")
    for wish in save:
        print(f"{wish.kind}: {wish.path}")


# options that need a recorded video: name -> its value where it is not given
RECORDED: dict[str, Any] = {
    "start": None, "end": None, "every": 1, "at": None, "direction": None, "save": [], "redo": False,
    "bad_frame": None, "stream": None, "overlay_style": None,
    "overlay_opacity": None, "overlay_colours": None,
}  # fmt: skip


def _run_camera(args: argparse.Namespace, number: int) -> None:
    given = [name for name, usual in RECORDED.items() if vars(args)[name] != usual]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')} needs a recorded video; leave it out for a camera")
    if len(args.mask) > 1:
        raise UserError("a camera takes one --mask, of its first frame; put the objects into one picture")
    from mamp.segmentation import model as models
    from mamp.segmentation.live import segment_camera
    from mamp.video.first_masks.reading import Reader

    model = models.load(args.weights, device=args.device, overrides=settings(args), fetch=args.fetch)
    timing = segment_camera(
        number,
        args.mask[0],
        args.out,
        model.segmenter,
        max_frames=args.max_frames,
        reader=Reader(args.invert, args.colours),
        overlay=args.overlay,
        quiet=args.quiet,
    )
    print(f"{timing.frames} masks in {args.out}")
