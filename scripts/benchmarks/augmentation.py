"""How long each step of the augmentation takes, as it is written and compiled by torch.compile.

    python scripts/benchmarks/augmentation.py [--quick] [--eager] [--runs N] [--device D] [--json FILE]

Random frames, the batch that a step of training has: 4 clips of 2 frames, 320 px cropped to 256. A step is
`augment` with one knob on; what `nothing` takes (bytes to floats) is in each. `Lab` is the colour
conversion alone. Figures are medians of the runs, which take turns, so that a busy machine is fair to all;
compiling itself is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from common import options, write

from mamp.config import Augment
from mamp.core.devices import pick_device
from mamp.loading.augmentation.unlabelled import DRAWS, augment
from mamp.ops.colour import rgb_to_lab

KNOBS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "flip": {"flip": 0.5},
    "reverse": {"reverse": 0.5},
    "brightness": {"brightness": 0.3},
    "saturation": {"saturation": 0.3},
    "hue": {"hue": 0.1},
}  # fmt: skip
CROP = {"crop": (0.3, 1.0)}
ALL = {**CROP, "flip": 0.5, "reverse": 0.5, "brightness": 0.3, "saturation": 0.3, "hue": 0.1}
Job = Callable[[], object]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny frames: only to see that it runs")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--runs", type=int, default=9, help="runs of each that the medians are of")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    args = parser.parse_args()
    device = pick_device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(f"device: {name}, threads: {torch.get_num_threads()}, torch: {torch.__version__}")
    clips, size = (2, 32) if args.quick else (4, 256)
    runs = 1 if args.quick else args.runs
    eager = timed(jobs(clips, size, device, wrap=lambda f: f), runs=runs, device=device)
    compiled = {}
    if not args.eager:
        torch._dynamo.config.cache_size_limit = 4 * len(
            eager
        )  # each job is another trace of the same functions
        wrapped = jobs(clips, size, device, wrap=lambda f: torch.compile(f, dynamic=False))
        compiled = timed(wrapped, runs=runs, device=device)
    print(f"{'ms a clip':24}{'eager':>10}{'compiled':>10}")
    for step, seconds in eager.items():
        other = f"{1000 * compiled[step] / clips:10.2f}" if step in compiled else f"{'-':>10}"
        print(f"{step:24}{1000 * seconds / clips:10.2f}{other}")
    figures = {"device": name, "clips": clips, "size": size, "eager": eager, "compiled": compiled}
    write(figures, args.json)


def jobs(clips: int, size: int, device: torch.device, *, wrap: Callable[[Any], Any]) -> dict[str, Job]:
    """Each step alone, and the chains that recipes are made of."""
    torch.manual_seed(0)
    same = torch.randint(0, 256, (clips, 2, 3, size, size), dtype=torch.uint8).to(device)
    larger = torch.randint(0, 256, (clips, 2, 3, size * 5 // 4, size * 5 // 4), dtype=torch.uint8).to(device)
    draw = torch.rand(clips, DRAWS).to(device)
    rgb = same.float() / 255
    plain = partial(augment, size=size)
    steps = {
        name: partial(wrap(partial(plain, knobs=Augment(**knobs))), same, draw=draw)
        for name, knobs in KNOBS.items()
    }
    steps["crop"] = partial(wrap(partial(plain, knobs=Augment(**CROP))), larger, draw=draw)
    steps["Lab"] = partial(wrap(rgb_to_lab), rgb)
    for name, knobs in (
        ("published recipe", {}),
        ("crop, flip, Lab", {**CROP, "flip": 0.5}),
        ("all, Lab", ALL),
    ):
        frames = larger if knobs else same
        steps[name] = partial(wrap(partial(whole, knobs=Augment(**knobs), size=size)), frames, draw)
    return steps


def whole(frames: torch.Tensor, draw: torch.Tensor, *, knobs: Augment, size: int) -> torch.Tensor:
    """What the device does to a batch before the network."""
    return rgb_to_lab(augment(frames, knobs, size=size, draw=draw))


def timed(steps: dict[str, Job], *, runs: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each, after two runs that do not count; one that does not compile is left out."""
    seconds: dict[str, list[float]] = {}
    for name, job in steps.items():
        try:
            job(), job()
        except Exception as error:
            print(f"{name} does not compile: {str(error).strip().splitlines()[0]}")
        else:
            seconds[name] = []
    for _ in range(runs):
        for name in seconds:
            began = time.perf_counter()
            steps[name]()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
