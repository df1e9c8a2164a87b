"""How good the page's suggestions are: IoU after each click of an oracle, after a box, after box and clicks.

    python scripts/benchmarks/suggest.py ROOT [--dataset davis2016] [--split tune] [--every N] [--clicks 6]
    [--suggest MODULE:FUNCTION] [--side 480] [--weights W] [--json FILE]

The oracle knows the truth. Its first click is the point of the object that is farthest from its border. Each
further click is the point farthest from the border of the largest wrong part of the mask: on the object where
the mask lacks it, beside it where it is too much. Each object of a frame is asked for by itself, on the first
frame of each sequence, or on every N-th. Also printed: the largest loss of IoU after a correct click, how
many clicks lost more than 0.02, and the milliseconds from the wish to the mask, of the first wish on a frame
and of later ones.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import options, processor, write
from PIL import Image
from scipy import ndimage

from mamp.app.proposal import Proposer, Wish, of_person
from mamp.datasets.sequences import open_dataset
from mamp.segmentation.model import load

LOSS = 0.02  # of IoU, that a correct click may cost

Ask = Callable[[Wish], np.ndarray]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("root", type=Path, help="DAVIS-2016 or DAVIS-2017")
    parser.add_argument("--dataset", default="davis2016")
    parser.add_argument("--split", default="tune")
    parser.add_argument("--sequences", nargs="*", help="only these")
    parser.add_argument("--every", type=int, help="every so many frames; the first ones alone without")
    parser.add_argument("--clicks", type=int, default=6)
    parser.add_argument("--side", type=int, help="frames are brought to this short side first")
    parser.add_argument("--suggest", metavar="MODULE:FUNCTION", help="as `mamp app` takes it")
    parser.add_argument("--weights", help="as `mamp segment` takes them")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    model = load(args.weights, device=args.device)
    own = of_person(args.suggest) if args.suggest else None
    proposer = Proposer(model.network, model.config.method, model.device, suggest=own)
    rows = []
    for name, index, video, truth in asked(args):
        ask = asking(proposer, video, index)
        rows.append({"name": name, "frame": index, **measure(ask, truth, clicks=args.clicks)})
        print(f"{name} {index}: {line(rows[-1])}", flush=True)
    figures = {"processor": processor(), "threads": torch.get_num_threads(), "mean": mean(rows), "rows": rows}
    print(summary(figures["mean"]))
    write(figures, args.json)


def asked(args: Any) -> Iterator[tuple[str, int, Any, np.ndarray]]:
    """Name, frame, what gives frames by number, and the truth bool (H, W) of each object asked for."""
    for sequence in open_dataset(args.dataset, args.root, args.split):
        if args.sequences and sequence.name not in args.sequences:
            continue
        with sequence.open() as source:
            for index in range(0, len(source.names) if args.every else 1, args.every or 1):
                truth = sequence.read_truth(index)
                video = Scaled(source, args.side)
                for number in [int(i) for i in np.unique(truth) if i]:
                    yield f"{sequence.name}/{number}", index, video, video.scaled(truth == number)


class Scaled:
    """Frames of a video by number, brought to a short side where one is given."""

    def __init__(self, source: Any, side: int | None) -> None:
        self._source, self._side, self.count = source, side, len(source.names)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.scaled(self._source[index])

    def scaled(self, picture: np.ndarray) -> np.ndarray:
        """A frame or a mask (H, W) at the short side."""
        if not self._side:
            return picture
        factor = self._side / min(picture.shape[:2])
        size = tuple(round(side * factor) for side in picture.shape[1::-1])
        mask = picture.dtype == bool
        image = Image.fromarray(picture).resize(
            size, Image.Resampling.NEAREST if mask else Image.Resampling.BICUBIC
        )
        return np.asarray(image)


def measure(ask: Ask, truth: np.ndarray, *, clicks: int) -> dict[str, Any]:
    """IoU after each click, after a box, and after each of three clicks within the box."""
    found, taken = corrected(ask, truth, Wish(), clicks=clicks)
    boxed, more = corrected(ask, truth, Wish(box=box_of(truth)), clicks=3)
    return {"clicks": found, "box": boxed, "first": taken[0], "seconds": [*taken[1:], *more]}


def corrected(ask: Ask, truth: np.ndarray, wish: Wish, *, clicks: int) -> tuple[list[float], list[float]]:
    """IoU after each wish, and the seconds it took."""
    found, taken = [], []
    mask = np.zeros_like(truth)
    for _ in range(clicks + (wish.box is not None)):
        if wish.inside or wish.outside or (wish.box is None) or found:
            wish = clicked(wish, mask, truth)
        began = time.perf_counter()
        mask = ask(wish)
        taken.append(time.perf_counter() - began)
        found.append(iou(mask, truth))
    return found, taken


def clicked(wish: Wish, mask: np.ndarray, truth: np.ndarray) -> Wish:
    """The wish with one more click, in the middle of the largest wrong part."""
    best, place, on = 0, (0, 0), True
    for wrong, kind in ((truth & ~mask, True), (mask & ~truth, False)):
        parts, count = ndimage.label(wrong)
        if not count:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        if sizes.max() > best:
            best, on = int(sizes.max()), kind
            part = np.pad(parts == 1 + sizes.argmax(), 1)
            place = np.unravel_index(ndimage.distance_transform_edt(part).argmax(), part.shape)
    if not best:
        return wish
    point = (float(place[1]) - 0.5, float(place[0]) - 0.5)  # padded by one; the middle of the pixel
    inside, outside = (*wish.inside, *[point][: int(on)]), (*wish.outside, *[point][: int(not on)])
    return Wish(inside, outside, wish.box)


def box_of(truth: np.ndarray) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of an object."""
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def asking(proposer: Proposer, video: Scaled, index: int) -> Ask:
    """What answers a wish on a frame."""
    frame = video[index]
    return lambda wish: proposer.mask(index, frame, wish)


def losses(row: dict[str, Any]) -> list[float]:
    """What each click after the first wish took from the IoU."""
    return [
        before - after
        for kind in ("clicks", "box")
        for before, after in zip(row[kind], row[kind][1:], strict=False)
    ]


def mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over objects and frames."""
    lost = [loss for row in rows for loss in losses(row)]
    return {
        **{kind: np.mean([row[kind] for row in rows], axis=0).tolist() for kind in ("clicks", "box")},
        "worst": max(lost),
        "lost": sum(loss > LOSS for loss in lost),
        "of": len(lost),
        "first": statistics.median(row["first"] for row in rows),
        "seconds": statistics.median(s for row in rows for s in row["seconds"]),
        "longest": max(s for row in rows for s in row["seconds"]),
    }


def line(row: dict[str, Any]) -> str:
    """A row for a person."""
    clicks, box = (" ".join(f"{v:.2f}" for v in row[kind]) for kind in ("clicks", "box"))
    return f"clicks {clicks}; box and clicks {box}"


def summary(row: dict[str, Any]) -> str:
    """The last lines."""
    return (
        f"mean: {line(row)}; largest loss after a correct click {row['worst']:.2f}, more than {LOSS} lost"
        f" after {row['lost']} of {row['of']}; milliseconds: first {1000 * row['first']:.0f}, later"
        f" {1000 * row['seconds']:.0f}, longest {1000 * row['longest']:.0f}"
    )


if __name__ == "__main__":
    main()
