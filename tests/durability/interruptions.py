"""Commands that are interrupted at random moments, run twice at once, or out of room.

python tests/durability/interruptions.py [--moments 10] [--seed 0] [--commands train,score] prints the table
of docs/training.md. Every command is run again after it was cut short and compared with an undisturbed run;
what is left of processes, locks and partial files is counted. test_interruptions.py has a short form.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import lzma
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
DATA = Path(__file__).resolve().parent.parent / "compat" / "data"
IMPORTED = ["torch._dynamo", "mamp.training.engine", "mamp.cli", "mamp.commands.evaluate", "mamp.report.page"]
UNTIMED = ("step", "loss", "lr", "grad_norm", "epoch", "clips", "val_loss")
WITHIN = 60.0  # seconds after which a run is given up
SETTLE = 12.0  # seconds that helpers of a killed process may take to notice

Result = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """words: the arguments of mamp, {out} where its results go. result: what must be equal."""

    words: tuple[str, ...]
    result: Callable[[Path], Result]


@dataclass
class Tally:
    """What came of one command under one kind of interruption."""

    moments: int = 0
    equal: int = 0
    finished_first: int = 0
    faults: list[str] = field(default_factory=list)


class World:
    """A folder with data, weights and undisturbed results. State: what the undisturbed runs gave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(DATA / "clips", folder / "clips", dirs_exist_ok=True)
        _lists(folder / "davis", folder / "clips")
        self.weights = _weights(folder)
        self.commands = _commands(folder, self.weights)
        self.expected: dict[str, Result] = {}
        self.seconds: dict[str, float] = {}

    def undisturbed(self, name: str) -> Result:
        """What the command gives when nothing comes in between."""
        if name not in self.expected:
            for other in {
                "report": ("train", "evaluate"),
                "export": ("evaluate",),
                "score": ("evaluate",),
            }.get(name, ()):
                self.undisturbed(other)
            out = self.out(name, "undisturbed")
            run(self, name, out)  # imports and caches
            shutil.rmtree(out)
            began = time.monotonic()
            status, told = run(self, name, out)
            assert status == 0, told
            self.seconds[name] = time.monotonic() - began
            self.expected[name] = self.commands[name].result(out)
        return self.expected[name]

    def out(self, name: str, label: str) -> Path:
        """A folder of its own for the results of one run."""
        return self.folder / "results" / name / label


def _weights(folder: Path) -> Path:
    packed = DATA / "weights" / "small.safetensors"
    if packed.exists():
        return shutil.copy(packed, folder / "small.safetensors")
    (folder / "small.safetensors").write_bytes(
        lzma.decompress(packed.with_suffix(".safetensors.xz").read_bytes())
    )
    return folder / "small.safetensors"


def _lists(root: Path, clips: Path) -> None:
    """A DAVIS-2017 root of the clips, for zips."""
    (root / "ImageSets" / "2017").mkdir(parents=True)
    names = sorted(path.name for path in (clips / "JPEGImages").iterdir())
    (root / "ImageSets" / "2017" / "val.txt").write_text("".join(f"{name}\n" for name in names))
    for kind in ("JPEGImages", "Annotations"):
        shutil.copytree(clips / kind, root / kind / "480p")


def _commands(folder: Path, weights: Path) -> dict[str, Command]:
    cpu = ("--device", "cpu", "--quiet")
    small = ("--weights", str(weights), *cpu, "method.propagation.radius=1", "method.propagation.top_k=4")
    recipe, root, davis = str(DATA / "mamp_run" / "recipe.yaml"), str(folder / "clips"), str(folder / "davis")
    trained, evaluated = (str(folder / "results" / name / "undisturbed") for name in ("train", "evaluate"))
    training = (f"data.root={root}", "train.steps=40", "train.checkpoint_every=2", "train.schedule=constant")
    masks = ("--mask", f"{root}/Annotations/ant/00000.png", "--save", "coco")
    scores = ("--json", "{out}/scores.json", "--csv", "{out}/scores.csv")
    return {
        "train": Command(("train", recipe, "--run", "{out}", *cpu, *training), _training),
        "evaluate": Command(
            ("evaluate", "davis2017", davis, "--out", "{out}", "--processes", "2", *small),
            _tree("masks/**/*.png", "scores.json", "scores.csv", "frames.json"),
        ),
        "segment": Command(
            ("segment", f"{root}/JPEGImages/ant", "--out", "{out}", *masks, *small), _tree("*.png", "*.json")
        ),
        "data pack": Command(
            ("data", "pack", f"{root}/JPEGImages", "{out}", "--size", "32", "--processes", "2", "--quiet"),
            _tree("*.mp4", "pack.json"),
        ),
        "report": Command(
            ("report", evaluated, trained, "--root", davis, "--out", "{out}/page.html", "--quiet"),
            _tree("page.html", "page_files/*"),
        ),
        "export": Command(
            ("export", "davis", evaluated, "--root", davis, "--out", "{out}/masks.zip", "--quiet"),
            _zipped,
        ),
        "score": Command(
            ("score", davis, f"{evaluated}/masks", "--protocol", "davis2017", *scores, "--processes", "2"),
            _tree("scores.json", "scores.csv"),
        ),
    }


# ---------------------------------------------------------------- results


def _tree(*patterns: str) -> Callable[[Path], Result]:
    def read(out: Path) -> Result:
        found = {path for pattern in patterns for path in out.glob(pattern) if path.is_file()}
        assert found, out
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(found)}

    return read


def _training(run: Path) -> Result:
    from safetensors.torch import load_file

    state = load_file(run / "weights.safetensors")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    lines = [{key: line[key] for key in UNTIMED if key in line} for line in log]
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    return {"log": lines, "kept": kept} | {name: value.numpy().tobytes() for name, value in state.items()}


def _zipped(out: Path) -> Result:
    with zipfile.ZipFile(out / "masks.zip") as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


# ---------------------------------------------------------------- running


def start(world: World, name: str, out: Path, *, inside: str | None = None) -> Any:
    """Start the command in a session of its own. inside: a signal it sends to itself within the write of its
    second checkpoint.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    words = [word.replace("{out}", str(out)) for word in world.commands[name].words]
    told = world.folder / f"told-{time.monotonic_ns()}.txt"
    if name in ("report", "export", "score"):
        out.mkdir(parents=True, exist_ok=True)
    process = context.Process(target=_main, args=(words, str(told), inside))
    process.start()
    process.told = told  # type: ignore[attr-defined]
    while process.is_alive() and not told.exists():  # a signal before that meets the forking, not mamp
        time.sleep(0.005)
    return process


def _main(words: list[str], told: str, inside: str | None) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    output = os.open(told, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1), os.dup2(output, 2)
    faulthandler.enable()
    os.environ["PYTHONFAULTHANDLER"] = "1"
    if inside:
        _signal_inside_a_checkpoint(inside)
    from mamp.cli import main

    sys.exit(main(words))


def _signal_inside_a_checkpoint(name: str) -> None:
    """Write half of the second checkpoint, be signalled, and write the rest."""
    import io

    import torch

    save, count = torch.save, 0

    def halves(state: Any, file: Any) -> None:
        nonlocal count
        count += 1
        whole = io.BytesIO()
        save(state, whole)
        content = whole.getvalue()
        file.write(content[: len(content) // 2])
        file.flush()
        if count == 2:
            os.kill(os.getpid(), getattr(signal, name))
        file.write(content[len(content) // 2 :])

    torch.save = halves


def finish(process: Any, *, within: float = WITHIN) -> tuple[int, str]:
    """(exit status, what was printed); killed with its whole group when it takes longer."""
    process.join(within)
    if process.is_alive():
        for member in _members(process.pid):  # each prints where it stands
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGABRT)
        process.join(2)
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return -999, "does not end\n" + process.told.read_text()
    return process.exitcode, process.told.read_text(errors="replace")


def run(world: World, name: str, out: Path) -> tuple[int, str]:
    """The command, undisturbed."""
    return finish(start(world, name, out))


# ---------------------------------------------------------------- interruptions


def interrupt(
    world: World, name: str, kind: str, tally: Tally, *, moment: float, inside: bool = False
) -> None:
    """Interrupt the command at `moment`, a part of its duration, run it again, and compare."""
    expected = world.undisturbed(name)
    out = world.out(name, f"{kind}-{time.monotonic_ns()}")
    process = start(world, name, out, inside=kind if inside else None)
    if not inside:
        process.join(moment * world.seconds[name])
        if process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, getattr(signal, kind))
    status, told = finish(process)
    tally.moments += 1
    tally.finished_first += status == 0
    where = f"{name} {kind} at {'a checkpoint' if inside else f'{moment:.2f}'}"
    tally.faults += [f"{where}: {fault}" for fault in _faults(kind, status, told, process.pid, out)]
    status, told = run(world, name, out)
    if status != 0:
        tally.faults.append(f"{where}: again: status {status}: {told[-1500:]}")
        return
    tally.faults += [f"{where}: again: {left} is left" for left in partial_files(out)]
    if world.commands[name].result(out) == expected:
        tally.equal += 1
        shutil.rmtree(out)
    else:
        tally.faults.append(f"{where}: another result, kept in {out}")


def _faults(kind: str, status: int, told: str, group: int, out: Path) -> Iterator[str]:
    """What is wrong with the end of an interrupted command."""
    if "Traceback" in told:
        yield f"a traceback: {told[-1500:]}"
    before_mamp = status == -getattr(signal, kind) and not told  # it had not begun to catch signals
    if status not in (0, -signal.SIGKILL if kind == "SIGKILL" else 130) and not before_mamp:
        yield f"status {status}: {told[-1500:]}"
    if left := processes_left(group):
        yield f"processes {left} are left"
    if kind != "SIGKILL" and (files := partial_files(out)):
        yield f"{', '.join(files)} left at once"


def processes_left(group: int) -> list[int]:
    """Processes of the group that do not end by themselves; they are killed."""
    until = time.monotonic() + SETTLE
    while (members := _members(group)) and time.monotonic() < until:
        time.sleep(0.05)
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    return members


def _members(group: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


def partial_files(out: Path) -> list[str]:
    """What a whole result has none of."""
    names = ("*.partial", "*.probe", "*.part", "*.save_tmp")
    return sorted(path.relative_to(out).as_posix() for pattern in names for path in out.rglob(pattern))


def twice(world: World, name: str, tally: Tally) -> None:
    """The same command twice at once on one folder: each ends well or is refused, and the result is whole."""
    expected = world.undisturbed(name)
    out = world.out(name, f"twice-{time.monotonic_ns()}")
    processes = [start(world, name, out) for _ in range(2)]
    ends = [finish(process) for process in processes]
    tally.moments += 1
    tally.faults += [
        f"{name} twice: {told[-1500:]}" for s, told in ends if s not in (0, 2) or "Traceback" in told
    ]
    if not any(status == 0 for status, _ in ends):
        tally.faults.append(f"{name} twice: neither ended well: {[told[-200:] for _, told in ends]}")
        return
    tally.faults += [f"{name} twice: {left} is left" for left in partial_files(out)]
    tally.equal += world.commands[name].result(out) == expected
    if world.commands[name].result(out) != expected:
        tally.faults.append(f"{name} twice: another result, kept in {out}")


def full_disk(world: World, name: str, tally: Tally, *, part: float) -> None:
    """Run on a file system that holds `part` of the result, make room, and run again."""
    expected = world.undisturbed(name)
    size = sum(p.stat().st_size for p in world.out(name, "undisturbed").rglob("*") if p.is_file())
    disk = world.folder / f"disk-{time.monotonic_ns()}"
    disk.mkdir()
    small = max(4096, int(part * size) // 4096 * 4096)
    with mounted(disk, small):
        out = disk / "out"
        status, told = run(world, name, out)
        tally.moments += 1
        tally.finished_first += status == 0
        if status not in (0, 2) or "Traceback" in told:
            tally.faults.append(f"{name} on a full disk: status {status}: {told[-400:]}")
        elif status == 2 and told.count("mamp: ") != 1:
            tally.faults.append(f"{name} on a full disk: no sentence: {told[-1500:]}")
        tally.faults += [f"{name} on a full disk: {left} is left" for left in partial_files(out)]
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        status, told = run(world, name, out)
        if status == 0 and world.commands[name].result(out) == expected:
            tally.equal += 1
        else:
            tally.faults.append(f"{name} with room again: status {status}: {told[-400:]}")


@contextlib.contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes at `folder`; needs the right to mount."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def can_mount(folder: Path) -> bool:
    """Whether file systems can be mounted here."""
    try:
        with mounted(folder, 8192):
            return True
    except (OSError, subprocess.SubprocessError):
        return False


# ---------------------------------------------------------------- the table


def main() -> int:
    """Print the table; the exit status: 1 where something is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default="")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        world = World(Path(folder))
        names = args.commands.split(",") if args.commands else list(world.commands)
        faults = []
        print("| command | interruption | times | ended before it | equal results | faults |")
        print("|---|---|---|---|---|---|")
        for name in names:
            for kind, tally in _rows(world, name, args.moments):
                row = (f"`{name}`", kind, tally.moments, tally.finished_first, tally.equal, len(tally.faults))
                print("|", " | ".join(map(str, row)), "|", flush=True)
                faults += tally.faults
                print("\n".join(tally.faults), file=sys.stderr, end="\n" * bool(tally.faults))
    return int(bool(faults))


def _rows(world: World, name: str, moments: int) -> Iterator[tuple[str, Tally]]:
    for kind in SIGNALS:
        tally = Tally()
        for number in range(moments):
            inside = name == "train" and number == 0
            interrupt(world, name, kind, tally, moment=random.uniform(0.02, 1.0), inside=inside)
        yield kind, tally
    tally = Tally()
    for _ in range(max(1, moments // 3)):
        twice(world, name, tally)
    yield "twice at once", tally
    if can_mount(world.folder / "results"):
        tally = Tally()
        for _ in range(max(1, moments // 3)):
            full_disk(world, name, tally, part=random.uniform(0.02, 0.95))
        yield "disk full", tally


if __name__ == "__main__":
    sys.exit(main())
