"""Weights with a distilled network beside the encoder: one lighter pass of the whole frame in place of two.

    python scripts/distil.py mamp-small OUT.safetensors data.root=VIDEOS [data.root=FRAMES ...]
        [--steps N] [--lr R] [--seed S] [--components N]

The distilled network begins as the encoder's first block of each layer. It learns without labels: the
features of the two views, joined, are brought from 2 C to C channels by the directions in which most of them
lie (principal components over the first batches), and it learns to give the same direction at every cell. The
frames are those of a training run (`mamp train`), cut to squares of 160 pixels. What is written is the
weights that were given, and the distilled network.
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mamp import config as configs  # noqa: E402
from mamp import weights as stored  # noqa: E402
from mamp.core.devices import amp_dtype  # noqa: E402
from mamp.loading.augmentation.batches import augmented  # noqa: E402
from mamp.loading.batch import Batch  # noqa: E402
from mamp.loading.census import survey  # noqa: E402
from mamp.loading.clips import ClipPlan  # noqa: E402
from mamp.loading.loader import ClipLoader  # noqa: E402
from mamp.methods.mamp.encoder import Encoder, build_model  # noqa: E402
from mamp.methods.mamp.trunk import encode_views  # noqa: E402
from mamp.ops.colour import rgb_to_lab  # noqa: E402
from mamp.ops.folding import fold_batch_norms  # noqa: E402

RECIPE = [
    "data.size=160",
    "data.load_size=240",
    "data.fit=crop",
    "data.sampling=published",  # longer videos give more frames
    "data.intervals=[2,5,8]",
    "data.interval_fps=30",
    "data.augment.crop=[0.18,0.75]",
    "data.augment.flip=0.5",
    "train.batch=6",
]
WARMUP = 20  # steps until the full rate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", help="of method mamp, as `mamp segment --weights` takes them")
    parser.add_argument("out", type=Path, help="where the new ones go, a .safetensors file")
    parser.add_argument("settings", nargs="+", metavar="key=value", help="data.root=PATH, and other settings")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--components", type=int, default=24, help="batches that the directions are found on")
    args = parser.parse_args()
    found = stored.without_distilled(stored.read(args.weights))
    config = configs.load(None, [*RECIPE, *args.settings], base={"method": found.method})
    teacher = build_model(config.method)
    stored.fill(teacher, found, remedy="leave the network to the weights")
    torch.manual_seed(args.seed)
    images = squares(config, args.seed)
    folded = fold_batch_norms(teacher)
    projection = components(folded, images, config.method, batches=args.components)
    student = begun(teacher, config)
    learn(student, folded, images, projection, config, steps=args.steps, lr=args.lr)
    state = dict(found.state)
    half = all(value.dtype == torch.float16 for value in state.values() if value.is_floating_point())
    for name, value in student.state_dict().items():
        state[f"distilled.{name}"] = value.half() if half and value.is_floating_point() else value
    made = {"weights": found.path.name, "steps": args.steps, "lr": args.lr, "seed": args.seed}
    method = {**found.method, "encoder": {**found.method["encoder"], "distilled": True}}
    stored.save(args.out, state, method=method, provenance={**found.provenance, "distilled": made})
    print(f"{args.out}: {sum(v.numel() for v in state.values()):,} numbers")


def learn(
    student: nn.Module,
    teacher: nn.Module,
    images: Iterator[Tensor],
    projection: Tensor,
    config: configs.Config,
    *,
    steps: int,
    lr: float,
) -> None:
    """Train the distilled network."""
    student.to(memory_format=torch.channels_last).train()
    dtype = amp_dtype("auto", torch.device("cpu"))
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=1e-4)
    losses, since = [], time.perf_counter()
    for step in range(steps):
        rate = min(1, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        lab = rgb_to_lab(next(images))
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            target = joined(teacher, lab, config.method)  # (B, 2*C, h, w)
            found = student(lab.contiguous(memory_format=torch.channels_last))
        target = F.normalize(torch.einsum("bchw,cd->bdhw", target, projection), dim=1)
        loss = 1 - F.cosine_similarity(found.float(), target, dim=1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 50 == 0 or step + 1 == steps:
            mean = sum(losses[-50:]) / len(losses[-50:])
            print(f"step {step + 1}: loss {mean:.4f}, {time.perf_counter() - since:.0f} s", flush=True)


def begun(teacher: nn.Module, config: configs.Config) -> Encoder:
    """A network of one block in a layer, with the teacher's weights where both have them.

    Its last layer is fresh.
    """
    knobs = config.method.encoder
    student = Encoder(width=knobs.width, features=knobs.features, depth=1)
    held = teacher.state_dict()
    own = {name: held[name] for name in student.state_dict() if name in held and not name.startswith("head.")}
    student.load_state_dict(copy.deepcopy(own), strict=False)
    return student


def squares(config: configs.Config, seed: int) -> Iterator[Tensor]:
    """Batches of frames (B, 3, S, S) in [0, 1], for ever."""
    videos, census = survey(config.data)
    plan = ClipPlan(census, config.data, frames=1, batch=config.train.batch, seed=seed)
    print(f"{len(videos)} videos, {census.frames} frames, list {census.digest}", flush=True)
    generator = torch.Generator().manual_seed(seed)
    for arrays in ClipLoader(videos, plan, config.data).batches():
        yield augmented(Batch(*arrays), config.data, generator)[:, 0]


@torch.no_grad()
def components(
    teacher: nn.Module, images: Iterator[Tensor], method: configs.MampConfig, *, batches: int
) -> Tensor:
    """(2*C, C): the directions in which most of the joined features lie, not centred."""
    products, count = torch.zeros(()), method.encoder.features
    for _ in range(batches):
        features = joined(teacher, rgb_to_lab(next(images)), method).movedim(1, -1).flatten(0, -2)
        products = products + features.T @ features / len(features)
    values, vectors = torch.linalg.eigh(products)
    kept = values[-count:].sum() / values.sum()
    print(f"{count} of {len(values)} components hold {kept:.1%} of the features' squares", flush=True)
    return vectors[:, -count:]


@torch.no_grad()
def joined(teacher: nn.Module, lab: Tensor, method: configs.MampConfig) -> Tensor:
    """(B, 3, H, W) -> (B, 2*C, h, w), the features of the two views."""
    return torch.stack([encode_views(teacher, image, method) for image in lab])


if __name__ == "__main__":
    main()
