"""Label propagation by DINO's protocol: this package against the published dense affinity.

    python scripts/benchmarks/probe.py [--quick] [--frames N] [--only s16|s8] [--device D] [--json FILE]

One sequence of 80 frames of 480 x 832 pixels, three objects, features of the sizes that ViT-S/16 and ViT-S/8
give (384 channels, 30 x 52 and 60 x 104 cells): random, moving, with noise, made frame by frame, so that no
encoder is timed. Both ways begin with the same first labels, keep the same eight context frames and bring
scores to the frame by the same function. They differ in how a frame's labels are read.

The published way is written anew from its description: one matrix per context frame of every position with
every position, times a window of ones and zeros, a threshold at the fifth best, a division by the sum. (The
published script makes that window by four nested loops in Python; here it is made at once.)

Each way has a process of its own, whose peak is counted from what it had before the first frame. On the CPU
that peak is printed twice: of the whole run, with what the C library's allocator keeps for later ("process"),
and of a second, shorter run in which every larger piece goes back to the system when it is freed ("held").
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from common import options, told, write

from mamp import config
from mamp.core.devices import pick_device
from mamp.methods.probe.grids import to_frame, to_grid
from mamp.methods.probe.propagator import ProbePropagator

SIZE, CHANNELS, OBJECTS, FRAMES = (480, 832), 384, 3, 80
CASES = {"s16": 16, "s8": 8}  # pixels to a cell
WAYS = ("ours", "published way")
FULL = 12  # frames after which no context frame is missing
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny frames: only to see that it runs")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of the sequence (default %(default)s)")
    parser.add_argument("--only", choices=CASES, help="one of the two sizes")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--way", nargs=2, metavar=("CASE", "FILE"), help=argparse.SUPPRESS)
    parser.add_argument("--published", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.frames = 6
    if args.way:
        print(json.dumps(measure(args)))
        return
    figures: dict[str, Any] = {
        "frames": args.frames,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for case in [args.only] if args.only else CASES:
        figures[case] = compare(args, case)
        print_table(case, figures[case])
    write(figures, args.json)


def compare(args: argparse.Namespace, case: str) -> dict[str, Any]:
    """Both ways in processes of their own, their ratios, and where their label maps differ."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            file = Path(folder) / f"{way}.npy"
            found[way] = one_way(args, case, way, file=file, frames=args.frames)
            alone = one_way(args, case, way, file=Path(folder) / "short.npy", frames=FULL, **EXACT)
            found[way]["held_mb"] = alone["peak_mb"]
        ours, theirs = (np.load(Path(folder) / f"{way}.npy") for way in WAYS)
    for ratio, key in (("memory", "held_mb"), ("process", "peak_mb"), ("time", "seconds")):
        found[f"{ratio}_ratio"] = found["ours"][key] / found["published way"][key]
    found["different_pixels"] = int((ours != theirs).sum())
    found["pixels"] = ours.size
    return found


def one_way(
    args: argparse.Namespace, case: str, way: str, *, file: Path, frames: int, **environment: str
) -> dict[str, Any]:
    """What `measure` says of it in a process with these further variables."""
    words = [sys.executable, __file__, "--way", case, file, "--frames", frames, "--device", args.device]
    words += ["--quick"] * args.quick + ["--published"] * (way != "ours")
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def print_table(case: str, found: dict[str, Any]) -> None:
    for way in WAYS:
        figures = found[way]
        print(
            f"{case:4} {way:14} {figures['seconds']:8.1f} s  {figures['cpu_seconds']:8.1f} CPU s "
            f" {figures['held_mb']:6.0f} MB held, process {figures['peak_mb']:.0f} MB above"
            f" {figures['before_mb']:.0f}"
        )
    print(
        f"{case:4} ours / published way: memory {found['memory_ratio']:.3f} (process"
        f" {found['process_ratio']:.3f}), time {found['time_ratio']:.3f}; {found['different_pixels']} of"
        f" {found['pixels']} pixels differ"
    )


# ---------------------------------------------------------------- one way, in its own process


@torch.inference_mode()
def measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds and peak memory of one way over the sequence; its label maps go to the file."""
    case, file = args.way
    device = pick_device(args.device)
    carry = published_way if args.published else ours
    small = 96, 128
    warming = moving(CASES[case], small, 4, device)  # what the libraries load at first use is not the way's
    step = carry(next(warming), squares(small, device), CASES[case], small)
    for frame in warming:
        step(frame)
    size = small if args.quick else SIZE
    features = moving(CASES[case], size, args.frames, device)
    labels = np.full((args.frames - 1, *size), 255, np.uint8)  # there before the first frame
    first = next(features)
    before = start_of_peak(device)
    step = carry(first, squares(size, device), CASES[case], size)
    seconds, cpu = 0.0, 0.0
    for t, frame in enumerate(features):
        began, cpu_began = time.perf_counter(), time.process_time()
        probabilities = step(frame)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds += time.perf_counter() - began
        cpu += time.process_time() - cpu_began
        labels[t] = probabilities.argmax(0).cpu().numpy()
    held = peak(device)
    np.save(file, labels)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb": (held - before) / 1e6,
        "before_mb": before / 1e6,
    }


def moving(cell: int, size: tuple[int, int], frames: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Features (C, h, w) of unit length: a random field that moves right every fourth frame, and
    noise."""
    generator = torch.Generator().manual_seed(0)
    shape = CHANNELS, size[0] // cell, size[1] // cell
    field = torch.randn(shape, generator=generator)
    for t in range(frames):
        noisy = field.roll(t // 4, dims=-1) + 0.5 * torch.randn(shape, generator=generator)
        yield F.normalize(noisy, dim=0).to(device)


def squares(size: tuple[int, int], device: torch.device) -> torch.Tensor:
    """(K, H, W) masks of objects in a row."""
    masks = torch.zeros(OBJECTS, *size, device=device)
    side = size[1] // (OBJECTS + 1)
    for k in range(OBJECTS):
        masks[k, size[0] // 4 : size[0] // 2, k * side + 16 : (k + 1) * side] = 1
    return masks


class Given(torch.nn.Module):
    """An encoder whose next answer is put into it."""

    normalises, patch = True, 1
    features = torch.empty(0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w)."""
        return self.features[None]


Step = Callable[[torch.Tensor], torch.Tensor]


def ours(first: torch.Tensor, masks: torch.Tensor, cell: int, size: tuple[int, int]) -> Step:
    """A step: features of a frame -> probabilities (K+1, H, W)."""
    method = config.load(None, ["method=probe", "method.preset=dino", "method.input.rule=native"]).method
    encoder = Given()
    propagator = ProbePropagator(encoder, method, device=first.device)
    encoder.features = first
    frame = torch.zeros(1, 1, 1, device=first.device).expand(3, *size)  # never looked at
    propagator.start(frame, masks)

    def step(features: torch.Tensor) -> torch.Tensor:
        encoder.features = features
        return propagator.step(frame)

    return step


def published_way(first: torch.Tensor, masks: torch.Tensor, cell: int, size: tuple[int, int]) -> Step:
    """The same by a dense affinity (DINO, section 4.2.2 and its evaluation script)."""
    _, height, width = first.shape
    labels = torch.cat((1 - masks.sum(0, keepdim=True), masks))
    first_labels = to_grid(labels, (height, width), how="nearest", between=size)
    window = near(height, width, radius=12, device=first.device)
    context: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=7)

    def step(features: torch.Tensor) -> torch.Tensor:
        frames = [(first, first_labels), *context]
        keys = torch.stack([key.flatten(1).T for key, _ in frames])  # (M, h*w, C)
        affinity = torch.exp(torch.bmm(keys, features.flatten(1).expand(len(keys), -1, -1)) / 0.1)
        affinity *= window  # (M, h*w, h*w), key by query
        affinity = affinity.flatten(0, 1)
        least = affinity.topk(5, dim=0).values[-1]
        affinity[affinity < least] = 0
        affinity /= affinity.sum(0, keepdim=True)
        values = torch.cat([value.flatten(1) for _, value in frames], dim=1)  # (K+1, M*h*w)
        scores = (values @ affinity).unflatten(1, (height, width))
        context.append((features, scores))
        return to_frame(scores, size, how="patch", stretch="dino", cell=cell)

    return step


def near(height: int, width: int, *, radius: int, device: torch.device) -> torch.Tensor:
    """(h*w, h*w), 1 where two positions are at most r rows and r columns apart."""
    y, x = (
        side.flatten() for side in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    )
    rows = (y[:, None] - y[None]).abs() <= radius
    columns = (x[:, None] - x[None]).abs() <= radius
    return (rows & columns).float().to(device)


# ---------------------------------------------------------------- memory


def start_of_peak(device: torch.device) -> float:
    """Bytes held now; the peak begins anew where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return told("VmRSS")


def peak(device: torch.device) -> float:
    """Most bytes held since then."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else told("VmHWM")


if __name__ == "__main__":
    main()
