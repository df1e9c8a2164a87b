"""How long SSM-VOS takes for a frame with one object and with several, and what a reference costs and holds.

    python scripts/benchmarks/ssm.py [--quick] [--backbone resnet18] [--size 480 854] [--input 256 256]
    [--objects 5] [--frames 10] [--cpu-time] [--json FILE]

Every object is a crop of its own, stretched to --input. Figures are medians of frames that take turns;
weights are random, which changes no time. --cpu-time counts the seconds of the processor, not of the clock:
for one thread on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch  # noqa: E402
from machine import processor  # noqa: E402

from mamp import config, methods  # noqa: E402
from mamp.core.files import MB  # noqa: E402


def main() -> None:
    """Measure and print; --json writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small network and few frames")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"), help="of frames")
    parser.add_argument("--input", type=int, nargs=2, default=(256, 256), metavar=("H", "W"), help="of crops")
    parser.add_argument("--objects", type=int, default=5, help="beside one (default %(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="timed frames (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-time", action="store_true", help="processor's seconds; use one thread")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    size, crops = ((64, 96), (64, 64)) if args.quick else (tuple(args.size), tuple(args.input))
    network = f"backbone: {args.backbone}"
    if args.quick:
        network += ", width: 0.125, top_k: 8, decoder: 8, context: centred"
    figures = measure(
        build(f"{{{network}}}", crops),
        size,
        objects=args.objects,
        frames=2 if args.quick else args.frames,
        device=args.device,
        clock=time.process_time if args.cpu_time else time.perf_counter,
    )
    print(
        f"{processor()}, {args.backbone}, frames {size[0]}x{size[1]}, crops {crops[0]}x{crops[1]},"
        f" {torch.get_num_threads()} threads"
    )
    for name, value in figures.items():
        print(f"{name:32s} {value:.4g}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))


def build(network: str, crops: tuple[int, ...]) -> Callable[[str], Any]:
    """Makes propagators of one network with random weights."""
    torch.manual_seed(0)
    sizes = f"method.propagation.input_size={list(crops)}"
    method = config.load(None, ["method.name=ssm", f"method.network={network}", sizes]).method
    package = methods.get("ssm")
    model = package.build_model(method).eval()
    return lambda device: package.build_propagator(model.to(device), method, device=device)


def squares(count: int, size: tuple[int, ...]) -> torch.Tensor:
    """Masks (K, H, W) of `count` squares in a row."""
    height, width = size
    masks = torch.zeros(count, height, width)
    side = min(height, width) // 6
    for k in range(count):
        left = (k * width) // count
        masks[k, height // 3 : height // 3 + side, left : left + side] = 1
    return masks


@torch.no_grad()
def measure(
    make: Callable[[str], Any],
    size: tuple[int, ...],
    *,
    objects: int,
    frames: int,
    device: str,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Seconds by `clock`, and bytes, by name. Every frame begins with the same masks, so that crops have
    their sizes.
    """
    counts = (1, objects)
    carriers = {count: make(device) for count in counts}

    def seconds(work: Callable[[], object]) -> float:
        _finish(device)
        began = clock()
        work()
        _finish(device)
        return clock() - began

    took: dict[int, list[float]] = {count: [] for count in counts}
    begun: dict[int, list[float]] = {count: [] for count in counts}
    for frame in torch.rand(frames + 1, 3, *size).to(device):
        for count, carrier in carriers.items():
            masks = squares(count, size).to(device)
            begun[count].append(seconds(lambda c=carrier, m=masks, f=frame: c.start(f, m)))
            took[count].append(seconds(lambda c=carrier, f=frame: c.step(f)))
    one, many = (statistics.median(took[count][1:]) for count in counts)  # without the first, which warms up
    first = statistics.median(begun[1][1:])
    return {
        "seconds a frame, one object": one,
        f"seconds a frame, {objects} objects": many,
        f"{objects} objects over one": many / one,
        "seconds a reference": first,
        "reference each frame, over ours": (one + first) / one,
        "memory of an object, MB": carriers[1].memory_bytes / MB,
    }


def _finish(device: str) -> None:
    """Wait for what a GPU still does."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
