"""Every method as it is run on the device: its settings, small networks, and the contract in one video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mamp import config, methods
from mamp.methods.base import Propagator
from mamp.methods.task import Batch
from mamp.segmentation.segmenter import Segmenter
from mamp.training.distributed import Place, Ranks
from mamp.training.trainer import Trainer

MEMORY_NETWORK = (
    *("method.network.backbone=resnet18", "method.network.width=0.125", "method.network.key=8"),
    *("method.network.value=16", "method.network.decoder=16"),
)
NETWORKS = {  # a small network of each method
    "mamp": ("method.encoder.width=0.125", "method.encoder.features=16"),
    "stm": MEMORY_NETWORK,
    "afb_urr": (*MEMORY_NETWORK, "method.network.local=8"),
    "ssm": (
        *("method.network.backbone=resnet18", "method.network.width=0.25", "method.network.top_k=8"),
        *("method.network.decoder=16", "method.network.context=centred"),
    ),
    "probe": ("method.encoder=torchvision:resnet18",),
    "flow": (),  # it has none
}
RAFT = ("method.motion.raft=small", "method.motion.iterations=1")
PROPAGATING = {  # how videos are carried; the first word is the method
    "mamp tuned": (),
    "mamp published": ("method.preset=published",),
    "mamp youtube": ("method.preset=published", "method.propagation.memory=youtube"),
    "mamp opencv": ("method.encoder.lab=opencv",),
    "mamp budget": ("method.propagation.memory=budget",),
    "mamp coarse": ("method.motion.source=coarse",),
    "mamp composed": ("method.motion.source=coarse", "method.motion.compose=true"),
    "mamp dis": ("method.motion.source=dis",),
    "mamp raft": ("method.motion.source=raft", *RAFT),
    "stm tuned": (),
    "stm top_k": ("method.propagation.top_k=16",),
    "stm published": ("method.preset=published",),
    "stm original": ("method.preset=original",),
    "afb_urr tuned": (),
    "afb_urr full": ("method.propagation.budget=300",),
    "afb_urr published": ("method.preset=published",),
    "afb_urr published full": ("method.preset=published", "method.propagation.budget=900"),
    "afb_urr published tall": ("method.preset=published", "method.propagation.height=48"),
    "ssm tuned": (),
    "ssm published": ("method.preset=published",),
    "flow dis": (),
    "flow splat": ("method.propagation.direction=splat",),
    "flow chain": ("method.propagation.chain=true",),
    "flow coarse": ("method.propagation.source=coarse",),
    **{
        f"probe {preset}": (f"method.preset={preset}",)
        for preset in ("dino", "dinov3", "crw", "vfs", "dul", "rsp", "cropmae", "mamp")
    },
}
LEARNING = {  # how networks are trained; the first word is the method
    "mamp": ("data.size=64",),
    "mamp youtube": ("configs/mamp_youtube.yaml", "data.size=64"),
    "stm": ("configs/stm_cpu.yaml",),
    "stm youtube": ("configs/stm_youtube.yaml",),
    "stm static": ("configs/stm_static.yaml", "data.size=64"),
    "afb_urr": ("configs/afb_urr_cpu.yaml",),
    "afb_urr static": ("configs/afb_urr_static.yaml", "data.size=64"),
    "ssm": ("configs/ssm_cpu.yaml", "data.size=64"),
    "ssm davis2017": ("configs/ssm_davis2017.yaml", "data.size=64"),
}
SHRUNK = {  # of a method that resizes frames by itself, for tests
    "stm": ("method.propagation.input_size=[64, 96]",),
    "ssm": ("method.propagation.input_size=[64, 96]",),
    "probe": ("method.input.short=80", "method.input.size=[80, 96]"),  # never the frame's own size
}


def settings(label: str, given: Sequence[str]) -> config.Config:
    """The settings of a row of PROPAGATING or LEARNING, with a small network."""
    name = label.split()[0]
    recipe = next((Path(line) for line in given if line.endswith(".yaml")), None)
    rest = [line for line in given if not line.endswith(".yaml")]
    return config.load(recipe, [f"method.name={name}", *NETWORKS[name], *rest])


def network(settings: config.Config) -> nn.Module:
    """The same random weights every time; running statistics that suit them."""
    torch.manual_seed(0)
    return methods.get(settings.method.name).build_model(settings.method).eval()


def frames(count: int, size: tuple[int, int]) -> np.ndarray:
    """uint8 (count, H, W, 3): noise that is smooth and moves."""
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    scene = torch.nn.functional.interpolate(coarse, (size[0] + count, size[1] + count), mode="bicubic")
    moved = [scene[0, :, n : n + size[0], n : n + size[1]] for n in range(count)]
    return (torch.stack(moved).clamp(0, 1) * 255).to(torch.uint8).movedim(1, -1).numpy()


def squares(size: tuple[int, int], *ids: int) -> np.ndarray:
    """uint8 (H, W): a square of each id, a row of them."""
    labels = np.zeros(size, np.uint8)
    side = min(size) // 4
    for n, number in enumerate(ids):
        left = (n + 1) * size[1] // (len(ids) + 2)
        labels[side : 2 * side, left : left + side] = number
    return labels


def segmenter(label: str, device: str, raft: Path, *more: str) -> Segmenter:
    """A segmenter for a row of PROPAGATING; raft: a file of RAFT's weights."""
    given = PROPAGATING[label]
    weights = (f"method.motion.weights={raft}",) if RAFT[0] in given else ()
    chosen = settings(label, (*given, *weights, *more))
    return Segmenter(network(chosen), chosen.method, device=device)


def life(propagator: Propagator, size: tuple[int, int], device: str) -> list[Tensor]:
    """All of the contract in one video; the probabilities of each frame that is stepped, on the CPU."""
    images = torch.from_numpy(frames(6, size)).movedim(-1, 1).to(device).float() / 255
    masks = torch.from_numpy(
        np.stack([squares(size, *(int(n == k) for n in range(3))) for k in range(3)])
    ).to(device, torch.float32)  # three squares side by side
    found = []
    propagator.start(images[0], masks[:2])
    found.append(propagator.step(images[1]))
    propagator.correct(masks[1:2], [0])
    propagator.add(masks[2:])
    found.append(propagator.step(images[2]))
    found.append(propagator.step(images[3]))
    propagator.remove([1])
    found.append(propagator.step(images[4]))
    found.append(propagator.step(images[5]))
    assert propagator.memory_bytes >= 0
    assert all(x.device.type == torch.device(device).type for x in found)
    return [x.cpu() for x in found]


def trainer(label: str, device: str, *more: str) -> Trainer:
    """A trainer for a row of LEARNING, of two clips a step."""
    chosen = settings(label, (*LEARNING[label], "train.batch=2", "train.accumulate=1", *more))
    torch.manual_seed(0)
    task = methods.require(chosen.method.name, "task")(chosen)
    return Trainer(task, chosen, Ranks(Place(), torch.device(device)), steps=10, provenance={})


def clips(trainer: Trainer) -> Batch:
    """Two clips as the loader makes them, with the masks of five objects where the method learns from
    masks."""
    data, length = trainer.config.data, trainer.task.frames
    side = data.load_size or data.size
    size = (96, 160) if data.fit == "letterbox" else (side, side)
    pixels = np.stack([frames(length, size) for _ in range(2)])
    labels = None
    if methods.get(trainer.config.method.name).learns_from_masks:
        labels = torch.from_numpy(squares(size, 1, 2, 5, 7, 9)).expand(2, length, -1, -1).contiguous()
    clip: dict[str, Any] = {}
    return Batch(torch.from_numpy(pixels).movedim(-1, 2).contiguous(), labels, (clip, clip), total=2)
