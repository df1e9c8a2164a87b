"""`mamp weights`."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mamp.commands.shared import overrides, quiet
from mamp.core.errors import plural
from mamp.methods import having, published

WIDTH = 72  # letters after which a line goes on below


def add(commands: Any) -> None:
    """Put the command into the parser."""
    weights = commands.add_parser(
        "weights", help="look at weights, fetch and convert published ones, copy, widen, write as ONNX"
    )
    kinds = weights.add_subparsers(dest="kind", required=True, metavar="KIND")
    info = kinds.add_parser("info", help="method, size and provenance of weights")
    info.add_argument("source", metavar="WEIGHTS", help="a file, a run folder, or a shipped name")
    info.set_defaults(function=_weights_info)
    _add_fetch(kinds)
    convert = kinds.add_parser("convert", help="convert a published checkpoint to a weights file of mamp")
    convert.add_argument("source", type=Path, metavar="CHECKPOINT", help="for example the published mamp.pt")
    convert.add_argument("target", type=Path, metavar="OUT.safetensors")
    convert.add_argument(
        "--method",
        default="mamp",
        help=f"whose checkpoint it is: {', '.join(having('from_published'))} (default mamp)",
    )
    convert.set_defaults(function=_weights_convert)
    copy = kinds.add_parser("copy", help="a run's weights, or a checkpoint's, as a file of their own")
    copy.add_argument(
        "source", metavar="WEIGHTS", help="a file, a checkpoint, a run folder, or a shipped name"
    )
    copy.add_argument("target", type=Path, metavar="OUT.safetensors")
    copy.add_argument("--half", action="store_true", help="in half precision, half the size")
    copy.add_argument("--licence", help="what is kept inside with them")
    copy.set_defaults(function=_weights_copy)
    _add_makers(kinds)


def _add_fetch(kinds: Any) -> None:
    fetch = kinds.add_parser(
        "fetch",
        help="bring weights that a method's authors published, by name; list shows them",
        description=(
            "Bring weights that a method's authors published to this machine, as a file that --weights takes"
            " by name. An interrupted fetch goes on with the same command. The file lies in $MAMP_CACHE, or"
            " in the system's cache folder."
        ),
    )
    fetch.add_argument("name", metavar="NAME|list", help=f"{', '.join(published())}; or list")
    fetch.add_argument(
        "--url", metavar="PLACE", help="another address of the checkpoint, or a file that you downloaded"
    )
    fetch.add_argument("--sha256", help="what the checkpoint must have")
    quiet(fetch)
    fetch.set_defaults(function=_weights_fetch)


def _weights_fetch(args: argparse.Namespace) -> None:
    from mamp.weights import published as store

    if args.name == "list":
        print("Published weights. Scores are as published, and were not run here.")
        print(*store.lines(), sep="\n")
        return
    path = store.fetch(args.name, url=args.url, sha256=args.sha256, quiet=args.quiet)
    _, one = store.find(args.name)
    print(f"{path}: use it with --weights {args.name}; licence: {one.licence}")


def _add_makers(kinds: Any) -> None:
    """The kinds that make something else of weights."""
    widen = kinds.add_parser(
        "widen",
        help=f"weights of {', '.join(having('widen'))} for a network of more channels, to train on from",
    )
    widen.add_argument(
        "source", metavar="WEIGHTS", help="a file, a checkpoint, a run folder, or a shipped name"
    )
    widen.add_argument("target", type=Path, metavar="OUT.safetensors")
    widen.add_argument("--width", type=float, default=1.0, help="method.encoder.width (default %(default)s)")
    widen.add_argument("--seed", type=int, default=0, help="of the noise by which copies of a channel differ")
    widen.set_defaults(function=_weights_widen)
    onnx = kinds.add_parser("onnx", help="encoder and one step as ONNX graphs, for programs without torch")
    onnx.add_argument(
        "source", metavar="WEIGHTS", help="a file, a checkpoint, a run folder, or a shipped name"
    )
    onnx.add_argument("target", type=Path, metavar="OUT", help="folder for the graphs and mamp.json")
    overrides(onnx)
    onnx.set_defaults(function=_weights_onnx)


def _weights_info(args: argparse.Namespace) -> None:
    from mamp import weights
    from mamp.segmentation.model import checksum

    found = weights.read(args.source)
    count = sum(value.numel() for value in found.state.values() if value.is_floating_point())
    method = {key: value for key, value in found.method.items() if key != "name"}
    lines = {
        "weights": found.path,
        "method": found.method.get("name", "not said"),
        **{f"method.{key}": value for key, value in flatten(method).items()},
        "numbers": f"{count:,} in {len(found.state)} tensors",
        "sha256": checksum(found.state),
        **_broken(found.state),
        **_made(found.provenance),
    }
    width = max(map(len, lines))
    for key, value in lines.items():
        wrapped = [str(value)] if isinstance(value, Path) else _wrapped(str(value))
        print(
            *(f"{name:{width}}  {line}" for name, line in zip_longest([key], wrapped, fillvalue="")), sep="\n"
        )


def _broken(state: Mapping[str, Any]) -> dict[str, str]:
    """What is said of values that are NaN or infinite; nothing where there are none."""
    from mamp.core.reading import not_numbers

    if not (found := not_numbers(state)):
        return {}
    count = plural(sum(found.values()), "value is", "values are")
    return {"broken": f"{count} NaN or infinite, first in {next(iter(found))}"}


def _wrapped(words: str) -> list[str]:
    """Lines of WIDTH letters at most, but for longer words; one at least."""
    return textwrap.wrap(words, WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


def _made(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """How weights were made, name -> words: commit, data census, of the recipe what is not as by default,
    whatever else is told; likewise of the weights that they began with, as `init ..`."""
    from mamp import config

    rest = dict(provenance)
    lines: dict[str, Any] = {}
    if rest.pop("changed", False):
        rest["commit"] = f"{rest.get('commit')}, changed since"
    census, recipe = rest.pop("data", {}), rest.pop("recipe", {})
    if isinstance(census, Mapping):
        census = ", ".join(f"{key} {value}" for key, value in census.items())
    if census:
        lines["data"] = census
    defaults = flatten(config.load().model_dump(mode="json"))
    recipe = recipe if isinstance(recipe, Mapping) else {"": recipe}
    lines |= {f"recipe {k}": v for k, v in flatten(recipe).items() if k not in defaults or defaults[k] != v}
    init = rest.get("init")
    if isinstance(init, Mapping) and isinstance(init.get("provenance", {}), Mapping):
        del rest["init"]
        before = _made(init.get("provenance", {}))
        init = {key: value for key, value in init.items() if key != "provenance" and value is not None}
        lines |= {f"init {key}": value for key, value in {**init, **before}.items()}
    return {**{key: value for key, value in flatten(rest).items() if value is not None}, **lines}


def flatten(values: Mapping[str, Any], *, before: str = "") -> dict[str, Any]:
    """Nested mappings as one: a.b -> value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, before=f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat


def _weights_convert(args: argparse.Namespace) -> None:
    from mamp import weights

    found = weights.convert(args.source, args.target, method=args.method)
    print(
        f"{args.target}: {len(found.state)} entries of a {found.method['name']} checkpoint, all names and"
        " shapes fit"
    )
    network = found.method.get("network") or found.method.get("encoder") or {}
    print(
        f"of {found.provenance['published_entries']} in {args.source};"
        f" {', '.join(f'{k}={v}' for k, v in network.items())}"
    )


def _weights_copy(args: argparse.Namespace) -> None:
    from mamp import weights
    from mamp.core.files import MB

    weights.copy(args.source, args.target, half=args.half, licence=args.licence)
    print(f"{args.target}: {args.target.stat().st_size / MB:.1f} MB")


def _weights_widen(args: argparse.Namespace) -> None:
    from mamp import weights

    found = weights.widen(args.source, args.target, width=args.width, seed=args.seed)
    count = sum(value.numel() for value in found.state.values() if value.is_floating_point())
    given = {k: v for k, v in found.method["encoder"].items() if v not in (None, (), [])}
    network = " ".join(f"method.encoder.{k}={v}" for k, v in given.items())
    print(f"{args.target}: {count:,} numbers; train on with\n  train.init={args.target} {network}")


def _weights_onnx(args: argparse.Namespace) -> None:
    from mamp.core.files import MB
    from mamp.segmentation import model as models
    from mamp.weights.onnx import write

    model = models.load(args.source, device="cpu", overrides=args.overrides)
    method = model.config.method
    written, notes = write(args.target, model.network, method, weights=model.run_info()["weights"])
    for path in written:
        print(f"{path}: {path.stat().st_size / MB:.3f} MB")
    for note in notes:
        print(note)
