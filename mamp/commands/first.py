"""`mamp first`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Put the command into the parser."""
    first = commands.add_parser(
        "first",
        help="write one frame of a video as an image, to paint a mask on",
        description=(
            "Write one frame of a video as an image, to paint a mask on: each object in a flat colour of its"
            " own, saved without the frame under it, on black or transparency."
        ),
    )
    first.add_argument(
        "video", type=Path, metavar="VIDEO", help="a video file, a folder of images, or a camera: camera:0"
    )
    first.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the image to write")
    first.add_argument(
        "--at",
        metavar="WHERE",
        help="which frame: a number (120), a frame's name, or a time (1:02.5 or 12s); default: the first",
    )
    first.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from contextlib import closing

    from mamp.core.errors import UserError
    from mamp.video.camera import camera_frames, camera_number
    from mamp.video.frames import open_frames
    from mamp.video.overlay import write_picture
    from mamp.video.parts import find

    if args.out.suffix.lower() != ".png":
        raise UserError(f"--out {args.out} is not a .png; name it so")
    if args.out.resolve().parent == args.video.resolve():
        raise UserError(f"--out {args.out} lies among the frames of the video; choose another folder")
    if (number := camera_number(args.video)) is not None:
        with closing(camera_frames(number)) as frames:
            frame = next(frames)
        write_picture(args.out, frame)
        print(f"{args.out}: a frame of camera {number}, {frame.shape[1]}x{frame.shape[0]}")
        return
    with open_frames(args.video) as source:
        index = 0 if args.at is None else find(args.at, source, option="--at")
        frame = source[index]
        write_picture(args.out, frame)
    where = f" --at {source.names[index]}" if index else ""
    print(f"{args.out}: frame {source.names[index]}, {frame.shape[1]}x{frame.shape[0]}")
    print(
        "Paint each object on it in a colour of its own, and save only the paint as MASK.png, on black or"
        " transparency. Then:"
    )
    print(f"  mamp segment {args.video} --mask MASK.png{where} --out masks")
