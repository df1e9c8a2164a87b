"""All methods side by side: parameters, seconds a frame and peak memory, in one run on one machine.

    python scripts/benchmarks/methods.py [--size 480 854] [--frames 8] [--objects 1] [--device D] [--quick]
    [--json FILE]

Networks of the published sizes with random weights, which changes no time. Each method sees the same
rendered video, in a process of its own: with its default settings, and with frames as they are ("native";
SSM-VOS cuts out crops of its own size either way). The first frames, in which memory fills, are not
timed. Peak memory is the whole process's, libraries included; on CUDA what was allocated there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from common import options, peak, processor, write

from mamp.core.devices import amp_dtype, pick_device
from mamp.core.files import MB
from mamp.segmentation import model as models
from mamp.video.synthetic import render_clip

BACKBONE = "method.network.backbone"
ROWS = {  # method, settings beside the defaults
    "mamp": ("mamp", []),
    "mamp, native": ("mamp", ["method.propagation.short_side=null"]),
    "stm, ResNet-18": ("stm", [f"{BACKBONE}=resnet18"]),
    "stm, ResNet-18, native": ("stm", [f"{BACKBONE}=resnet18", "method.propagation.short_side=null"]),
    "stm": ("stm", []),
    "stm, native": ("stm", ["method.propagation.short_side=null"]),
    "afb_urr": ("afb_urr", []),
    "afb_urr, native": ("afb_urr", ["method.propagation.short_side=null"]),
    "ssm": ("ssm", []),
    "probe, ResNet-18": ("probe", ["method.encoder=torchvision:resnet18"]),
    "flow": ("flow", []),
}
WARMING = 6  # frames


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"))
    parser.add_argument("--frames", type=int, default=8, help="timed ones (default %(default)s)")
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or mps")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {'; '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="small frames: only to see that it runs")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.size, args.frames = (96, 128), 2
    if args.row:
        print(json.dumps(measure(args)))
        return
    device = pick_device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    rows = {}
    print(
        f"{name}, {torch.get_num_threads()} threads, {args.size[0]}x{args.size[1]}, objects: {args.objects}"
    )
    for row in args.only or ROWS:
        done = subprocess.run(
            [sys.executable, __file__, "--row", row, *sys.argv[1:]],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows[row] = found = json.loads(done.stdout)
        print(
            f"{row:24s} {found['parameters'] / 1e6:7.2f} M parameters  {found['seconds']:8.3f} s a frame  "
            f"{found['peak_mb']:6.0f} MB  memory frames {found['memory_mb']:.0f} MB  {found['dtype']}",
            flush=True,
        )
    figures = {"hardware": name, "threads": torch.get_num_threads(), "size": args.size, "rows": rows}
    write(figures, args.json)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Figures of one row, by this process."""
    method, knobs = ROWS[args.row]
    model = models.choose(None, "untrained", device=args.device, overrides=[f"method.name={method}", *knobs])
    assert isinstance(model, models.Model)
    segmenter = model.segmenter()
    clip = render_clip(0, frames=WARMING + args.frames, size=tuple(args.size), objects=args.objects)
    seconds = []
    for t, frame in enumerate(clip.frames):
        began = time.perf_counter()
        segmenter.step(frame, clip.labels[0] if t == 0 else None)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        if t >= WARMING:
            seconds.append(time.perf_counter() - began)
    cuda = model.device.type == "cuda"
    return {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "seconds": statistics.median(seconds),
        "peak_mb": (torch.cuda.max_memory_allocated(model.device) if cuda else peak()) / MB,
        "memory_mb": segmenter.memory_bytes / MB,
        "dtype": str(amp_dtype(model.config.evaluate.amp, model.device) or torch.float32),
    }


if __name__ == "__main__":
    main()
