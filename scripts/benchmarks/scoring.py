"""How long scoring takes: the official algorithm written plainly, vos-benchmark, and ours, on the same masks.

    python scripts/benchmarks/scoring.py [--full] [--masks DIR] [--runs N] [--json FILE]

The masks are the size of DAVIS-2017's at 480p. --full makes as many as DAVIS-2017 val has: 30 sequences, 61
objects, 1,999 frames. --masks DIR takes real ones from DIR/osvos_dev_truth and DIR/osvos_dev and lays them
over one another; without it they are rendered. Figures are medians of the runs, which take turns, so that a
busy machine is fair to all: ratios to the official algorithm are of CPU seconds on masks in memory, the
others of seconds by the clock, from files.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import options, processor, write

from mamp.core.files import MB
from mamp.scoring import Scores, score, score_sequence
from mamp.video.masks import read_mask, write_mask

SIZE = (480, 854)
Clip = tuple[np.ndarray, np.ndarray]  # truth and result, (T, H, W)
cv2: Any = None  # imported below, by this process alone: those that scoring is shared among need neither
vos_benchmark: Any = None


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--full", action="store_true", help="as many sequences, objects and frames as DAVIS-2017 val"
    )
    parser.add_argument("--masks", type=Path, help="folder with osvos_dev_truth and osvos_dev")
    parser.add_argument("--runs", type=int, default=3, help="runs of each that the medians are of")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), full=args.full, masks=args.masks, runs=args.runs)
    print("\n".join(f"{key}: {value}" for key, value in figures.items()))
    write(figures, args.json)


def measure(folder: Path, *, full: bool, masks: Path | None, runs: int) -> dict[str, object]:
    """All figures; two loops, of masks in memory and of masks in files."""
    clips = write_set(folder, sources(masks), full=full)
    memory = in_memory(clips, runs=runs)
    seconds, vos_difference = in_files(folder, runs=runs)
    one, two = seconds["ours, 1 process"], seconds["ours, 2 processes"]
    figures: dict[str, object] = {
        "official_over_ours": memory["plain"] / memory["ours"],
        "two_processes_speedup": one / two,
        "vos_benchmark_over_ours": None,
        "largest_difference": memory["difference"],
        "official_without_making_masks_over_ours": (memory["plain"] - memory["plain_masks"]) / memory["ours"],
        "official_ms_per_frame": 1e3 * memory["plain"],
        "ours_ms_per_frame": 1e3 * memory["ours"],
        "seconds_with_decoding": seconds,
    }
    if vos_difference is not None:
        figures["vos_benchmark_over_ours"] = seconds["vos-benchmark, 1 process"] / one
        figures["vos_benchmark_over_ours_two_processes"] = seconds["vos-benchmark, 2 processes"] / two
        figures["largest_difference_to_vos_benchmark"] = vos_difference
    return {**figures, **machine(folder, real=masks is not None)}


def machine(folder: Path, *, real: bool) -> dict[str, object]:
    """What the figures were taken on."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "frames": len(list((folder / "truth").glob("*/*.png"))),
        "sequences": len(list((folder / "truth").iterdir())),
        "masks": "real, laid over one another" if real else "rendered",
        "dilation_of_plain": "cv2.dilate, 1 thread" if cv2 else "numpy",
        "processor": processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "peak_memory_of_a_process_mb": peak * 1024 / MB,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


# ---------------------------------------------------------------- what is measured


def in_memory(clips: list[Clip], *, runs: int) -> dict[str, float]:
    """CPU seconds a frame on one thread: the plain algorithm, its J and F alone, this package; how they differ."""
    seconds: dict[str, list[float]] = {"plain": [], "plain_masks": [], "ours": []}
    difference = 0.0
    for _ in range(runs):
        for truth, result in clips:
            frames = len(truth) - 2
            plain, taken = timed(lambda t=truth, r=result: plain_sequence(t, r), clock=time.process_time)
            seconds["plain"].append(taken / frames)
            number = int(truth[0].max())
            _, taken = timed(
                lambda t=truth, r=result, n=number: [one_hot(x[1:-1], n) for x in (t, r)],
                clock=time.process_time,
            )
            seconds["plain_masks"].append(taken / frames)
            ours, taken = timed(
                lambda t=truth, r=result: score_sequence(t, r, "davis2017"), clock=time.process_time
            )
            seconds["ours"].append(taken / frames)
            for number, (j, f) in plain.items():
                worst = max(np.abs(ours[number].j - j).max(), np.abs(ours[number].f - f).max())
                difference = max(difference, float(worst))
    per_clip = {name: np.median(np.reshape(values, (runs, -1)), axis=0) for name, values in seconds.items()}
    return {**{name: float(values.mean()) for name, values in per_clip.items()}, "difference": difference}


def in_files(folder: Path, *, runs: int) -> tuple[dict[str, float], float | None]:
    """Median seconds of scoring the whole folder, and the largest difference of a J or F to vos-benchmark."""
    truth, result = folder / "truth", folder / "result"
    jobs: dict[str, Callable[[], object]] = {}
    for n in (1, 2):
        words = f"{n} process" + "es" * (n > 1)
        jobs[f"ours, {words}"] = lambda n=n: score(truth, result, protocol="davis2017", processes=n)
        if vos_benchmark is not None:
            jobs[f"vos-benchmark, {words}"] = lambda n=n: vos_benchmark(
                [str(truth)], [str(result)], num_processes=n, verbose=False
            )
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    found: dict[str, object] = {}
    for _ in range(runs):
        for name, job in jobs.items():
            found[name], taken = timed(job)
            seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    if vos_benchmark is None:
        return medians, None
    return medians, difference_to(found["ours, 1 process"], found["vos-benchmark, 1 process"][3][0])


def difference_to(ours: Scores, theirs: dict[str, tuple[dict[int, float], dict[int, float]]]) -> float:
    """Of object means; theirs are in percent."""
    return max(
        max(abs(row["J-Mean"] - theirs[name][0][k] / 100), abs(row["F-Mean"] - theirs[name][1][k] / 100))
        for name, k, row in ours.objects()
    )


def timed(job: Callable[[], Any], *, clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    began = clock()
    value = job()
    return value, clock() - began


# ---------------------------------------------------------------- the official algorithm, plainly


def plain_sequence(truth: np.ndarray, result: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """J and F of each object in all frames but the first and the last, as the published tool computes them.

    A plane of float64 an object and frame, on whole frames, a void map that is empty here but taken out all
    the same, every mask's boundary and its dilation on their own.
    """
    count = int(truth[0].max())
    true_masks, masks = (one_hot(labels[1:-1], count) for labels in (truth, result))
    return {
        k: (plain_j(t, r), np.array([plain_f(a, b) for a, b in zip(t, r, strict=True)]))
        for k, t, r in zip(range(1, count + 1), true_masks, masks, strict=True)
    }


def one_hot(labels: np.ndarray, count: int) -> np.ndarray:
    """bool (K, T, H, W)."""
    numbers = np.ones((count, *labels.shape)) * np.arange(1, count + 1)[:, None, None, None]
    return numbers == labels.astype(np.float64)[None]


def plain_j(truth: np.ndarray, result: np.ndarray) -> np.ndarray:
    """(T,), of all frames of an object."""
    void = np.zeros_like(truth)
    intersection = np.sum(truth & result & ~void, axis=(1, 2))
    union = np.sum((truth | result) & ~void, axis=(1, 2))
    return np.where(union == 0, 1.0, intersection / np.maximum(union, 1))


def plain_f(truth: np.ndarray, result: np.ndarray) -> float:
    void = np.zeros_like(truth)
    radius = math.ceil(0.008 * np.linalg.norm(truth.shape))
    true_edge, edge = plain_boundary(truth * ~void), plain_boundary(result * ~void)
    matched = edge * plain_dilation(true_edge, radius)
    true_matched = true_edge * plain_dilation(edge, radius)
    count, true_count = np.sum(edge), np.sum(true_edge)
    if count == 0 or true_count == 0:
        return float(count == true_count)
    precision, recall = np.sum(matched) / count, np.sum(true_matched) / true_count
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    right, below, corner = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], below[:-1], corner[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask ^ right) | (mask ^ below) | (mask ^ corner)
    edge[-1] = mask[-1] ^ right[-1]
    edge[:, -1] = mask[:, -1] ^ below[:, -1]
    edge[-1, -1] = False
    return edge


def plain_dilation(edge: np.ndarray, radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = y * y + x * x <= radius * radius
    if cv2 is not None:
        return cv2.dilate(edge.astype(np.uint8), disk.astype(np.uint8)) > 0
    height, width = edge.shape
    padded = np.pad(edge, radius)
    out = np.zeros_like(edge)
    for dy, dx in np.argwhere(disk):
        out |= padded[dy : dy + height, dx : dx + width]
    return out


# ---------------------------------------------------------------- the masks


def sources(masks: Path | None) -> list[Clip]:
    """One-object clips at 480p, uint8 0 or 1."""
    if masks is None:
        return [rendered(seed) for seed in range(4)]
    clips = []
    for truth in sorted((masks / "osvos_dev_truth").iterdir()):
        names = sorted(file.name for file in truth.glob("*.png"))[:66]
        pair = [
            np.stack([read_mask(folder / n) for n in names])
            for folder in (truth, masks / "osvos_dev" / truth.name)
        ]
        clips.append((pair[0], pair[1]))
    return clips


def rendered(seed: int) -> Clip:
    """A rendered object; the result lags a frame behind the truth, with specks."""
    from mamp.video.synthetic import render_clip

    small = render_clip(seed, frames=24, size=(SIZE[0] // 2, SIZE[1] // 2), objects=1).labels
    truth = np.repeat(np.repeat(small, 2, axis=1), 2, axis=2)
    result = np.concatenate([truth[:1], truth[:-1]])
    specks = np.random.default_rng(seed).integers(0, SIZE, size=(len(truth), 3, 2))
    for t, places in enumerate(specks):
        for y, x in places:
            result[t, y : y + 6, x : x + 6] ^= 1
    return truth, result


def write_set(folder: Path, clips: list[Clip], *, full: bool) -> list[Clip]:
    """Write truth/SEQ and result/SEQ with 1, 2 and 3 objects in turn; return the first frames of some."""
    counts = [1, 2, 3] * 9 + [1, 2, 4] if full else [1, 2, 3] * 3
    kept = []
    for s, objects in enumerate(counts):
        frames = 67 - (s % 30 >= 19) if full else 60
        chosen = [clips[(s + 3 * k) % len(clips)] for k in range(objects)]
        for t in range(frames):
            maps = [laid_over([clip[side][bounce(t, len(clip[side]))] for clip in chosen]) for side in (0, 1)]
            for name, labels in zip(("truth", "result"), maps, strict=True):
                (folder / name / f"s{s:02d}").mkdir(parents=True, exist_ok=True)
                write_mask(folder / name / f"s{s:02d}" / f"{t:05d}.png", labels)
            if s < 3 and t < 12:
                kept.append((s, *maps))
    return [
        (np.stack([m[1] for m in kept if m[0] == s]), np.stack([m[2] for m in kept if m[0] == s]))
        for s in range(3)
    ]


def bounce(t: int, length: int) -> int:
    """Forwards and backwards through a clip."""
    t %= 2 * length - 2
    return min(t, 2 * length - 2 - t)


def laid_over(masks: list[np.ndarray]) -> np.ndarray:
    labels = np.zeros(SIZE, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        labels[mask > 0] = number
    return labels


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)
    with contextlib.suppress(ImportError):
        from vos_benchmark.benchmark import benchmark as vos_benchmark
    main()
