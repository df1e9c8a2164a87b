"""The contract of every command with whatever it is given: a right result, or one sentence and status 2.

A case is one input and what is done with it. `breach` runs it and says what of the contract it broke: another
exception than UserError, more than SECONDS of work, more than MEMORY of memory, control characters on the
terminal, a file that is half written, an input that was changed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import shutil
import signal
import stat
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SECONDS = 5.0  # of work in this process
HANG = 20.0  # without work, on a machine where others work too
MEMORY = 10**9  # bytes over what the process had before
SENTENCE = 12_000  # letters of an error, which may list many files
_SLOW, _HANGS = "works for", "hangs for"  # how the breaches of time begin
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@dataclass
class Case:
    """One odd input. run: does the work. right: whether what came of it is right, in words what is not.

    out: where the work may write; all other files of the folder must stay as they are.
    """

    what: str
    run: Callable[[], Said]
    out: list[Path] = field(default_factory=list)
    right: Callable[[Said], str] = lambda said: ""


Generator = Callable[[Random, Path], Case]


def seeded(generator: Generator, kind: str, seed: int, number: int, folder: Path) -> Case:
    """Case `number` of a kind: the same one for the same seed."""
    folder.mkdir(parents=True)
    return generator(Random(f"{kind} {seed} {number}"), folder)


def mamp(*words: object) -> Said:
    """A `mamp` command in this process."""
    from mamp.cli import main

    return printed(lambda: main([str(word) for word in words]))


def printed(main: Callable[[], int]) -> Said:
    """The status of a command's `main`, and what it printed."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    err.reconfigure(errors="backslashreplace")  # as Python's own is
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main()
        except SystemExit as end:  # argparse
            status = end.code if isinstance(end.code, int) else 1
    out.flush(), err.flush()
    return Said(status, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())


def breaches(generator: Generator, kind: str, room: Path, *, count: int = 200, seed: int = 0) -> list[str]:
    """What breaks the contract among `count` cases of a kind; each has a folder of its own in `room`."""
    import torch

    from mamp.core import provenance

    found, threads, asked = [], torch.get_num_threads(), provenance._git
    torch.set_num_threads(1)  # what others compute on the machine takes no time of ours
    provenance._git = functools.cache(asked)  # type: ignore[assignment]  the checkout stays as it is
    try:
        for number in range(count):
            folder = room / f"{kind}-{number}"
            what, broke = measured(generator, kind, seed, number, folder)
            if broke:
                found.append(f"--kind {kind} --seed {seed} --only {number}: {what!r}: {broke}")
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        torch.set_num_threads(threads)
        provenance._git = asked
    return found


def measured(generator: Generator, kind: str, seed: int, number: int, folder: Path) -> tuple[str, str]:
    """(what the input was, what it broke); one that took too long is tried once more."""
    case = seeded(generator, kind, seed, number, folder)
    broke = breach(case, folder)
    if broke.startswith((_SLOW, _HANGS)):
        again = folder.with_name(f"{folder.name}-again")
        broke = breach(seeded(generator, kind, seed, number, again), again)
        shutil.rmtree(again, ignore_errors=True)
    return case.what, broke


class _Hung(BaseException):
    pass


def breach(case: Case, folder: Path) -> str:
    """What of the contract the case breaks; "" where it keeps it."""
    before = _snapshot(folder, case.out)
    held, begun = _reset_peak(), time.thread_time()
    try:
        with _alarm(HANG), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = case.run()
    except _Hung:
        return f"{_HANGS} {HANG:g} s: {_where(sys.exc_info()[1])}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]!r} at {_where(error)}"
    took, used = time.thread_time() - begun, _peak() - held
    return (
        _badly_said(said)
        or (f"{_SLOW} {took:.1f} s" if took > SECONDS else "")
        or (f"takes {used / 1e6:.0f} MB" if used > MEMORY else "")
        or _changed(before, _snapshot(folder, case.out))
        or _half_written(folder)
        or case.right(said)
    )


def _badly_said(said: Said) -> str:
    for name, text in (("output", said.out), ("errors", said.err)):
        if (found := _CONTROL.search(text)) is not None:
            at = found.start()
            return f"{name} have the control character {found[0]!r} in {text[max(0, at - 60) : at + 20]!r}"
    if "Traceback" in said.out + said.err:
        return f"prints a traceback: {said.err[-300:]!r}"
    if "the memory of this machine is full" in said.err:
        return f"asks for more memory than there is: {said.err[-300:]!r}"
    if said.status not in (0, 2):
        return f"ends with status {said.status}: {said.err[-300:]!r}"
    if said.status == 2 and (stray := _stray_line(said.err)) is not None:
        return f"an error has the line {stray!r}, which a name may have made"
    if said.status == 2 and not re.search(r"(^|\n)(mamp|launch|usage)", said.err):
        return f"ends with status 2 and says {said.err[-200:]!r}"
    if len(said.err) > SENTENCE:
        return f"says {len(said.err)} letters: {said.err[:200]!r}"
    return ""


def _stray_line(err: str) -> str | None:
    """A line after that of the error which belongs to no list of it."""
    lines = err.splitlines()
    error = next((i for i, line in enumerate(lines) if line.startswith("mamp: ")), len(lines))
    return next((line for line in lines[error + 1 :] if not line.startswith("  ")), None)


def _where(error: BaseException | None) -> str:
    """The places of this package that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__ if error is not None else None)
    own = [f for f in frames if "/mamp/" in f.filename or "/launch/" in f.filename]
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in own[-3:]]
    return " > ".join(places) or "".join(traceback.format_tb(error.__traceback__)[-1:]).strip()


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """_Hung after SECONDS of waiting without work, or twice as much work as a command may do."""
    begun = last = time.thread_time()

    def ring(*_: object) -> None:
        nonlocal last
        now = time.thread_time()
        if now - last < 0.1 or now - begun > 2 * SECONDS:
            raise _Hung
        last = now  # it works, on a machine where others work more

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---------------------------------------------------------------- memory


def _reset_peak() -> int:
    """Begin to measure; the bytes that this process holds."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


# ---------------------------------------------------------------- files


def _snapshot(folder: Path, apart: list[Path]) -> dict[str, tuple]:
    """Name -> kind, length and time of all below `folder`, but for what lies in `apart`."""
    found: dict[str, tuple] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if Path(place) / f not in apart]
        for name in [*folders, *files]:
            path = os.path.join(place, name)
            if Path(path) not in apart:
                about = os.lstat(path)
                length = 0 if stat.S_ISDIR(about.st_mode) else about.st_size
                found[path] = (stat.S_IFMT(about.st_mode), length)
    return found


def _changed(before: dict[str, tuple], after: dict[str, tuple]) -> str:
    for path, about in before.items():
        if path not in after:
            return f"{path!r} is gone"
        if after[path] != about:
            return f"{path!r} was changed"
    new = sorted(set(after) - set(before))
    return f"{new[0]!r} was made, outside of the output" if new else ""


def _half_written(folder: Path) -> str:
    for _, _, files in os.walk(folder):
        for name in files:
            if name.endswith((".partial", ".probe", ".tmp")):
                return f"{name!r} was left"
    return ""


def whole(path: Path) -> str:
    """What is wrong with a file that a command wrote; "" where it is whole."""
    try:
        if path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".safetensors":
            from safetensors.torch import load_file

            load_file(path)
        elif path.suffix == ".html":
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    except Exception as error:
        return f"{path.name} is not whole: {type(error).__name__} {str(error)[:100]}"
    return ""


def written_whole(out: Path, *, if_failed: str = "nothing") -> Callable[[Said], str]:
    """A check that all files at `out` are whole, and that after an error there is `nothing` (or `parts`)."""

    def right(said: Said) -> str:
        files = [out] if out.is_file() else [f for f in out.rglob("*") if f.is_file()] if out.is_dir() else []
        if said.status and files and if_failed == "nothing":
            return f"wrote {files[0].name} and failed: {said.err[-200:]!r}"
        if not said.status and not files:
            return f"wrote nothing at {out.name} and says {said.out[-200:]!r}"
        return next((told for file in files if (told := whole(file))), "")

    return right
