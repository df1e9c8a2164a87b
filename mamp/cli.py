"""`mamp ...`: parses, calls one function, prints.

Exit status: 0 done, 2 a user's mistake, 1 a defect, 130 interrupted (Ctrl-C, SIGTERM or SIGHUP), 75 stopped
by a scheduler's SIGUSR1 or SIGUSR2 and to be started again. Results go to standard output, progress to
standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from mamp import __version__
from mamp.commands import (
    app,
    config,
    data,
    demo,
    evaluate,
    export,
    first,
    mask,
    report,
    score,
    segment,
    train,
    weights,
)
from mamp.core.errors import OUT_OF_MEMORY, TryAgain, UserError, refused_by_system
from mamp.core.terminal import plain_output, printable


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

    for module in (
        demo,
        train,
        first,
        mask,
        segment,
        app,
        evaluate,
        score,
        report,
        export,
        data,
        weights,
        config,
    ):
        module.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        args = _parse(arguments)
        with _terminable(), plain_output():
            args.function(args)
        sys.stdout.flush()
    except UserError as error:
        print(f"mamp: {error}", file=sys.stderr)
        return 2
    except TryAgain:
        print("mamp: stopped by the scheduler; run the same command to go on", file=sys.stderr)
        return 75
    except KeyboardInterrupt:
        print("mamp: interrupted; finished work is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of standard output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except MemoryError:
        print(f"mamp: {OUT_OF_MEMORY}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError) as error:
        if (sentence := refused_by_system(error)) is None:
            raise
        print(f"mamp: {printable(sentence)}", file=sys.stderr)
        return 2
    return 0


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does, so that nothing is left half-written.

    Signals that are caught already stay so, and under nohup SIGHUP is ignored.
    """
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [
        number for name in names if signal.getsignal(number := getattr(signal, name)) == signal.SIG_DFL
    ]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    own = os.getpid()

    def end(number: int, frame: Any) -> None:
        if os.getpid() != own:  # a loader's process, which has nothing to put away
            os._exit(128 + number)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    # argparse takes the positionals of a sub-command in one run only; settings after an option are left over
    args, surplus = parser.parse_known_args(arguments)
    takes_settings = "overrides" in args
    if surplus and not (takes_settings and all("=" in s and s[0] != "-" for s in surplus)):
        remedy = " (settings are key=value)" if takes_settings else ""
        raise UserError(
            f"mamp {args.command} does not take {' '.join(surplus)}{remedy}; see mamp {args.command} --help"
        )
    if surplus:
        args.overrides += surplus
    return args


if __name__ == "__main__":
    sys.exit(main())
