"""`mamp data`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from mamp.commands.shared import quiet, refuse_below_one
from mamp.core.errors import UserError, plural

_STATIC = ("coco", "ecssd", "msra10k", "pascal-s", "voc2012")
_FETCHED = ("davis2016", "davis2017", "davis2017-test-dev", "youtubevos")


def add(commands: Any) -> None:
    """Put the command into the parser."""
    data = commands.add_parser(
        "data",
        help=(
            "bring data sets, look through them, pack them for training, cut a hold-out, unify still pictures"
        ),
    )
    kinds = data.add_subparsers(dest="kind", required=True, metavar="KIND")
    _add_check(kinds)
    _add_fetch(kinds)
    _add_pack(kinds)
    _add_holdout(kinds)
    _add_static(kinds)
    _add_merge(kinds)
    _add_index(kinds)


def _add_check(kinds: Any) -> None:
    check = kinds.add_parser("check", help="what a folder is, and everything that is broken in it")
    check.add_argument(
        "root", type=Path, metavar="ROOT", help="a data set's root, a folder of videos, or a packed folder"
    )
    depth = check.add_mutually_exclusive_group()
    depth.add_argument(
        "--fast", dest="level", action="store_const", const="fast", help="names and lists only"
    )
    depth.add_argument(
        "--deep",
        dest="level",
        action="store_const",
        const="deep",
        help="decode every frame (default: each frame's beginning and end, and every mask)",
    )
    check.add_argument(
        "--most", type=int, default=10, help="problems of a kind to list (default %(default)s)"
    )
    check.add_argument("--processes", type=int, help="videos at a time (default: the processors, at most 8)")
    quiet(check)
    check.set_defaults(function=_check, level="normal")


def _check(args: argparse.Namespace) -> None:
    from mamp.tools.check import check

    refuse_below_one(args, "most", "processes")
    report = check(args.root, level=args.level, processes=args.processes, quiet=args.quiet)
    print(report.text(args.most))
    if report.count:
        raise UserError(
            f"{args.root}: {plural(report.count, 'thing')} broken, as listed; repair them, or fetch or pack"
            " the data again"
        )


def _add_fetch(kinds: Any) -> None:
    fetch = kinds.add_parser(
        "fetch", help="download and unpack an official archive of DAVIS; goes on where it was interrupted"
    )
    fetch.add_argument("name", choices=_FETCHED, metavar="NAME", help=", ".join(_FETCHED))
    fetch.add_argument("--out", type=Path, help="the data set's root-to-be (default data/DAVIS2017, ...)")
    fetch.add_argument("--url", help="another place of the same archive: an address, or a local file")
    fetch.add_argument("--sha256", help="the checksum that the archive must have")
    fetch.add_argument("--keep", action="store_true", help="keep the archive, beside the root")
    quiet(fetch)
    fetch.set_defaults(function=_fetch)


def _fetch(args: argparse.Namespace) -> None:
    from mamp.tools.fetch import fetch

    print(fetch(args.name, args.out, url=args.url, sha256=args.sha256, keep=args.keep, quiet=args.quiet))


def _add_pack(kinds: Any) -> None:
    pack = kinds.add_parser(
        "pack",
        help=(
            "frame folders or videos -> one small video a clip, quick to read; goes on where it was"
            " interrupted"
        ),
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
    quiet(pack)
    pack.set_defaults(function=_pack)


def _pack(args: argparse.Namespace) -> None:
    from pydantic import ValidationError

    from mamp.config import DataConfig
    from mamp.config.pack import PackConfig
    from mamp.core.files import MB
    from mamp.tools.pack import pack

    refuse_below_one(args, "processes")
    given = {key: value for key in PackConfig.model_fields if (value := vars(args)[key]) is not None}
    try:
        knobs = PackConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--{first['loc'][0]} is {first['input']}: {first['msg'].lower()}") from None
    try:
        (root,) = DataConfig(root=[args.source]).root
    except ValidationError as error:
        raise UserError(f"SRC {args.source}: {error.errors()[0]['msg'].lower()}") from None
    done = pack(
        root.model_copy(update={"split": args.split}),
        args.out,
        knobs,
        processes=args.processes or os.cpu_count() or 1,
        bad_frame=args.bad_frame,
        quiet=args.quiet,
    )
    print(
        f"{args.out}: {plural(done.clips, 'clip')}, {plural(done.frames, 'frame')}, {done.redone:,} packed"
        " now, all of them read back"
    )
    print(
        f"before: {done.bytes_before / MB:.1f} MB, {done.speed_before:.0f} frames/s read at random by one"
        " process"
    )
    print(f"after: {done.bytes_after / MB:.1f} MB, {done.speed_after:.0f} frames/s")


def _add_holdout(kinds: Any) -> None:
    holdout = kinds.add_parser(
        "holdout",
        help=(
            "a frozen list of videos that training leaves out (data.leave_out=FILE) and `mamp evaluate`"
            " scores (--split FILE)"
        ),
    )
    holdout.add_argument("dataset", choices=("youtubevos",), metavar="DATASET", help="youtubevos")
    holdout.add_argument(
        "root", type=Path, metavar="ROOT", help="the root of YouTube-VOS, or its train folder"
    )
    holdout.add_argument(
        "--out", type=Path, required=True, metavar="FILE.json", help="the list; one that is there stays"
    )
    holdout.add_argument(
        "--share",
        type=float,
        default=0.05,
        help="part of the videos of seen categories (default %(default)s)",
    )
    holdout.add_argument(
        "--unseen", type=int, default=5, help="how many categories are held out whole (default %(default)s)"
    )
    holdout.set_defaults(function=_holdout)


def _holdout(args: argparse.Namespace) -> None:
    from mamp.tools.holdout import write_holdout

    held = write_holdout(args.root, args.out, share=args.share, unseen=args.unseen)
    seen, unseen = held["videos"]["seen"], held["videos"]["unseen"]
    names = ", ".join(held["categories"]["unseen"]) or "none"
    print(
        f"{args.out}: {len(seen) + len(unseen)} of {held['train']['videos']} videos; {len(seen)} show seen"
        f" categories only, {len(unseen)} the unseen ones ({names})"
    )


def _add_static(kinds: Any) -> None:
    static = kinds.add_parser(
        "static",
        help=(
            "still pictures with masks, to pretrain on (data.sampling=stills): published sets -> one layout;"
            " goes on where it was interrupted"
        ),
    )
    static.add_argument(
        "name",
        choices=(*_STATIC, "all"),
        metavar="NAME",
        help=f"{', '.join(_STATIC)}, or all that are folders of SRC",
    )
    static.add_argument("source", type=Path, metavar="SRC", help="the set as its authors pack it")
    static.add_argument(
        "out", type=Path, metavar="DST", help="the folder to make; data.root=DST trains from it"
    )
    static.add_argument(
        "--bad-frame",
        choices=("error", "skip"),
        default="error",
        help="what to do about a picture or mask that cannot be read (default %(default)s)",
    )
    static.add_argument(
        "--workers", type=int, help="pictures worked on at a time (default: one for each processor)"
    )
    quiet(static)
    static.set_defaults(function=_static)


def _static(args: argparse.Namespace) -> None:
    from mamp.tools.static import unify

    refuse_below_one(args, "workers")
    workers = args.workers or os.cpu_count() or 1
    for done in unify(
        args.name, args.source, args.out, workers=workers, bad_frame=args.bad_frame, quiet=args.quiet
    ):
        print(done)


def _add_merge(kinds: Any) -> None:
    merge = kinds.add_parser(
        "merge", help="a folder of grey masks for each object -> palette masks of all objects of a frame"
    )
    merge.add_argument("source", type=Path, metavar="SRC", help="SRC/VIDEO/ID/FRAME.png, or SRC/ID/FRAME.png")
    merge.add_argument("out", type=Path, metavar="OUT", help="OUT/VIDEO/FRAME.png, or OUT/FRAME.png")
    merge.add_argument(
        "--mode",
        choices=("soft", "hard"),
        default="soft",
        help="background is the product of what no object takes, or the least of it (default %(default)s)",
    )
    quiet(merge)
    merge.set_defaults(function=_merge)


def _merge(args: argparse.Namespace) -> None:
    from mamp.tools.merge import merge_folders

    done = merge_folders(args.source, args.out, how=args.mode, quiet=args.quiet)
    print(f"{args.out}: {plural(done.frames, 'mask')} of {plural(done.videos, 'video')}")


def _add_index(kinds: Any) -> None:
    index = kinds.add_parser(
        "index",
        help=(
            "the objects and frames of a split as a JSON list of SSM-VOS's program; or what such a list holds"
        ),
    )
    index.add_argument(
        "dataset",
        metavar="DATASET",
        help="davis2016, davis2017 or youtubevos; or a list that is there, FILE.json",
    )
    index.add_argument("root", type=Path, nargs="?", metavar="ROOT", help="the data set's root")
    index.add_argument(
        "--split", default="val", help="a list in ImageSets, or a folder (default %(default)s)"
    )
    index.add_argument("--out", type=Path, metavar="FILE.json", help="where the list goes")
    index.set_defaults(function=_index)


def _index(args: argparse.Namespace) -> None:
    from mamp.methods.ssm.index import describe, make_index, missing_files, read_index, write_index

    if args.root is None:
        records = read_index(Path(args.dataset))
        print(f"{args.dataset}: {describe(records)}")
        if absent := missing_files(records):
            raise UserError(
                f"{args.dataset} lists {plural(len(absent), 'file that is', 'files that are')} not there,"
                f" first {absent[0]}; make it anew with --out"
            )
        return
    if args.out is None:
        raise UserError("mamp data index needs --out FILE.json beside DATASET and ROOT; add it")
    records = make_index(args.dataset, args.root, args.split)
    write_index(records, args.out)
    print(f"{args.out}: {describe(records)}")
