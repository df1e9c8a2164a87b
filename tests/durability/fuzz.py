"""Give every command odd inputs, and count what breaks the contract: a right result, or one sentence.

    python tests/durability/fuzz.py --count 20000 --seed 1
    python tests/durability/fuzz.py --kind weights --seed 1 --only 37   # one again, its folder kept

COUNT inputs are shared among the kinds. A case is known by kind, seed and number: the same ones make the same
input. Processes that die or hang are started anew, and what they were at is counted too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))

from odd import files, lists, networks, pictures, requests, results, roots, settings, targets  # noqa: E402
from odd.contract import measured  # noqa: E402

MODULES = (settings, networks, pictures, lists, roots, files, results, requests, targets)
KINDS = {kind: make for module in MODULES for kind, make in module.KINDS.items()}
MOST_MEMORY = 8 * 10**9  # bytes that a process may map besides
DEAD = 90.0  # seconds without a word after which a process is given up


def one(kind: str, seed: int, number: int, folder: Path) -> tuple[str, str]:
    """(what the input was, what it broke)."""
    return measured(KINDS[kind], kind, seed, number, folder)


def _work(kind: str, seed: int, numbers: list[int], room: str, answers: Any) -> None:
    """In a process of its own: the cases one after the other, none of which may take the machine's memory."""
    import resource

    import torch  # noqa: F401  what it maps counts, too

    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + MOST_MEMORY, -1))
    for number in numbers:
        folder = Path(room) / f"{kind}-{number}"
        answers.put(("at", number, "", ""))
        try:
            what, broke = one(kind, seed, number, folder)
        except BaseException as error:  # of the generator
            what, broke = "the generator", f"{type(error).__name__}: {str(error)[:200]}"
        answers.put(("done", number, what, broke))
        shutil.rmtree(folder, ignore_errors=True)
    answers.put(("end", 0, "", ""))


def _share(kind: str, seed: int, count: int, room: str) -> list[tuple[int, str, str]]:
    """The cases of one kind, whose process is started anew where it dies; those that broke something."""
    context = multiprocessing.get_context("spawn")
    found, left = [], list(range(count))
    while left:
        answers = context.Queue()
        process = context.Process(target=_work, args=(kind, seed, left, room, answers))
        process.start()
        at, ended, heard = left[0], False, time.monotonic()
        while not ended:
            try:
                word, number, what, broke = answers.get(timeout=1)
            except Exception:
                if process.is_alive() and time.monotonic() - heard < DEAD:
                    continue
                why = (
                    "hangs the process" if process.is_alive() else f"ends the process with {process.exitcode}"
                )
                process.kill()
                found.append((at, "", why))
                left = [n for n in left if n > at]
                break
            heard = time.monotonic()
            if word == "at":
                at = number
            elif word == "done":
                if broke:
                    found.append((number, what, broke))
            else:
                ended, left = True, []
        process.join(5)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=len(KINDS) * 20, help="inputs, shared among the kinds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only these kinds")
    parser.add_argument("--only", type=int, help="one case of one kind; its folder stays")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    kinds = args.kind or list(KINDS)
    room = tempfile.mkdtemp(prefix="mamp-fuzz-")
    if args.only is not None:
        what, broke = one(kinds[0], args.seed, args.only, Path(room) / "case")
        print(f"{what}\n{broke or 'keeps the contract'}\n{room}")
        return 1 if broke else 0
    broken: Counter[str] = Counter()
    for i, kind in enumerate(kinds):
        share = args.count // len(kinds) + (i < args.count % len(kinds))
        began = time.monotonic()
        found = _share(kind, args.seed, share, room)
        broken[kind] = len(found)
        took = time.monotonic() - began
        print(f"{kind:12} {share:6,} inputs, {len(found):4} break the contract, {took:.0f} s", flush=True)
        for number, what, broke in found:
            print(
                f"  --kind {kind} --seed {args.seed} --only {number}: {what[:200]!r}: {broke[:600]}",
                flush=True,
            )
    shutil.rmtree(room, ignore_errors=True)
    print(f"{args.count:,} inputs of {len(kinds)} kinds, {broken.total()} break the contract")
    return 1 if broken.total() else 0


if __name__ == "__main__":
    sys.exit(main())
