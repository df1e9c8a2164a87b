"""`mamp data`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from mamp.errors import UserError


def add(commands: Any) -> None:
    """Put the command into the parser."""
    data = commands.add_parser("data", help="pack training video")
    kinds = data.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_pack(kinds)


def _add_pack(kinds: Any) -> None:
    pack = kinds.add_parser(
        "pack",
        help="frame folders or videos -> one small video a clip, quick to read; goes on where it was interrupted",
    )
    pack.add_argument(
        "source",
        metavar="SRC",
        help="what data.root takes: a data set's root, a folder of frame folders or videos; PATH or PATH@FPS",
    )
    pack.add_argument(
        "out", type=Path, metavar="OUT", help="the folder to make; data.root=OUT trains from it"
    )
    pack.add_argument(
        "--size", type=int, help="short side in pixels (default 256); a smaller clip stays as it is"
    )
    pack.add_argument("--keyframes", type=int, help="frames from one keyframe to the next (default 1)")
    pack.add_argument(
        "--quality", type=int, help="x264's crf, 0 to 51; less is better and larger (default 18)"
    )
    pack.add_argument(
        "--split", help="which list of the data set (default: train where there are lists, else all)"
    )
    pack.add_argument(
        "--bad-frame",
        choices=("error", "skip", "repeat"),
        default="error",
        help="what to do about a frame that cannot be read (default %(default)s)",
    )
    pack.add_argument(
        "--processes", type=int, help="clips worked on at a time (default: one for each processor)"
    )
    pack.add_argument("--quiet", action="store_true", help="no progress on standard error")
    pack.set_defaults(function=_pack)


def _pack(args: argparse.Namespace) -> None:
    from pydantic import ValidationError

    from mamp.config import DataConfig
    from mamp.config.pack import PackConfig
    from mamp.data.pack import pack

    if args.processes is not None and args.processes < 1:
        raise UserError(f"--processes is {args.processes}; give 1 or more")
    given = {key: getattr(args, key) for key in PackConfig.model_fields if getattr(args, key) is not None}
    try:
        knobs = PackConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{first['loc'][0]} is {first['input']}: {first['msg'].lower()}") from None
    (root,) = DataConfig(root=[args.source]).root
    done = pack(
        root.model_copy(update={"split": args.split}),
        args.out,
        knobs,
        processes=args.processes or os.cpu_count() or 1,
        bad_frame=args.bad_frame,
        quiet=args.quiet,
    )
    print(
        f"{args.out}: {done.clips} clips, {done.frames} frames, {done.redone} clips packed now, all of them read back"
    )
    print(
        f"before: {done.bytes_before / 1e6:.1f} MB, {done.speed_before:.0f} frames/s read at random by one process"
    )
    print(f"after: {done.bytes_after / 1e6:.1f} MB, {done.speed_after:.0f} frames/s")
