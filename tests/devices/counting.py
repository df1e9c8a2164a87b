"""What a steady frame and a training step cost a GPU, as a table.

    python tests/devices/counting.py [--size 480 854] [--frames 3] [--objects 2] [--only ROW ...]
    [--shrunk] [--where]

Operations are launches, less views; stalls are waits for the GPU; uploads are copies to it. The figures do
not depend on the width of the networks, so narrow ones with random weights are used.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from pretend import Gpu, pretend  # noqa: E402
from small import LEARNING, PROPAGATING, SHRUNK, clips, frames, segmenter, squares, trainer  # noqa: E402


@dataclass(frozen=True)
class Cost:
    """Of one frame or step: operations, stalls, uploads, and where the last two happen."""

    launches: int
    stalls: int
    uploads: int
    where: Counter[tuple[str, str]]


def frame_costs(
    gpu: Gpu,
    label: str,
    raft: Path,
    *more: str,
    size: tuple[int, int],
    warm: int,
    count: int,
    objects: int = 2,
) -> list[Cost]:
    """The costs of `count` frames after the first one and `warm` more."""
    video = frames(1 + warm + count, size)
    carrier = segmenter(label, "cuda", raft, *more)
    mask, costs = squares(size, *range(1, objects + 1)), []
    for number, frame in enumerate(video):
        gpu.reset()
        carrier.step(frame, mask if number == 0 else None)
        costs.append(_cost(gpu))
    return costs[1 + warm :]


def step_costs(gpu: Gpu, label: str, *more: str, steps: int = 2) -> list[Cost]:
    """The costs of the steps after the first one."""
    learner, costs = trainer(label, "cuda", *more), []
    for _ in range(1 + steps):
        gpu.reset()
        learner.learn(clips(learner))
        costs.append(_cost(gpu))
    return costs[1:]


def worst(costs: list[Cost]) -> Cost:
    """The largest of each figure."""
    most = max(costs, key=lambda cost: cost.stalls)
    return Cost(max(c.launches for c in costs), most.stalls, max(c.uploads for c in costs), most.where)


def raft_weights(folder: Path) -> Path:
    """A file of RAFT's small network, random."""
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    torch.save(raft_small().state_dict(), folder / "raft.pth")
    return folder / "raft.pth"


def _cost(gpu: Gpu) -> Cost:
    counts = [sum(c.values()) for c in (gpu.launches, gpu.stalls, gpu.uploads)]
    return Cost(counts[0], counts[1], counts[2], gpu.stalls + gpu.uploads)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"))
    parser.add_argument("--warm", type=int, default=1, help="frames before those that are counted")
    parser.add_argument("--frames", type=int, default=1, help="frames that are counted")
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW")
    parser.add_argument("--shrunk", action="store_true", help="methods resize frames to about 64x96")
    parser.add_argument("--where", action="store_true", help="list where stalls and uploads happen")
    arguments = parser.parse_args()
    rows = [*PROPAGATING, *(f"train {label}" for label in LEARNING)]
    with tempfile.TemporaryDirectory() as folder:
        raft = raft_weights(Path(folder))
        print("| row | operations | stalls | uploads |\n|---|---|---|---|")
        for row in arguments.only or rows:
            with pretend() as gpu:
                if row.startswith("train "):
                    costs = step_costs(gpu, row.removeprefix("train "))
                else:
                    size = arguments.size[0], arguments.size[1]
                    kind = {"warm": arguments.warm, "count": arguments.frames, "objects": arguments.objects}
                    more = SHRUNK.get(row.split()[0], ()) if arguments.shrunk else ()
                    costs = frame_costs(gpu, row, raft, *more, size=size, **kind)
            cost = worst(costs)
            print(f"| {row} | {cost.launches:,} | {cost.stalls} | {cost.uploads} |", flush=True)
            for (what, place), count in cost.where.most_common() if arguments.where else ():
                print(f"    {count} {what} {place}")


if __name__ == "__main__":
    main()
