"""`mamp ...`: parses, calls one function, prints.

Exit status: 0 done, 2 a user's mistake, 1 a defect, 130 interrupted. Results go to standard output, progress to
standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mamp import __version__
from mamp.errors import UserError

OVERRIDES = "settings over the preset and the config file, for example method.propagation.top_k=10; `mamp config mamp` lists them"


class _Version(argparse.Action):
    """What a bug report needs."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        print(f"mamp {__version__}, Python {platform.python_version()}, {platform.platform()}")
        for name in ("torch", "torchvision", "kornia", "decord", "av", "numpy", "pydantic"):
            try:
                print(f"{name} {version(name)}")
            except PackageNotFoundError:
                print(f"{name} is not installed")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each sub-command names its `function`."""
    parser = argparse.ArgumentParser(prog="mamp", description="Video object segmentation without labels.")
    parser.add_argument("--version", action=_Version, help="versions of mamp and what it stands on")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="train for two minutes without labels, then carry masks through unseen clips"
    )
    demo.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="where results go (default %(default)s)"
    )
    demo.add_argument("--video", type=Path, help="your own video too: a file or a folder of images")
    demo.add_argument("--mask", type=Path, help="the mask of its first frame (PNG)")
    _common(demo, _demo)

    train = commands.add_parser(
        "train", help="train a network; goes on by itself when the run folder holds a checkpoint"
    )
    train.add_argument(
        "config", type=Path, metavar="CONFIG", help="a YAML recipe, for example configs/mamp_cpu.yaml"
    )
    train.add_argument("--run", type=Path, help="the run's folder (default runs/CONFIG-NAME)")
    _overrides(train)
    _common(train, _train)

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
        "--overlay-style", choices=("blend", "contour"), default="blend", help="how the film shows masks"
    )
    _weights(segment)
    _overrides(segment)
    _common(segment, _segment)

    evaluate = commands.add_parser("evaluate", help="masks and scores of a data set's split; resumes")
    evaluate.add_argument(
        "dataset",
        metavar="DATASET",
        help="davis2016, davis2017, youtubevos, longvideos, or folder (frames and masks side by side)",
    )
    evaluate.add_argument(
        "root", type=Path, metavar="ROOT", help="the data set's root, as its authors pack it"
    )
    evaluate.add_argument(
        "--split", default="val", help="any list in ImageSets, or train, valid, ... (default %(default)s)"
    )
    evaluate.add_argument(
        "--out", type=Path, required=True, help="folder for masks, scores.json, scores.csv and run.json"
    )
    evaluate.add_argument(
        "--baseline",
        choices=("copy", "untrained"),
        help="instead of weights: the first mask copied, or a network with random weights",
    )
    evaluate.add_argument(
        "--processes",
        type=int,
        default=1,
        help="how many sequences at a time; the same command begun elsewhere shares the work, too (default %(default)s)",
    )
    _weights(evaluate)
    _overrides(evaluate)
    _common(evaluate, _evaluate)

    score = commands.add_parser("score", help="J and F of anybody's PNG folders, by the official definitions")
    score.add_argument(
        "truth", type=Path, metavar="TRUTH", help="a folder of mask folders, or a data set's root"
    )
    score.add_argument(
        "predictions",
        type=Path,
        metavar="PREDICTIONS",
        help="a folder with a folder of PNGs for each sequence",
    )
    score.add_argument(
        "--protocol",
        help="davis2016, davis2017, youtubevos, longvideos or folder (default: guessed, and said)",
    )
    score.add_argument(
        "--split", help="which list of the data set (default: val; everything where there are no lists)"
    )
    score.add_argument("--seen", type=Path, help="youtubevos: a file of seen categories, one a line")
    score.add_argument(
        "--decay",
        choices=("exact", "official", "official_numpy2"),
        default="exact",
        help="how decay cuts a video into quarters: official wraps bin edges at 256 frames as the official tool does, "
        "official_numpy2 as it does under NumPy 2 (default %(default)s)",
    )
    score.add_argument("--json", type=Path, metavar="FILE", help="write scores.json here")
    score.add_argument("--csv", type=Path, metavar="FILE", help="write a table here")
    score.add_argument(
        "--official-csv", type=Path, metavar="DIR", help="write the official tool's two CSV files here"
    )
    score.add_argument(
        "--processes", type=int, help="how many sequences at a time (default: one for each processor)"
    )
    score.set_defaults(function=_score)

    report = commands.add_parser("report", help="an HTML page of evaluations and training runs")
    report.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folders that mamp evaluate or mamp train wrote"
    )
    report.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="the page to write")
    report.add_argument(
        "--root", type=Path, help="the data set's root, for films and pictures (default: none of them)"
    )
    report.add_argument("--quiet", action="store_true", help="no progress on standard error")
    report.set_defaults(function=_report)

    export = commands.add_parser(
        "export", help="the zip that a benchmark's server wants, checked before it is written"
    )
    export.add_argument(
        "server", choices=("davis", "youtubevos"), metavar="SERVER", help="davis or youtubevos"
    )
    export.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="an evaluation's folder, or one with a folder of PNGs a sequence",
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE.zip", help="the zip to write")
    export.add_argument(
        "--root", type=Path, help="the data set's root: it tells sequences, frames, sizes, objects"
    )
    export.add_argument("--split", help="which list of the data set (default val)")
    export.set_defaults(function=_export)

    weights = commands.add_parser("weights", help="look at weights, or convert published ones")
    kinds = weights.add_subparsers(dest="kind", required=True, metavar="KIND")
    info = kinds.add_parser("info", help="method, size and provenance of weights")
    info.add_argument("source", metavar="WEIGHTS", help="a file, a run folder, or a shipped name")
    info.set_defaults(function=_weights_info)
    convert = kinds.add_parser("convert", help="read a published checkpoint and write a file of ours")
    convert.add_argument("source", type=Path, metavar="CHECKPOINT", help="for example the published mamp.pt")
    convert.add_argument("target", type=Path, metavar="OUT.safetensors")
    convert.add_argument("--method", default="mamp", help="whose checkpoint it is (default %(default)s)")
    convert.set_defaults(function=_weights_convert)

    config = commands.add_parser("config", help="every knob of a method: key, default, meaning")
    config.add_argument("method", metavar="METHOD", help="mamp")
    config.set_defaults(function=_config)
    return parser


def _common(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.set_defaults(function=run)


def _overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=OVERRIDES)


def _weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", help="a .safetensors file, a training checkpoint, a run folder, or a shipped name"
    )


def _demo(args: argparse.Namespace) -> None:
    from mamp.demo import demo

    if (args.video is None) != (args.mask is None):
        raise UserError("--video and --mask go together; give both, or neither")
    demo(args.out, video=args.video, mask=args.mask, device=args.device, quiet=args.quiet)


def _train(args: argparse.Namespace) -> None:
    from mamp import config
    from mamp.training.engine import train

    loaded = config.load(args.config, args.overrides)
    print(train(loaded, args.run or Path("runs") / args.config.stem, device=args.device, quiet=args.quiet))


def _segment(args: argparse.Namespace) -> None:
    from mamp.segmentation import model as models
    from mamp.segmentation.segment import segment

    model = models.load(args.weights, device=args.device, overrides=args.overrides)
    timing = segment(
        args.video,
        args.mask,
        args.out,
        model.segmenter,
        overlay=args.overlay,
        overlay_style=args.overlay_style,
        bad_frame=model.config.evaluate.bad_frame,
        quiet=args.quiet,
    )
    print(f"{timing.frames} masks in {args.out}, {timing.frames / max(timing.seconds, 1e-9):.2f} frames/s")
    if args.overlay:
        print(f"overlay: {args.overlay}")


def _evaluate(args: argparse.Namespace) -> None:
    from mamp.data.datasets import open_dataset
    from mamp.scoring import format_table, seen_categories
    from mamp.segmentation import model as models
    from mamp.segmentation.evaluate import evaluate

    if args.baseline and args.weights:
        raise UserError("--baseline and --weights exclude each other; give one of them")
    if args.processes < 1:
        raise UserError(f"--processes is {args.processes}; give 1 or more")
    sequences = open_dataset(args.dataset, args.root, args.split)
    model = models.choose(
        args.weights, args.baseline, device=args.device, overrides=args.overrides, dataset=args.dataset
    )
    run_info = {**model.run_info(), "dataset": args.dataset, "split": args.split}
    with _helpers(args) as join:
        scores = evaluate(
            sequences,
            model.segmenter,
            args.out,
            protocol=args.dataset,
            run_info=run_info,
            seen=seen_categories(args.root, None) if args.dataset == "youtubevos" else None,
            bad_frame=model.config.evaluate.bad_frame,
            quiet=args.quiet,
            join=join,
        )
    if scores is not None:
        print(format_table(scores))
    elif any(sequence.labels in ("sparse", "all") for sequence in sequences):
        print(
            f"masks are in {args.out / 'masks'}; other processes are still at work, and the last one scores"
        )
    else:
        print(f"masks are in {args.out / 'masks'}; this split has no truth here, so there are no scores")


@contextlib.contextmanager
def _helpers(args: argparse.Namespace) -> Iterator[Callable[[], None] | None]:
    """Other processes that share the evaluation, and what waits for them; None where none are asked for."""
    if args.processes == 1:
        yield None
        return
    import multiprocessing

    import torch

    before = torch.get_num_threads()
    threads = max(1, before // args.processes)
    torch.set_num_threads(threads)
    alone = argparse.Namespace(**{**vars(args), "processes": 1, "quiet": True})
    context = multiprocessing.get_context("spawn")
    helpers = [context.Process(target=_help, args=(alone, threads)) for _ in range(args.processes - 1)]
    for helper in helpers:
        helper.start()
    try:

        def join() -> None:
            for helper in helpers:
                helper.join()

        yield join
    finally:
        for helper in helpers:
            helper.terminate()
        torch.set_num_threads(before)


def _help(args: argparse.Namespace, threads: int) -> None:
    """A part of an evaluation; what goes wrong is told by the process that started this one, which meets it again."""
    import torch

    torch.set_num_threads(threads)
    quiet, known = contextlib.redirect_stdout(None), contextlib.suppress(UserError, KeyboardInterrupt)
    with quiet, known:
        _evaluate(args)


def _score(args: argparse.Namespace) -> None:
    from mamp.scoring import run_score

    text = run_score(
        args.truth,
        args.predictions,
        protocol=args.protocol,
        split=args.split,
        seen=args.seen,
        json=args.json,
        csv=args.csv,
        official_csv=args.official_csv,
        processes=args.processes,
        decay=args.decay,
    )
    print(text)


def _report(args: argparse.Namespace) -> None:
    from mamp.report import write_report

    for path in write_report(args.runs, args.out, root=args.root, quiet=args.quiet):
        print(path)


def _export(args: argparse.Namespace) -> None:
    from mamp.scoring import export

    if args.split and not args.root:
        raise UserError("--split is a list of the data set; give its root with --root, or leave --split out")
    made = export(args.server, args.folder, args.out, root=args.root, split=args.split)
    for note in made.notes:
        print(f"note: {note}")
    print(f"{made.path}: {made.masks} masks of {made.sequences} sequences, nothing missing")


def _weights_info(args: argparse.Namespace) -> None:
    import json

    from mamp import weights

    found = weights.read(args.source)
    count = sum(value.numel() for name, value in found.state.items() if value.is_floating_point())
    print(f"{found.path}: {len(found.state)} tensors, {count:,} numbers")
    print(json.dumps({"method": found.method, "provenance": found.provenance}, indent=2))


def _weights_convert(args: argparse.Namespace) -> None:
    from mamp import weights

    found = weights.convert(args.source, args.target, method=args.method)
    print(
        f"{args.target}: {len(found.state)} entries of a {found.method['name']} checkpoint, all names and shapes fit"
    )


def _config(args: argparse.Namespace) -> None:
    from mamp import config

    if args.method not in config.METHOD_CONFIGS:
        raise UserError(f"{args.method} is not a method; use one of {', '.join(config.METHOD_CONFIGS)}")
    for key, default, meaning in config.knobs(config.Config):
        shown = (
            "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
        )
        print(f"{key} = {shown}\n    {meaning}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        args = _parse(arguments)
        args.function(args)
        sys.stdout.flush()
    except UserError as error:
        print(f"mamp: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mamp: interrupted; what was finished stays", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of standard output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    # argparse takes the positionals of a sub-command in one run only; settings after an option are left over
    args, surplus = parser.parse_known_args(arguments)
    if surplus and not (hasattr(args, "overrides") and all("=" in s and s[0] != "-" for s in surplus)):
        parser.error(f"unrecognized arguments: {' '.join(surplus)}")
    if surplus:
        args.overrides += surplus
    return args


if __name__ == "__main__":
    sys.exit(main())
