"""`mamp mask`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import how_to_read
from mamp.core.errors import UserError
from mamp.core.files import refuse_target


def add(commands: Any) -> None:
    """Put the command into the parser."""
    mask = commands.add_parser(
        "mask",
        help="show how a mask would be read",
        description=(
            "Show which objects `mamp segment --mask FILE` would read in a mask, and write them as a palette"
            " PNG."
        ),
    )
    mask.add_argument(
        "file",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="an image, or a labelme, COCO, YOLO or .npy file; several with one object each",
    )
    mask.add_argument("--out", type=Path, metavar="FIRST.png", help="the mask as it is read, a palette PNG")
    mask.add_argument(
        "--overlay",
        type=Path,
        metavar="FRAME",
        help=(
            "the frame, an image or a video (its first frame): the mask is brought to its size, and drawn"
            " over it in OUT with -overlay in its name"
        ),
    )
    how_to_read(mask)
    mask.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    from mamp.core.progress import say
    from mamp.video.first_masks.reading import Reader
    from mamp.video.masks import write_mask
    from mamp.video.overlay import blend, write_picture

    if args.overlay and not args.out:
        raise UserError(f"--overlay {args.overlay} needs --out FIRST.png, beside which it is written")
    for path in (args.out, args.out and _beside(args.out)):
        if path and any(
            path.resolve() == other.resolve() for other in (*args.file, args.overlay or path / "x")
        ):
            raise UserError(f"--out {args.out} would replace {path}; choose another file")
    if args.out and args.out.suffix.lower() != ".png":
        raise UserError(f"--out {args.out} is not a .png; name it so")
    if args.out:
        refuse_target(args.out)
    frame = _frame(args.overlay) if args.overlay else None
    size = None if frame is None else (frame.shape[0], frame.shape[1])
    source = args.file[0] if len(args.file) == 1 else args.file
    found = Reader(args.invert, args.colours).read(source, size=size)
    print(found.line)
    for words in found.warnings:
        say(f"{found.name}: {words}")
    if args.out:
        write_mask(args.out, found.labels)
        print(f"mask: {args.out}")
    if frame is not None:
        write_picture(_beside(args.out), blend(frame, found.labels))
        print(f"overlay: {_beside(args.out)}")


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.stem}-overlay.png")


def _frame(path: Path) -> Any:
    """The image, or the first frame of a video."""
    from mamp.video.folders import IMAGE_SUFFIXES
    from mamp.video.frames import open_frames, read_image

    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return read_image(path)
    with open_frames(path) as source:
        return source[0]
