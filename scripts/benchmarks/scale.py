"""Seconds and memory of large data: a rendered tree like YouTube-VOS, of tiny frames.

python scripts/benchmarks/scale.py [--videos 3471] [--frames 144] [--folder DIR] [--skip pack,evaluate]

The tree has VIDEOS folders of FRAMES frames (hard links to a few rendered pictures) in train_all_frames, and
every fifth of them with its mask in train. Measured, each in a process of its own: `mamp data check`, the
census, 100,000 clips and the first of them, the first training step, `mamp data pack` of train, and an
evaluation of 507 short sequences shared by eight processes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 48  # pixels of a frame
PICTURES = 32  # that all frames are links to
LINKS = 20_000  # of one file; file systems allow 65,000 or less


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Seconds and memory of large data.")
    parser.add_argument("--videos", type=int, default=3471)
    parser.add_argument("--frames", type=int, default=144, help="of each video; a fifth of them has a mask")
    parser.add_argument("--sequences", type=int, default=507, help="of the evaluation")
    parser.add_argument("--processes", type=int, default=8, help="of the evaluation")
    parser.add_argument("--folder", type=Path, help="where the tree is written (default: a temporary folder)")
    parser.add_argument("--skip", default="", help="what is not measured, between commas")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root = Path(folder) / "tree"
        began = time.monotonic()
        write_tree(root, videos=args.videos, frames=args.frames)
        print(f"the tree: {args.videos * args.frames:,} frames, {time.monotonic() - began:.0f} s to write")
        print("| what | seconds | peak MB |\n|---|---|---|", flush=True)
        for name, work in _measured(args, root, Path(folder)).items():
            if name.split()[0] not in args.skip.split(","):
                seconds, peak, note = _apart(work)
                print(f"| {name}{note} | {seconds:.1f} | {peak:.0f} |", flush=True)
    return 0


def write_tree(root: Path, *, videos: int, frames: int) -> None:
    """YouTube-VOS's layout: train_all_frames, and train with every fifth frame and its mask."""
    from mamp.video.masks import write_mask
    from mamp.video.synthetic import render_clip

    store = root.with_name("store")
    store.mkdir(parents=True)
    clip = render_clip(0, frames=PICTURES, size=(SIDE, SIDE), objects=2)
    every, some, masks = (
        root / part for part in ("train_all_frames/JPEGImages", "train/JPEGImages", "train/Annotations")
    )
    written = {}
    for video in range(videos):
        name = f"{video:010x}"
        for place in (every, some, masks):
            (place / name).mkdir(parents=True)
        for t in range(frames):
            copy = (video * frames + t) // (PICTURES * LINKS // 2)
            number = t % PICTURES
            if (number, copy) not in written:
                picture, mask = store / f"{number}-{copy}.jpg", store / f"{number}-{copy}.png"
                Image.fromarray(clip.frames[number]).save(picture)
                write_mask(mask, clip.labels[number])
                written[number, copy] = picture, mask
            picture, mask = written[number, copy]
            os.link(picture, every / name / f"{t:05d}.jpg")
            if t % 5 == 0:
                os.link(picture, some / name / f"{t:05d}.jpg")
                os.link(mask, masks / name / f"{t:05d}.png")
    objects = {number: {"category": f"kind{number}", "frames": ["00000"]} for number in ("1", "2")}
    meta = {"videos": {f"{video:010x}": {"objects": objects} for video in range(videos)}}
    (root / "train" / "meta.json").write_text(json.dumps(meta))


def _measured(args: argparse.Namespace, root: Path, folder: Path) -> dict[str, Callable[[], str]]:
    from mamp import cli, config

    settings = [
        f"data.root={root}", "data.size=32", "data.sampling=random", "data.workers=0", "train.batch=4",
        "method.encoder.width=0.125", "method.encoder.features=8", "train.steps=1",
    ]  # fmt: skip

    def check() -> str:
        cli.main(["data", "check", str(root), "--processes", "2", "--quiet"])
        return ""

    def census() -> str:
        from mamp.loading.census import survey

        videos, found = survey(config.load(None, settings).data)
        return f": {len(videos):,} videos, {found.frames:,} frames"

    def clips() -> str:
        from mamp.loading.census import Census
        from mamp.loading.clips import ClipPlan

        census = Census((args.frames,) * args.videos, (30.0,) * args.videos, "", (0,) * args.videos)
        each = -(-100_000 // args.videos)
        data = config.load(None, [*settings, f"data.clips_per_video={each}"]).data
        plan = ClipPlan(census, data, frames=2, batch=4, seed=0)
        return f": an epoch of {len(plan.epoch(0)):,}, its steps counted to {plan.steps_for(33):,}"

    def step() -> str:
        from mamp.training.engine import train

        train(config.load(None, settings), folder / "run", device="cpu", quiet=True)
        return ", with all before it"

    def pack() -> str:
        words = ["data", "pack", str(root / "train" / "JPEGImages"), str(folder / "packed"), "--size", "32"]
        cli.main([*words, "--processes", "2", "--quiet"])
        return f" of train: {args.videos * len(range(0, args.frames, 5)):,} frames"

    return {
        "check": check, "census": census, "clips": clips, "step": step, "pack": pack,
        f"evaluate {args.sequences} sequences by {args.processes} processes": lambda: _evaluate(args, folder),
    }  # fmt: skip


def _evaluate(args: argparse.Namespace, folder: Path) -> str:
    """The first mask copied, so that what is measured is the sharing."""
    context = multiprocessing.get_context("fork")
    root = folder / "many"
    write_many(root, sequences=args.sequences, frames=5)
    workers = [context.Process(target=_share, args=(root, folder / "out")) for _ in range(args.processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = json.loads((folder / "out" / "run.json").read_text())
    assert len(found["sequences"]) == args.sequences and (folder / "out" / "scores.json").exists()
    return ", the first mask copied"


def write_many(root: Path, *, sequences: int, frames: int) -> None:
    """A DAVIS-2017 root of short sequences."""
    from mamp.video.masks import write_mask

    (root / "ImageSets" / "2017").mkdir(parents=True)
    names = [f"{number:04d}" for number in range(sequences)]
    (root / "ImageSets" / "2017" / "val.txt").write_text("".join(f"{name}\n" for name in names))
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[8:24, 8:24] = 1
    for name in names:
        for part in ("JPEGImages", "Annotations"):
            (root / part / "480p" / name).mkdir(parents=True)
        for t in range(frames):
            Image.fromarray(np.full((SIDE, SIDE, 3), 40 * t, np.uint8)).save(
                root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"
            )
            write_mask(root / "Annotations" / "480p" / name / f"{t:05d}.png", np.roll(labels, t, 1))


def _share(root: Path, out: Path) -> None:
    from mamp import cli

    words = ["evaluate", "davis2017", str(root), "--out", str(out), "--baseline", "copy"]
    sys.exit(cli.main([*words, "--device", "cpu", "--quiet"]))


def _apart(work: Callable[[], str]) -> tuple[float, float, str]:
    """(seconds, most memory of one process in MB, what is to be said) of `work` in a process of its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, sender))
    process.start()
    sender.close()
    answer: Any = receiver.recv()
    process.join()
    return answer


def _send(work: Callable[[], str], sender: Any) -> None:
    began = time.monotonic()
    note = work()
    seconds = time.monotonic() - began
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    sender.send((seconds, max(peaks) / 1024, note))


if __name__ == "__main__":
    sys.exit(main())
