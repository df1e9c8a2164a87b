"""How long STM takes for a frame, what a loop of correction costs, and what a long video holds.

    python scripts/benchmarks/stm.py [--quick] [--backbone resnet18] [--size 240 427] [--frames 40]
    [--cpu-time] [--json FILE]

The floor is one query encoding and one memorising. Figures are medians of frames that take turns; weights are
random, which changes no time. --cpu-time counts the seconds of the processor, not of the clock: for one
thread on a busy machine.
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

OBJECTS = 2


def main() -> None:
    """Measure and print; --json writes the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small network and few frames")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 427), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=40, help="timed frames (default %(default)s)")
    parser.add_argument("--cpu-time", action="store_true", help="processor's seconds; use one thread")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    size = (64, 96) if args.quick else tuple(args.size)
    width = 0.125 if args.quick else 1.0
    network = f"method.network={{backbone: {args.backbone}, width: {width}}}"
    figures = measure(
        network,
        size,
        frames=args.frames,
        long=200 if args.quick else 1000,
        clock=time.process_time if args.cpu_time else time.perf_counter,
    )
    print(
        f"{processor()}, {args.backbone}, {size[0]}x{size[1]}, {OBJECTS} objects, {torch.get_num_threads()}"
        " threads"
    )
    for name, value in figures.items():
        print(f"{name:32s} {value:.4g}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2))


def build(network: str, *knobs: str) -> Any:
    """A propagator with random weights."""
    torch.manual_seed(0)
    overrides = ["method.name=stm", network, *(f"method.propagation.{knob}" for knob in knobs)]
    method = config.load(None, overrides).method
    package = methods.get("stm")
    return package.build_propagator(package.build_model(method).eval(), method)


def started(carrier: Any, size: tuple[int, ...]) -> Any:
    """The propagator with its first frame and masks."""
    masks = torch.zeros(OBJECTS, *size)
    masks[0, : size[0] // 3, : size[1] // 3] = 1
    masks[1, size[0] // 2 :, size[1] // 2 :] = 1
    carrier.start(torch.rand(3, *size), masks)
    return carrier


@torch.no_grad()
def measure(
    network: str, size: tuple[int, ...], *, frames: int, long: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Seconds by `clock`, and bytes, by name."""

    def seconds(work: Callable[[], object]) -> float:
        began = clock()
        work()
        return clock() - began

    carrier, loops = started(build(network), size), 4
    steps, looks, memorised = [], [], []
    for _ in range(frames):
        frame = torch.rand(3, *size)
        steps.append(seconds(lambda frame=frame: carrier.step(frame)))
        pending = carrier.pending
        masks, owner = carrier.fit.to_network(pending.labels[1:]), carrier._owner(OBJECTS)
        looks.append(seconds(lambda p=pending: carrier.model.look(p.frame)))
        memorised.append(seconds(lambda p=pending, m=masks, o=owner: carrier.model.memorise(p.frame, m, o)))
    correcting = started(build(network, f"correction_loops={loops}", "every=1"), size)
    corrected = [seconds(lambda: correcting.step(torch.rand(3, *size))) for _ in range(max(3, frames // 10))]
    floor = statistics.median(looks) + statistics.median(memorised)
    step = statistics.median(steps)
    # a long video, in a small frame and with all frames remembered that may be
    video = started(build("method.network={backbone: resnet18, width: 0.125}", "every=2"), (48, 64))
    held = []
    for _ in range(long):
        video.step(torch.rand(3, 48, 64))
        held.append(video.memory_bytes)
    return {
        "seconds a frame": step,
        "seconds of the floor": floor,
        "frame over floor": step / floor,
        "seconds a correction loop": (statistics.median(corrected) - step) / loops,
        "memory at frame 100, MB": held[99] / MB,
        f"memory at frame {long}, MB": held[-1] / MB,
        "late over early memory": held[-1] / held[99],
    }


if __name__ == "__main__":
    main()
