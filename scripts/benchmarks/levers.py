"""J of several ways to carry the first masks of a split, sequence by sequence, beside the first way.

    python scripts/benchmarks/levers.py ROOT --out FILE [--split tune] [--frames N] [--only WAY,WAY]
        GROUP [key=value ...]

GROUP: `joined`, EfficientNet-lite0 beside MAMP's encoder at several weights, scales and layers (preset fast);
`lite` or `own`, the probe with EfficientNet-lite0 or with mamp-small: all presets, and each lever of `tuned`
alone on top of what has none. ROOT: a data set in DAVIS-2016's layout. --frames: of each sequence, 0 for all.

Every finished sequence is a line in FILE; the same command goes on. The table has the mean J, the mean
difference to the first way and its interval of 95% (paired bootstrap over sequences), and processor seconds.
J is that of all objects as one, without the first and the last frame.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import options, write
from PIL import Image

from mamp.segmentation.model import load

SHIPPED = "mamp-small"
LITE = ["method.encoder=mamp.methods.mamp.lite:make", "method.network.layer=network.blocks.2",
        "method.input.mean=[0.5, 0.5, 0.5]", "method.input.std=[0.5, 0.5, 0.5]"]  # fmt: skip
PROTOCOLS = ("dino", "dinov3", "crw", "vfs", "dul", "rsp", "cropmae", "mamp")
PLAIN = {  # `tuned` without its levers
    "input.rule": "native", "propagation.first_labels": "nearest", "propagation.upsample": "bilinear",
    "propagation.small_objects": "lost", "propagation.backfill": "false", "propagation.sharpen": "1",
    "propagation.edge_radius": "0",
}  # fmt: skip
LEVERS = {
    "plain": (), "hard labels": (), "enlarged": ("input.rule",), "sharpened": ("propagation.sharpen",),
    "centred": ("propagation.first_labels", "propagation.upsample"), "edges": ("propagation.edge_radius",),
    "small, late": ("propagation.small_objects", "propagation.backfill"), "budget": (),
}  # fmt: skip
MORE = {
    "hard labels": ["method.propagation.labels=hard"],
    "budget": ["method.propagation.memory=budget"],
}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("group", choices=("joined", "lite", "own"))
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="tune")
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    ways = joined() if args.group == "joined" else probed(args.group)
    if args.only:
        ways = {name: ways[name] for name in args.only.split(",")}
    names = [line.split()[0] for line in (args.root / f"ImageSets/2016/{args.split}.txt").open()]
    args.out.touch()
    finished = {(line["way"], line["sequence"]) for line in lines(args.out)}
    models: dict[str, Any] = {}
    for name, way in ((name, way) for name in names for way in ways if (way, name) not in finished):
        weights, *settings = ways[way]
        if way not in models:
            models[way] = load(weights, device="cpu", overrides=[*settings, *args.overrides])
        started = time.process_time()
        overlap = jaccard(models[way].segmenter(), args.root, name, args.frames)
        line = {"way": way, "sequence": name, "J": overlap, "seconds": time.process_time() - started}
        with args.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
    figures = table([line for line in lines(args.out) if line["way"] in ways], next(iter(ways)))
    write(figures, args.json)


def joined() -> dict[str, list]:
    """Way -> weights and settings."""
    found = {"alone": [SHIPPED, "method.preset=fast"]}
    for words in ("weight: 0.15", "weight: 0.3", "weight: 0.45", "scale: 1", "layer: network.blocks.3"):
        join = f"method.encoder.joined=[{{encoder: efficientnet-lite0, {words}}}]"
        found[words] = [SHIPPED, "method.preset=fast", join]
    return found


def probed(encoder: str) -> dict[str, list]:
    """Way -> weights and settings."""
    own = [None, "method=probe", *LITE] if encoder == "lite" else [SHIPPED, "method=probe"]
    plain = [f"method.{key}={value}" for key, value in PLAIN.items()]
    found = {}
    for name, levers in LEVERS.items():
        rest = [word for word in plain if word.split("=")[0].removeprefix("method.") not in levers]
        found[name] = [*own, "method.preset=tuned", *rest, *MORE.get(name, [])]
    found["tuned"] = [*own, "method.preset=tuned"]
    return found | {name: [*own, f"method.preset={name}"] for name in PROTOCOLS}


@torch.inference_mode()
def jaccard(segmenter, root: Path, name: str, frames: int) -> float:
    """Mean J of a sequence."""
    found = []
    for index, path in enumerate(sorted((root / "JPEGImages/480p" / name).glob("*.jpg"))[: frames or None]):
        truth = np.asarray(Image.open(root / "Annotations/480p" / name / f"{path.stem}.png")) > 0
        frame = np.asarray(Image.open(path).convert("RGB"))
        labels = segmenter.step(frame, truth.astype(np.uint8) if index == 0 else None) > 0
        union = (labels | truth).sum()
        found.append(float((labels & truth).sum() / union) if union else 1.0)
    return float(np.mean(found[1:-1]))


def lines(path: Path) -> Iterator[dict]:
    yield from (json.loads(line) for line in path.read_text().splitlines())


def table(found: list[dict], first: str) -> dict[str, dict]:
    """Print the ways beside the first; return their figures."""
    ways: dict[str, dict[str, dict]] = {}
    for line in found:
        ways.setdefault(line["way"], {})[line["sequence"]] = line
    figures, random = {}, np.random.default_rng(0)
    for way, held in ways.items():
        shared = [name for name in held if name in ways.get(first, {})]
        better = np.array([held[name]["J"] - ways[first][name]["J"] for name in shared])
        means = better[random.integers(0, len(better), (10_000, len(better)))].mean(1) if shared else [0.0]
        low, high = np.quantile(means, (0.025, 0.975))
        figures[way] = {
            "sequences": len(held), "J": float(np.mean([one["J"] for one in held.values()])),
            "difference": float(better.mean()) if shared else None, "low": float(low), "high": float(high),
            "seconds": float(np.mean([one["seconds"] for one in held.values()])),
        }  # fmt: skip
        told = f"J {figures[way]['J']:.3f}, {better.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
        print(f"{way:24} {len(held):3} sequences, {told}, {figures[way]['seconds']:.1f} s")
        print("   ", ", ".join(f"{name} {one['J']:.2f}" for name, one in held.items()))
    return figures


if __name__ == "__main__":
    main()
