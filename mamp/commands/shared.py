"""Options that several commands take."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError
from mamp.methods.mamp.families import FAMILIES

OVERRIDES = (
    "settings over the preset, and over the config file where there is one, for example"
    " method.propagation.top_k=10; `mamp config METHOD` lists them"
)


def common(parser: argparse.ArgumentParser, run: Any) -> None:
    """--device and --quiet; `run` is what the command calls."""
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default %(default)s)"
    )
    quiet(parser)
    parser.set_defaults(function=run)


def quiet(parser: argparse.ArgumentParser) -> None:
    """--quiet."""
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def overrides(parser: argparse.ArgumentParser) -> None:
    """key=value arguments, wherever they stand."""
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES)


def weights(parser: argparse.ArgumentParser) -> None:
    """--weights and --fetch."""
    parser.add_argument(
        "--weights",
        help=(
            "a .safetensors file, a training checkpoint, a run folder, or a name: one that ships, or one of"
            " `mamp weights fetch list`"
        ),
    )
    parser.add_argument(
        "--with",
        dest="joined",
        action="append",
        default=[],
        metavar="ENCODER[=FILE]",
        help=(
            f"join the features of another encoder to MAMP's: {', '.join(FAMILIES)}, timm:NAME,"
            " torchvision:NAME or FILE.py:FUNCTION; =FILE has its weights; again for another"
        ),
    )
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="fetch published --weights from where their authors keep them, if they are not here yet",
    )


def settings(args: argparse.Namespace, *first: str) -> list[str]:
    """The key=value arguments, with what --with stands for."""
    if not args.joined:
        return [*first, *args.overrides]
    from mamp.config import named_method

    if (named := named_method([*first, *args.overrides])) not in (None, "mamp"):
        raise UserError(
            f"--with joins an encoder to MAMP's, and method.name is {named}; leave one of them out"
        )
    if any(word.startswith("method.encoder.joined=") for word in args.overrides):
        raise UserError("--with and method.encoder.joined say the same; give one of them")
    joined = []
    for word in args.joined:
        name, _, file = word.partition("=")
        joined.append({"encoder": name, **({"weights": file} if file else {})})
    return [*first, f"method.encoder.joined={json.dumps(joined)}", *args.overrides]


def how_to_read(parser: argparse.ArgumentParser) -> None:
    """--invert and --colours, of a person's masks."""
    parser.add_argument(
        "--invert",
        action="store_true",
        help="the object is what is background in the mask, such as black on white",
    )
    parser.add_argument(
        "--colours",
        type=Path,
        metavar="FILE.json",
        help='which object a colour of the mask is: {"#ff0000": 1, "0,0,255": 2}; 0 is background',
    )


def refuse_below_one(args: argparse.Namespace, *names: str) -> None:
    """UserError where one of these options was given as less than 1."""
    for name in names:
        if (given := vars(args)[name]) is not None and given < 1:
            raise UserError(f"--{name} is {given}; give 1 or more")


DRAWN_STYLES = ("blend", "contour", "mask", "segmentation", "first", "rim")


def look(group: Any, *, styles: tuple[str, ...]) -> None:
    """--overlay-style, --overlay-opacity and --overlay-colours."""
    group.add_argument(
        "--overlay-style",
        choices=styles,
        help=(
            "how masks are drawn: blend (default) tints the objects, contour draws a line around them, mask"
            " shows the objects' colours on black. segmentation and first (object 1 only) are as STM-Cycle"
            " drew them, rim as AFB-URR did"
            + ("; heatmap and erf show what method stm goes by" if "erf" in styles else "")
        ),
    )
    group.add_argument(
        "--overlay-opacity", type=float, metavar="SHARE", help="of the colours, from 0 to 1 (default 0.5)"
    )
    group.add_argument(
        "--overlay-colours",
        metavar="COLOURS",
        help="for example 1=red,2=#00ff00, or a .json file with such pairs; others keep theirs",
    )


def chosen_look(args: argparse.Namespace) -> Any:
    """The `Look` that these options ask for."""
    from mamp.video.overlay import Look, read_colours

    palette = None if args.overlay_colours is None else read_colours(args.overlay_colours)
    return Look(args.overlay_style or "blend", args.overlay_opacity, palette)
