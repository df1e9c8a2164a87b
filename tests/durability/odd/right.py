"""Small inputs that are right, made once in a process: what the generators spoil."""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (24, 32)
FRAMES = 4
SMALL = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}
CHEAP = [
    "method.propagation.radius=3",
    "method.propagation.memory_length=1",
    "method.propagation.short_side=null",
]


@functools.cache
def room() -> Path:
    """A folder that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="mamp-odd-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def frame(number: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([x * 7, y * 9, np.full_like(x, 40 * number)], -1).clip(0, 255).astype(np.uint8)


def labels(number: int) -> np.ndarray:
    found = np.zeros(SIZE, np.uint8)
    found[4:12, 3 + number : 11 + number] = 1
    found[14:22, 16:26] = 2
    return found


def encoded(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


@functools.cache
def jpeg(number: int = 0) -> bytes:
    return encoded(frame(number), "JPEG")


@functools.cache
def mask_png(number: int = 0) -> bytes:
    from mamp.video.masks import write_mask

    path = room() / "mask.png"
    write_mask(path, labels(number))
    return path.read_bytes()


def write_video_folder(folder: Path, frames: int = FRAMES, *, masks: Path | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(frames):
        (folder / f"{t:05d}.jpg").write_bytes(jpeg(t % FRAMES))
        if masks is not None:
            masks.mkdir(parents=True, exist_ok=True)
            (masks / f"{t:05d}.png").write_bytes(mask_png(t % FRAMES))
    return folder


@functools.cache
def film(suffix: str = ".mp4") -> bytes:
    """A video file of eight frames."""
    import av

    path = room() / f"film{suffix}"
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for t in range(8):
            pixels = np.full((48, 64, 3), 30 * t, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path.read_bytes()


@functools.cache
def paged(form: str) -> bytes:
    """An image file of three pages."""
    pages = [Image.fromarray(frame(t)) for t in range(3)]
    file = io.BytesIO()
    pages[0].save(file, form, save_all=True, append_images=pages[1:])
    return file.getvalue()


def write_davis(root: Path, names: tuple[str, ...] = ("ant", "bee")) -> Path:
    for name in names:
        write_video_folder(root / "JPEGImages" / "480p" / name, masks=root / "Annotations" / "480p" / name)
    (root / "ImageSets" / "2017").mkdir(parents=True)
    for split in ("train", "val"):
        (root / "ImageSets" / "2017" / f"{split}.txt").write_text("".join(f"{n}\n" for n in names))
    return root


META = {
    "videos": {
        "0a1": {
            "objects": {
                "1": {"category": "ant", "frames": ["00000", "00001", "00002", "00003"]},
                "2": {"category": "bee", "frames": ["00000", "00001", "00002", "00003"]},
            }
        },
        "0b2": {"objects": {"1": {"category": "ant", "frames": ["00000", "00001", "00002"]}}},
    }
}


def write_youtube(root: Path, meta: bytes, split: str = "valid") -> Path:
    for name in META["videos"]:
        write_video_folder(root / split / "JPEGImages" / name, masks=root / split / "Annotations" / name)
    (root / split / "meta.json").write_bytes(meta)
    return root


def segment(video: Path, mask: Path, *more: Any, network: Path | None = None) -> list[Any]:
    """The words of a quick `mamp segment`; network: a file in place of `weights`."""
    file = weights() if network is None else network
    return ["segment", video, "--mask", mask, "--quiet", "--weights", file, *CHEAP, *more]


@functools.cache
def weights() -> Path:
    """A small network of MAMP with random weights, as a file."""
    import torch

    from mamp import config
    from mamp import weights as stored
    from mamp.methods.mamp.encoder import build_model

    path = room() / "small.safetensors"
    torch.manual_seed(0)
    state = build_model(config.load(None, base={"method": SMALL}).method).state_dict()
    stored.save(path, state, method=SMALL, provenance={"commit": "c0ffee", "data": {"videos": 3}})
    return path


def state() -> dict[str, Any]:
    return dict(_state())


@functools.cache
def _state() -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(weights())


RUN = {
    "dataset": "davis2017",
    "split": "val",
    "protocol": "davis2017",
    "name": None,
    "frames": 8,
    "sizes": ["32x24"],
    "frames_per_second": 3.5,
    "peak_memory_mb": 300.0,
    "peak_device_memory_mb": None,
    "config": {"method": {"name": "mamp", "preset": "tuned"}},
    "weights": {"sha256": "ab" * 32, "provenance": {"commit": "c0ffee" * 7, "changed": True}},
    "code": {
        "mamp": "1",
        "commit": "deadbeef" * 5,
        "changed": False,
        "versions": {"torch": "2"},
        "hardware": {"device": "cpu", "processor": "x", "threads": 2},
    },
}
_ROW = {"J-Mean": 0.5, "J-Recall": 0.6, "J-Decay": 0.1, "F-Mean": 0.5, "F-Recall": 0.6, "F-Decay": 0.1}
SCORES = {
    "protocol": "davis2017",
    "J&F-Mean": 0.5,
    **_ROW,
    "sequences": {"ant": {"1": dict(_ROW), "2": dict(_ROW)}, "bee": {"1": dict(_ROW)}},
}
PER_FRAME = {
    "sequences": {
        name: {"1": {"frames": ["00001", "00002"], "J": [0.5, 0.25], "F": [0.5, 0.75]}}
        for name in ("ant", "bee")
    }
}
LOG = [{"step": s, "loss": 1 / s, "lr": 0.1, "grad_norm": None, "clips_per_s": 9.0} for s in range(1, 12)]


def write_evaluation(folder: Path) -> Path:
    for name in ("ant", "bee"):
        write_video_folder(folder / "frames" / name, masks=folder / "masks" / name)
    shutil.rmtree(folder / "frames")
    for name, value in (("run", RUN), ("scores", SCORES), ("frames", PER_FRAME)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def write_training(folder: Path) -> Path:
    (folder / "previews").mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOG))
    (folder / "code.json").write_text(
        json.dumps({"commit": "d" * 40, "diff": "", "precision": "float32", "hardware": {"device": "cpu"}})
    )
    (folder / "config.yaml").write_text("method:\n  name: mamp\n")
    for step in (5, 10):
        Image.fromarray(frame(1)).save(folder / "previews" / f"step-{step:08d}.png")
    return folder
