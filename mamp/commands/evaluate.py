"""`mamp evaluate`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mamp.commands.shared import common, overrides, refuse_below_one, settings, weights
from mamp.core.errors import UserError


def add(commands: Any) -> None:
    """Put the command into the parser."""
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
        "--split",
        default="val",
        help=(
            "any list in ImageSets, train, valid, ..., or a file of `mamp data holdout` (default %(default)s)"
        ),
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
        help=(
            "how many sequences at a time; the same command begun elsewhere shares the work, too (default"
            " %(default)s)"
        ),
    )
    weights(evaluate)
    overrides(evaluate)
    common(evaluate, _run)


def _run(args: argparse.Namespace) -> None:
    from mamp.core.progress import say
    from mamp.datasets.lists import is_holdout
    from mamp.datasets.sequences import open_dataset
    from mamp.datasets.untaken import lines, untaken
    from mamp.scoring import format_table, seen_categories
    from mamp.segmentation import model as models
    from mamp.segmentation.evaluate import evaluate

    if args.baseline and args.weights:
        raise UserError("--baseline and --weights exclude each other; give one of them")
    if args.baseline and args.fetch:
        raise UserError("--baseline and --fetch exclude each other; give one of them")
    refuse_below_one(args, "processes")
    model = models.choose(
        args.weights,
        args.baseline,
        device=args.device,
        overrides=settings(args),
        dataset=args.dataset,
        fetch=args.fetch,
    )
    bad_frame = model.config.evaluate.bad_frame
    sequences = open_dataset(args.dataset, args.root, args.split, bad_frame=bad_frame)
    if args.dataset == "folder":
        spare = untaken(args.root, [sequence.source for sequence in sequences])
        for line in lines(args.root, [one for one in spare if one.lost]):
            say(line)
    held = Path(args.split) if is_holdout(args.split) else None
    run_info = {**model.run_info(), "dataset": args.dataset, "split": args.split}
    with _helpers(args) as join:
        scores = evaluate(
            sequences,
            model.segmenter,
            args.out,
            protocol=args.dataset,
            run_info=run_info,
            seen=seen_categories(args.root, held) if args.dataset == "youtubevos" else None,
            bad_frame=bad_frame,
            device=model.device,
            quiet=args.quiet,
            join=join,
        )
    if scores is not None:
        print(format_table(scores))
    has_truth = any(sequence.labels in ("sparse", "all") for sequence in sequences)
    print(_where(args.out, scored=scores is not None, has_truth=has_truth))


def _where(out: Path, *, scored: bool, has_truth: bool) -> str:
    """Where results are, and why there are no scores."""
    if scored:
        return (
            f"masks are in {out / 'masks'}, scores in {out / 'scores.json'} and scores.csv, settings and"
            f" speed in {out / 'run.json'}"
        )
    if has_truth:
        return f"masks are in {out / 'masks'}; other processes are still at work, and the last one scores"
    return f"masks are in {out / 'masks'}; this split has no truth here, so there are no scores"


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
    context = multiprocessing.get_context("spawn")
    helpers = []
    for number in range(1, args.processes):
        own = {"processes": 1, "quiet": True, "device": _device(args.device, number)}
        alone = argparse.Namespace(**{**vars(args), **own})
        helpers.append(context.Process(target=_help, args=(alone, threads)))

    def join() -> None:
        for helper in helpers:
            helper.join()

    try:
        for helper in helpers:
            helper.start()
        yield join
    finally:
        for helper in helpers:
            if helper.pid is not None:
                helper.terminate()
        torch.set_num_threads(before)


def _device(name: str, number: int) -> str:
    """The device of helper process `number`: with several GPUs and none named, they take turns."""
    import torch

    gpus = torch.cuda.device_count() if name in ("auto", "cuda") else 0
    return f"cuda:{number % gpus}" if gpus > 1 else name


def _help(args: argparse.Namespace, threads: int) -> None:
    """Compute a part of an evaluation. Its errors show in the process that started it."""
    import torch

    from mamp.core.processes import begin_helper

    begin_helper(ignores=())  # it ends with what it has finished, as the process that made it does
    torch.set_num_threads(threads)
    quiet, known = contextlib.redirect_stdout(None), contextlib.suppress(UserError, KeyboardInterrupt)
    with quiet, known:
        _run(args)
