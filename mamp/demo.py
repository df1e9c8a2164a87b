"""The whole job in a few minutes: a first look with the shipped weights, then training and scores."""

from __future__ import annotations

import json
import math
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mamp import config as configs
from mamp.core.errors import UserError
from mamp.core.files import make_folder, write_json
from mamp.core.progress import say
from mamp.datasets.sequences import Sequence, open_dataset
from mamp.segmentation.evaluate import evaluate
from mamp.segmentation.model import Copy, Model, choose, load
from mamp.segmentation.segment import segment
from mamp.training.engine import train
from mamp.video.first_masks.reading import read
from mamp.video.frames import open_frames
from mamp.video.masks import read_mask
from mamp.video.overlay import Film, blend, contact_sheet, write_picture
from mamp.video.synthetic import write_dataset

SIZE = (128, 192)  # H, W of the rendered clips
TRAINING: dict[str, Any] = {"clips": 48, "frames": 16, "seed": 1}
UNSEEN: dict[str, Any] = {"clips": 6, "frames": 25, "seed": 2}
WATCHED: dict[str, Any] = {"clips": 1, "frames": 10, "seed": 3}  # carried now and then while training
PACE_STEPS = 8  # steps that are timed before the training
STEPS = (20, 2000)  # fewest and most that training takes
CHECKS = 4  # times that the watched clip is carried while training
ROWS = {
    "copy": "first mask copied",
    "untrained": "untrained network",
    "trained": "trained network",
    "shipped": "shipped weights",
}
FIGURES = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")


def demo(
    out: Path,
    *,
    video: Path | None = None,
    mask: Path | None = None,
    minutes: float = 3.0,
    device: str = "auto",
    quiet: bool = False,
) -> dict[str, dict[str, float | None]]:
    """Carry a mask through a rendered clip, train on others, and score four rows on unseen clips.

    The first picture, OUT/first.png, comes before any training: the shipped weights on one clip. Then the
    network trains on rendered clips for about `minutes`. A table and its pictures follow: OUT/overlay.mp4,
    OUT/sheet.png, masks and scores in OUT/scored/ROW. A demo that was stopped goes on from where it was.

    Args:
        out: the folder for everything.
        video, mask: a video of the reader's own (a file or a folder of images) and the PNG of its first mask.
            The trained and the shipped network carry the mask through it, into OUT/own/ROW.
        minutes: how long to train, above 0. The number of steps follows from the speed of the machine.
        device: auto, cpu, cuda or mps. quiet: nothing on standard error.

    Returns:
        What OUT/summary.json holds: {"copy", "untrained", "trained", "shipped"} -> {"J&F-Mean", ..}.

    Raises:
        UserError: OUT cannot be written, or video and mask do not fit; nothing has been trained then.
    """
    if not 0 < minutes < math.inf:
        raise UserError(f"--minutes {minutes:g} is not a time to train; give a number above 0, such as 3")
    began = time.monotonic()
    _check_own(video, mask)
    make_folder(out)
    clips = out / "clips"
    write_dataset(clips, **UNSEEN, size=SIZE, split="val")
    shipped = load(None, device=device)
    _look_first(shipped, open_dataset("davis2017", clips, "val")[0], out / "first.png")
    print(
        f"first masks, by the shipped weights, after {time.monotonic() - began:.0f} s: {out / 'first.png'}",
        flush=True,
    )
    _show(f"rendering {TRAINING['clips']} clips to learn from", quiet=quiet)
    write_dataset(clips, **TRAINING, size=SIZE, split="train", masks="none")
    write_dataset(out / "watched", **WATCHED, size=SIZE, split="val")
    config = _paced(clips, out, minutes=minutes, device=device, quiet=quiet)
    _show(
        f"training {config.train.steps} steps on frames alone, with no masks; now and then it carries a mask"
        " through a clip to show what it has learnt",
        quiet=quiet,
    )
    trained = load(train(config, out / "run", device=device, quiet=quiet), device=device)
    models = {
        "copy": choose(None, "copy"),
        "untrained": _untrained(config, device),
        "trained": trained,
        "shipped": shipped,
    }
    sequences = open_dataset("davis2017", clips, "val")
    summary = {}
    for row, model in models.items():
        _show(f"carrying masks: {ROWS[row]}", quiet=quiet)
        summary[row] = _score(model, sequences, out / "scored" / row, quiet=quiet)
    write_json(out / "summary.json", summary)
    _draw(sequences, out)
    _print(summary, out)
    if video is not None and mask is not None:
        for row, made in (("trained", trained), ("shipped", shipped)):
            own = out / "own" / row
            segment(video, mask, own / "masks", made.segmenter, overlay=own / "overlay.mp4", quiet=quiet)
            print(f"your video, {ROWS[row]}: {own / 'overlay.mp4'}, masks in {own / 'masks'}")
    return summary


def _look_first(model: Model, sequence: Sequence, path: Path) -> None:
    """Write a strip: the first frame with its mask, then frames with the masks that `model` carries."""
    segmenter = model.segmenter()
    panels = []
    with sequence.open() as source:
        shown = {
            0: "first mask",
            **{round(part * (len(source) - 1)): "carried" for part in (1 / 3, 2 / 3, 1)},
        }
        for index, frame in source.stream():
            labels = segmenter.step(frame, sequence.read_given(0) if index == 0 else None)
            if index in shown:
                panels.append(_panel(frame, labels, f"frame {index}: {shown[index]}"))
    write_picture(path, contact_sheet(panels, columns=len(panels), width=SIZE[1]))


def _paced(clips: Path, out: Path, *, minutes: float, device: str, quiet: bool) -> configs.Config:
    """The config of a run of about `minutes`: the one in OUT/run if it was begun, else with timed steps."""
    base = {"data": {"root": [{"path": str(clips)}]}}
    begun = out / "run" / "config.yaml"
    if begun.is_file():
        return configs.load(begun)
    _show(f"timing {PACE_STEPS} steps", quiet=quiet)
    timed = [f"train.steps={PACE_STEPS}", f"train.log_every={PACE_STEPS // 2}"]
    train(configs.load(recipe(), timed, base=base), out / "pace", device=device, quiet=True)
    last = json.loads((out / "pace" / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    config = configs.load(recipe(), base=base)
    steps = int(60 * minutes * last["clips_per_s"] / config.train.batch)
    steps = min(max(steps, STEPS[0]), STEPS[1])
    watch = ["validation.dataset=davis2017", f"validation.root={json.dumps(str(out / 'watched'))}"]
    watch += [f"validation.every={max(1, steps // CHECKS)}", f"train.steps={steps}"]
    return configs.load(recipe(), watch, base=base)


def _show(line: str, *, quiet: bool) -> None:
    if not quiet:
        say(line)


def recipe() -> Path:
    """configs/mamp_demo.yaml, of an installed package or of a checkout."""
    package = Path(str(files("mamp")))
    homes = [package / "configs", package.parent / "configs"]
    return next((home / "mamp_demo.yaml" for home in homes if home.is_dir()), homes[0] / "mamp_demo.yaml")


def _check_own(video: Path | None, mask: Path | None) -> None:
    """See before the training that the reader's video and mask can be read and fit."""
    if (video is None) != (mask is None):
        raise UserError("--video and --mask go together: a video and the PNG of its first frame's mask")
    if video is None or mask is None:
        return
    with open_frames(video) as source:
        size = source[0].shape[:2]
    if not mask.is_dir() and not read(mask, size=(size[0], size[1])).labels.any():
        raise UserError(f"mask {mask} has no object; paint each object with a number of its own, from 1")


def _untrained(config: configs.Config, device: str) -> Model | Copy:
    """The network as training began with it."""
    encoder = json.dumps(config.method.encoder.model_dump(mode="json"))
    overrides = [f"method.encoder={encoder}", f"train.seed={config.train.seed}"]
    return choose(None, "untrained", device=device, overrides=overrides)


def _score(
    model: Model | Copy, sequences: list[Sequence], out: Path, *, quiet: bool
) -> dict[str, float | None]:
    """Masks and scores of one row into `out`; its figures over all objects."""
    scores = evaluate(
        sequences,
        model.segmenter,
        out,
        protocol="davis2017",
        run_info=model.run_info(),
        device=model.device,
        quiet=quiet,
    )
    assert scores is not None, "rendered clips have truth"
    means = scores.means()
    return {figure: None if math.isnan(means[figure]) else means[figure] for figure in FIGURES}


def _draw(sequences: list[Sequence], out: Path) -> None:
    """Write OUT/overlay.mp4, truth and results side by side, and OUT/sheet.png, a few of its frames."""
    chosen = []
    with Film(out / "overlay.mp4", fps=12) as film:
        for sequence in sequences:
            with sequence.open() as source:
                for index, frame in source.stream():
                    panels = [_panel(frame, sequence.read_truth(index), "truth")]
                    for row, words in ROWS.items():
                        labels = read_mask(
                            out / "scored" / row / "masks" / sequence.name / f"{source.names[index]}.png"
                        )
                        panels.append(_panel(frame, labels, words))
                    film.write(np.concatenate(panels, axis=1))
                    if sequence in sequences[:3] and index in (0, len(source) // 2, len(source) - 2):
                        chosen += panels
    write_picture(out / "sheet.png", contact_sheet(chosen, columns=1 + len(ROWS), width=SIZE[1]))


def _panel(frame: np.ndarray, labels: np.ndarray, words: str) -> np.ndarray:
    """The frame with its masks laid over and a line of text above: uint8 (H + 14, W, 3)."""
    picture = Image.new("RGB", (frame.shape[1], frame.shape[0] + 14), "white")
    picture.paste(Image.fromarray(blend(frame, labels)), (0, 14))
    ImageDraw.Draw(picture).text((4, 1), words, fill="black")
    return np.asarray(picture)


def _print(summary: dict[str, dict[str, float | None]], out: Path) -> None:
    print(f"\non {UNSEEN['clips']} clips the network has not seen, scored as DAVIS-2017 does:")
    print(f"{'':20}" + "".join(f"{figure:>10}" for figure in FIGURES))
    for row, means in summary.items():
        cells = ("-" if (value := means[figure]) is None else f"{value:.3f}" for figure in FIGURES)
        print(f"{ROWS[row]:20}" + "".join(f"{cell:>10}" for cell in cells))
    print(
        f"\nlook at {out / 'overlay.mp4'} and {out / 'sheet.png'}; masks and scores are in {out / 'scored'}"
    )
