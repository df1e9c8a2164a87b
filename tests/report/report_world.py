"""A small data set, two evaluations of it and a training run, made without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mamp import scoring
from mamp.segmentation.record import Maker, write_run
from mamp.segmentation.stream import Timing
from mamp.video.masks import write_mask

FRAMES = 24
SIZE = (64, 96)
OBJECTS = {"ant": 2, "bee": 1}


def labels(sequence: str, t: int, *, shift: int = 0) -> np.ndarray:
    """Squares that move right by a pixel a frame, `shift` pixels away from where they are."""
    found = np.zeros(SIZE, np.uint8)
    for number in range(1, OBJECTS[sequence] + 1):
        left = 4 + t + shift
        found[4 + 26 * number - 24 : 24 + 26 * number - 24, left : left + 24] = number
    return found


def write_data(root: Path) -> Path:
    """A DAVIS-2017 root with the split val: ant (objects 1 and 2) and bee (object 1)."""
    for sequence in OBJECTS:
        images, masks = root / "JPEGImages" / "480p" / sequence, root / "Annotations" / "480p" / sequence
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for t in range(FRAMES):
            truth = labels(sequence, t)
            frame = np.stack([90 + 60 * truth, 120 - 20 * truth, 100 + 0 * truth], axis=-1).astype(np.uint8)
            Image.fromarray(frame).save(images / f"{t:05d}.jpg")
            write_mask(masks / f"{t:05d}.png", truth)
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("".join(f"{name}\n" for name in OBJECTS))
    return root


def write_evaluation(folder: Path, root: Path, *, drift: float) -> Path:
    """What `mamp evaluate` leaves of a method whose masks drift `drift` pixels a frame, bee's half as
    fast.
    """
    for sequence in OBJECTS:
        (folder / "masks" / sequence).mkdir(parents=True)
        for t in range(FRAMES):
            shift = round(drift * t * (1 if sequence == "ant" else 0.5))
            write_mask(folder / "masks" / sequence / f"{t:05d}.png", labels(sequence, t, shift=shift))
    scores = scoring.score(root, folder / "masks", protocol="davis2017")
    scoring.write_json(scores, folder / "scores.json")
    scoring.write_frames(scores, folder / "frames.json")
    weights = {
        "sha256": f"{'ab12cd34ef' if drift else 'ffff000011'}{'0' * 54}",
        "provenance": {"commit": "c0ffee" * 7, "changed": True},
    }
    info = {
        "dataset": "davis2017",
        "split": "val",
        "config": {"method": {"name": "mamp", "preset": "tuned"}},
        "weights": weights,
    }
    maker = Maker.here(torch.device("cpu"))
    maker = replace(maker, code={**maker.code, "commit": "deadbeef" * 5, "changed": False})
    records = {
        name: replace(maker.record(Timing(FRAMES, 4.0), "96x64"), peak_memory_mb=512.4) for name in OBJECTS
    }
    write_run(folder, info, records, protocol="davis2017", maker=maker)
    return folder


def write_training(folder: Path) -> Path:
    """What `mamp train` leaves of forty steps."""
    (folder / "previews").mkdir(parents=True)
    with (folder / "log.jsonl").open("w") as log:
        for step in range(1, 41):
            entry = {
                "step": step,
                "loss": 1 / step,
                "lr": 0.001,
                "grad_norm": None,
                "clips_per_s": 20 + step % 3,
            }
            if step % 10 == 0:
                entry |= {"val_jf": 0.5 + step / 100, "val_loss": 2 / step}
            log.write(json.dumps(entry) + "\n")
        log.write('{"step": 41, "los')
    (folder / "code.json").write_text(
        json.dumps({"commit": "deadbeef" * 5, "diff": "", "precision": "float32"})
    )
    (folder / "config.yaml").write_text("method:\n  name: mamp\n")
    for step in (20, 40):
        for name in ("step", "carried"):
            picture = Image.new("RGB", (120, 60), (step, 90, 90))
            picture.save(folder / "previews" / f"{name}-{step:08d}.png")
    (folder / "previews" / "step-of-mine.png").touch()
    return folder
