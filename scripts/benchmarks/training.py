"""Whether loading keeps up with training: the loader alone, the computation alone, and both.

    python scripts/benchmarks/training.py [--source VIDEOS] [--steps N] [--workers 0,1,2] [--quick] [--json
    FILE]

Clips are cut from JPEG frames of 1280x720, made by enlarging rendered clips or those of --source, and from
what `mamp data pack` makes of them. First the loader hands over clips, with workers and without; then steps
are trained, on a batch that is there already, and on what the loader brings; then one process reads pairs of
frames at random, by each reader. Blocks of steps take turns, so that a busy machine is fair to all. `step
over compute` takes the best number of workers. Bytes are what the process reads from files, memory is that of
all processes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import options, write
from PIL import Image

from mamp import config, methods
from mamp.config import Config, Root
from mamp.config.pack import PackConfig
from mamp.datasets.sequences import training_sequences
from mamp.loading.census import take_census
from mamp.loading.clips import ClipPlan
from mamp.loading.loader import ClipLoader
from mamp.methods.task import Batch
from mamp.tools.pack import pack
from mamp.training import distributed
from mamp.training.trainer import Trainer
from mamp.video.decoding import PyavReader, index_video
from mamp.video.frames import open_frames, read_image, read_scaled
from mamp.video.synthetic import render_clip

KEYFRAMES = (1, 4, 12)
PACKED = "packed"  # with the default interval
# the published width at 256 px, where steps are long, and the small network at 128 px, where loading weighs
# more
NETWORKS = {
    "width 1, 256 px, batch 4": ["data.size=256", "train.batch=4"],
    "width 0.5, 128 px, batch 8": ["method.encoder.width=0.5", "data.size=128", "train.batch=8"],
}
QUICK = {
    "width 0.125, 32 px, batch 2": [
        "method.encoder.width=0.125",
        "method.encoder.features=8",
        "method.training.radius=2",
        "data.size=32",
        "train.batch=2",
    ]
}


@dataclass(frozen=True)
class Effort:
    """How much is measured. size: (width, height) of the frames; seconds: for each reader and loader; steps:
    of a block.
    """

    videos: int
    frames: int
    size: tuple[int, int]
    seconds: float
    steps: int
    rounds: int
    workers: tuple[int, ...]
    networks: dict[str, list[str]]


def main() -> None:
    args = arguments()
    workers = tuple(int(number) for number in args.workers.split(","))
    effort = Effort(12, 40, (1280, 720), args.seconds, args.steps, args.rounds, workers, NETWORKS)
    if args.quick:
        effort = Effort(2, 14, (320, 180), 0.1, 2, 1, (0, 1), QUICK)
    print(f"threads: {torch.get_num_threads()}, processors: {os.cpu_count()}, torch: {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        roots = make_roots(Path(folder), effort, args.source)
        loaders = measure_loaders(roots, effort)
        trained = {n: measure_steps(roots, effort, n, args.device) for n in effort.networks}
        readers = measure_readers(roots, effort)  # last: where decord was used, workers begin more slowly
    first = next(iter(trained.values()))
    figures = {
        "step_over_compute": first["step_over_compute"],
        "packed_over_jpeg": readers["packed 1, by its index"]["clips_per_s"]
        / readers["JPEG, plain"]["clips_per_s"],
        "readers": readers,
        "loaders": loaders,
        "training": trained,
        "threads": torch.get_num_threads(),
    }
    ratios = ", ".join(f"{kind} {ratio:.3f}" for kind, ratio in figures["step_over_compute"].items())
    print(f"step over compute: {ratios}; packed over plain JPEG: {figures['packed_over_jpeg']:.1f}")
    write(figures, args.json)


def arguments() -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument("--source", type=Path, help="videos to enlarge (default: rendered clips)")
    parser.add_argument("--seconds", type=float, default=5, help="for each reader and each loader")
    parser.add_argument("--steps", type=int, default=8, help="steps of a block")
    parser.add_argument("--rounds", type=int, default=3, help="blocks of each kind; the median counts")
    parser.add_argument("--workers", default="0,1,2", help="numbers of loader processes")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--quick", action="store_true", help="tiny frames: only to see that it runs")
    return parser.parse_args()


# ---------------------------------------------------------------- what is read


def make_roots(folder: Path, effort: Effort, source: Path | None) -> dict[str, Path]:
    """Folders of the same clips: JPEG, and packed at each interval."""
    frames = folder / "frames"
    for video, pictures in enumerate(originals(effort, source)):
        (frames / f"{video:02d}").mkdir(parents=True)
        for number, picture in enumerate(pictures):
            large = Image.fromarray(picture).resize(effort.size, Image.Resampling.BICUBIC)
            large.save(frames / f"{video:02d}" / f"{number:05d}.jpg", quality=90)
    roots = {"frames": frames}
    for keyframes in KEYFRAMES:
        roots[f"packed {keyframes}"] = folder / f"packed{keyframes}"
        knobs = PackConfig(size=min(256, effort.size[1] // 2), keyframes=keyframes)
        pack(Root(path=frames, fps=24), roots[f"packed {keyframes}"], knobs, quiet=True)
    roots[PACKED] = roots[f"packed {PackConfig().keyframes}"]
    for name, root in roots.items():
        size = sum(file.stat().st_size for file in root.rglob("*.*") if file.suffix in (".jpg", ".mp4"))
        print(f"{name:12}{size / 1e6:9.1f} MB")
    return roots


def originals(effort: Effort, source: Path | None) -> Iterator[Iterator[np.ndarray]]:
    """uint8 (H, W, 3) frames of each video, smaller than they will be."""
    if source is None:
        small = effort.size[1] // 2, effort.size[0] // 2
        for seed in range(effort.videos):
            yield iter(render_clip(seed, frames=effort.frames, size=small, objects=2).frames)
        return
    for video in training_sequences([Root(path=source)])[: effort.videos]:
        with video.open() as clip:
            yield (clip[index] for index in range(min(effort.frames, len(clip))))


# ---------------------------------------------------------------- one process


def measure_readers(roots: dict[str, Path], effort: Effort) -> dict[str, dict[str, float]]:
    """Pairs of frames at random, each reader kept open on its video, as a worker keeps the last few."""
    side = min(256, effort.size[1] // 2)
    folders = sorted(roots["frames"].iterdir())
    jpeg = [sorted(folder.iterdir()) for folder in folders]
    readers: dict[str, Callable[[int, int], Any]] = {
        "JPEG, plain": lambda v, i: read_image(jpeg[v][i]),
        "JPEG, draft": lambda v, i: read_scaled(jpeg[v][i], side),
    }
    for keyframes in KEYFRAMES:
        files = [roots[f"packed {keyframes}"] / f"{folder.name}.mp4" for folder in folders]
        readers |= {f"packed {keyframes}, {name}": one for name, one in video_readers(files).items()}
    found = {}
    print(f"{'pairs of frames, one process':32}{'pairs/s':>10}{'kB/pair':>10}")
    for name, read in readers.items():
        rng = np.random.default_rng(0)
        for video in range(len(folders)):
            read(video, 0)  # opened
        count, began, bytes_before = 0, time.perf_counter(), bytes_read()
        while time.perf_counter() - began < effort.seconds:
            video = int(rng.integers(len(folders)))
            index = int(
                rng.integers(len(jpeg[video]) - 5)
            )  # a video of --source may have fewer than effort.frames
            for number in (index, index + 5):
                read(video, number)
            count += 1
        speed = count / (time.perf_counter() - began)
        found[name] = {"clips_per_s": speed, "bytes": (bytes_read() - bytes_before) / count}
        print(f"{name:32}{speed:10.1f}{found[name]['bytes'] / 1e3:10.1f}")
    return found


def video_readers(files: list[Path]) -> dict[str, Callable[[int, int], Any]]:
    """The ways to read a packed file: as the loader does, by its index, and as any video file."""
    packed = [open_frames(file) for file in files]
    pyav = [PyavReader(file, index_video(file)) for file in files]
    readers: dict[str, Callable[[int, int], Any]] = {
        "by its index": lambda v, i: packed[v][i],
        "PyAV": lambda v, i: pyav[v].frame(i),
    }
    with contextlib.suppress(ImportError):
        import decord

        films = [decord.VideoReader(str(file), num_threads=1) for file in files]
        readers["decord"] = lambda v, i: films[v][i].asnumpy()
    return readers


def bytes_read() -> int:
    """By this process, from files and caches alike (Linux; else 0)."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/io").read_text().split()[1])
    return 0


# ---------------------------------------------------------------- the loader


def settings(effort: Effort, network: str, root: Path, workers: int, *extra: str) -> Config:
    """What a run with this network and this data would have."""
    data = [f"data.root={root}@24", "data.fit=crop", "data.sampling=random", "data.clips_per_video=50"]
    lines = [*effort.networks[network], *data, "data.intervals=[2,5,8]", f"data.workers={workers}", *extra]
    return config.load(None, lines)


def open_loader(knobs: Config) -> ClipLoader:
    videos = training_sequences(knobs.data.root)
    plan = ClipPlan(take_census(videos), knobs.data, frames=2, batch=knobs.train.batch, seed=0)
    return ClipLoader(videos, plan, knobs.data)


def measure_loaders(roots: dict[str, Path], effort: Effort) -> dict[str, dict[str, float]]:
    """Clips a second that the loader hands over when nothing else is done."""
    network = next(iter(effort.networks))
    kinds = {
        "frames, plain": ("frames", "data.scaled_jpeg=false"),
        "frames, draft": ("frames", "data.scaled_jpeg=true"),
    }
    kinds |= {f"packed {k}": (f"packed {k}", "data.scaled_jpeg=true") for k in KEYFRAMES}
    print(f"{'loader alone, clips/s':32}" + "".join(f"{w} workers".rjust(12) for w in effort.workers))
    found: dict[str, dict[str, float]] = {}
    for kind, (root, extra) in kinds.items():
        found[kind] = {}
        for workers in effort.workers:
            knobs = settings(effort, network, roots[root], workers, extra)
            found[kind][str(workers)] = loader_speed(open_loader(knobs), effort.seconds)
        print(f"{kind:32}" + "".join(f"{speed:12.1f}" for speed in found[kind].values()))
    return found


def loader_speed(loader: ClipLoader, seconds: float) -> float:
    with contextlib.closing(loader.batches()) as batches:
        for _ in range(1 + 2 * loader.workers):  # what was decoded ahead
            next(batches)
        clips, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            clips += len(next(batches)[0])
        return clips / (time.perf_counter() - began)


# ---------------------------------------------------------------- training


def measure_steps(roots: dict[str, Path], effort: Effort, network: str, device: str) -> dict[str, Any]:
    """Seconds of a step on a ready batch, and on batches of the loader, for each number of workers."""
    knobs = settings(effort, network, roots["frames"], 0, f"train.steps={10**6}")
    seconds: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    with distributed.join(device, timeout=60) as ranks:
        task = methods.require(knobs.method.name, "task")(knobs)
        trainer = Trainer(task, knobs, ranks, steps=10**6, provenance={})
        ready = Batch(*next(open_loader(knobs).batches()))
        step_seconds(trainer, lambda: ready, effort.steps)  # warm
        for _ in range(effort.rounds):
            seconds.setdefault("compute", []).append(step_seconds(trainer, lambda: ready, effort.steps))
            for kind in ("frames", PACKED):
                for workers in effort.workers:
                    name = f"{kind}, {workers} workers"
                    loader = open_loader(settings(effort, network, roots[kind], workers))
                    took, held = loaded_steps(trainer, loader, effort.steps)
                    seconds.setdefault(name, []).append(took)
                    memory[name] = max(memory.get(name, 0), held)
    medians = {name: statistics.median(took) for name, took in seconds.items()}
    print(f"{network:32}{'s/step':>10}{'/compute':>10}{'MB':>10}")
    for name, took in medians.items():
        held = f"{memory[name]:10.0f}" if name in memory else ""
        print(f"{name:32}{took:10.4f}{took / medians['compute']:10.3f}{held}")
    ratios = {
        kind: (
            min(medians[f"{kind}, {w} workers"] for w in effort.workers if w or len(effort.workers) == 1)
            / medians["compute"]
        )
        for kind in ("frames", PACKED)
    }
    return {"step_over_compute": ratios, "seconds": medians, "memory_mb": memory}


def loaded_steps(trainer: Trainer, loader: ClipLoader, steps: int) -> tuple[float, float]:
    """Seconds of a step once the workers are fully ahead, and the megabytes that all processes hold."""
    with contextlib.closing(loader.batches()) as batches:
        step_seconds(trainer, lambda: Batch(*next(batches)), 2)
        took = step_seconds(trainer, lambda: Batch(*next(batches)), steps)
        return took, held_mb()


def step_seconds(trainer: Trainer, bring: Callable[[], Batch], steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        trainer.learn(bring())
    trainer.settle()  # waits for the device
    return (time.perf_counter() - began) / steps


def held_mb() -> float:
    """Memory of this process and its children, shared pages counted once (Linux; else 0)."""
    total = 0
    with contextlib.suppress(OSError):
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        for pid in ("self", *children):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


if __name__ == "__main__":
    main()
