"""`mamp export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mamp.commands.shared import DRAWN_STYLES, chosen_look, look, quiet
from mamp.core.errors import UserError, plural
from mamp.core.files import refuse_target, remove_abandoned

SERVERS = ("davis", "youtubevos")
FORMS = ("cutout", "film", "mask-video", "gif", "sheet", "coco", "yolo", "labelme", "csv")


def add(commands: Any) -> None:
    """Put the command into the parser."""
    export = commands.add_parser(
        "export",
        help="finished masks in another form: films, cut-outs, annotation files, a benchmark's zip",
        description="Write finished masks in another form. davis and youtubevos are the zips that those"
        " servers take, checked before they are written.",
    )
    export.add_argument(
        "form",
        choices=(*SERVERS, *FORMS),
        metavar="FORM",
        help=(
            "cutout: the objects on transparency (PNGs, .mov or .webm); film: the masks over the frames;"
            " mask-video: the masks on black; gif: the film as a GIF; sheet: one picture of twelve frames;"
            " coco, yolo, labelme: annotation files; csv: area, box and centre of each object;"
            " davis, youtubevos: a server's zip"
        ),
    )
    export.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="a folder of masks, one PNG a frame; for a zip an evaluation's folder, or one with a folder of"
        " PNGs a sequence",
    )
    export.add_argument("--out", type=Path, required=True, metavar="PATH", help="the file or folder to write")
    export.add_argument(
        "--video", type=Path, help="the video the masks are of: for forms that show frames, and for times"
    )
    look(export, styles=DRAWN_STYLES)
    export.add_argument(
        "--root", type=Path, help="for a zip, the data set's root: its sequences, frames, sizes and objects"
    )
    export.add_argument("--split", help="for a zip, which list of the data set (default val)")
    quiet(export)
    export.set_defaults(function=_run)


def _run(args: argparse.Namespace) -> None:
    remove_abandoned(args.out if args.out.is_dir() else refuse_target(args.out))
    if args.form in SERVERS:
        _zip(args)
        return
    from mamp.video.export import wishes
    from mamp.video.export.folder import export_folder

    if args.root or args.split is not None:
        raise UserError(f"--root and --split are for {' and '.join(SERVERS)}; leave them out for {args.form}")
    (wish,) = wishes([f"{args.form}={args.out}"], args.folder)
    for note in export_folder(wish, args.folder, video=args.video, look=chosen_look(args), quiet=args.quiet):
        print(f"note: {note}")
    print(f"{wish.kind}: {wish.path}")


def _zip(args: argparse.Namespace) -> None:
    from mamp.scoring import export

    if args.video:
        raise UserError(f"--video is for films and pictures; leave it out for {args.form}")
    if args.split is not None and not args.root:
        raise UserError("--split is a list of the data set; give its root with --root, or leave --split out")
    made = export(args.form, args.folder, args.out, root=args.root, split=args.split)
    for note in made.notes:
        print(f"note: {note}")
    against = (
        "nothing missing" if args.root else "compared with their first masks; --root also finds missing ones"
    )
    print(f"{made.path}: {plural(made.masks, 'mask')} of {plural(made.sequences, 'sequence')}, {against}")
