"""What a corrected frame is worth, and whether the page's uncertainty points at the right one.

    python scripts/benchmarks/correction.py ROOT [--split tune] [--sequences NAME ...] [--frames N] [--weights
    W] [--worst] [--json FILE] [key=value ...]

On sequences of DAVIS-2016 the first mask is drawn and carried on; then up to three frames are corrected with
the truth, by the same engine as in `mamp app`: `unsure` takes the frame that the page's "next uncertain"
shows, again after each correction; `even` takes as many frames evenly spaced; with --worst, `worst` takes the
frame with the largest expected error. J&F is the mean over all frames but the first and the last, corrected
ones counted. The evenly spaced single frame is the correction in mid-video: J&F of the frames
after it before and after, and frames stepped for it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import options, processor, write

from mamp.app.doubt import next_place
from mamp.app.engine import Engine
from mamp.app.project import Project
from mamp.datasets.sequences import Sequence, open_dataset
from mamp.scoring import score_frame
from mamp.segmentation.model import Model, load
from mamp.video.frames import FrameFolder, open_frames

MOST = 3  # corrected frames


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("root", type=Path, help="DAVIS-2016")
    parser.add_argument("--split", default="tune")
    parser.add_argument("--sequences", nargs="*", help="only these")
    parser.add_argument("--frames", type=int, help="only so many frames of each")
    parser.add_argument("--weights", help="as `mamp segment` takes them")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--worst", action="store_true", help="also the frames with the largest expected error"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    model = load(args.weights, device=args.device, overrides=args.overrides)
    sequences = open_dataset("davis2016", args.root, args.split)
    found = {}
    for sequence in sequences:
        if not args.sequences or sequence.name in args.sequences:
            found[sequence.name] = measure(sequence, model, frames=args.frames, worst=args.worst)
            print(f"{sequence.name}: {in_words(found[sequence.name])}", flush=True)
            write({"sequences": found}, args.json)  # a run that is stopped has these
    figures = {"processor": processor(), "sequences": found, "mean": mean(found)}
    print(f"mean: {in_words(figures['mean'])}")
    write(figures, args.json)


class Work:
    """One sequence in the engine. State: the project, in a folder that is not kept."""

    def __init__(self, sequence: Sequence, model: Model, frames: int | None, folder: str) -> None:
        with sequence.open() as source:
            names, path = source.names[:frames], source.path
        self.truth = [sequence.read_truth(index) for index in range(len(names))]
        source = open_frames(path, names=names)
        assert isinstance(source, FrameFolder)
        self.project = Project(Path(folder), source)
        self.engine = Engine(self.project, open_frames(path, names=names), model.segmenter)
        self.project.add_object()

    def correct(self, index: int) -> int:
        """The truth becomes frame `index`'s mask, and what follows is computed; frames stepped for it."""
        self.engine.edit(index, lambda: self.project.draw(index, self.truth[index].astype(np.uint8)))
        return self.run(index)

    def run(self, index: int) -> int:
        """Compute from frame `index` on; frames stepped for it."""
        self.engine.start(index, "forward")
        self.engine.wait()
        assert not self.engine.status.error, self.engine.status.error
        return self.engine.status.done + self.engine.status.replayed

    def forget(self, index: int) -> None:
        """The truth guides no more."""
        self.engine.edit(index, lambda: self.project.forget(index))

    def scores(self) -> np.ndarray:
        """J&F of every frame, float (T,)."""
        both = [score_frame(truth, self.project.mask(index), [1]) for index, truth in enumerate(self.truth)]
        return np.array([(j[0] + f[0]) / 2 for j, f in both])

    def next(self) -> int:
        """The frame that the page would show next."""
        place = next_place(self.project.frames(), [1])
        assert place is not None
        return place.frame

    def worst(self) -> int:
        """The frame with the largest expected error."""
        return int(self.unsure()[1:].argmax()) + 1

    def unsure(self) -> np.ndarray:
        """What the page's strip shows, float (T,); -1 where a mask was drawn."""
        frames = self.project.frames()
        return np.array([-1.0 if f.kind == "drawn" or f.unsure is None else f.unsure for f in frames])


def measure(sequence: Sequence, model: Model, *, frames: int | None, worst: bool = False) -> dict[str, Any]:
    """The figures of one sequence. worst: also by the largest expected error."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(sequence, model, frames, folder)
        work.correct(0)
        first, unsure = work.scores(), work.unsure()
        count, rows = len(first), {"even": [middle(first)]}
        ways = {"unsure": work.next, **({"worst": work.worst} if worst else {})}
        chosen: dict[str, list[int]] = {way: [] for way in ways}
        for way, choose in ways.items():
            rows[way] = [middle(first)]
            for _ in range(MOST):
                chosen[way].append(choose())
                work.correct(chosen[way][-1])
                rows[way].append(middle(work.scores()))
            for index in chosen[way]:
                work.forget(index)
            if way != list(ways)[-1]:
                work.run(1)
        mid: dict[str, Any] = {}
        for corrected in range(1, MOST + 1):
            places = [round((i + 1) * count / (corrected + 1)) for i in range(corrected)]
            for index in work.project.drawn()[1:]:
                work.forget(index)
            for index in places[1:]:
                work.engine.edit(index, lambda i=index: work.project.draw(i, work.truth[i].astype(np.uint8)))
            if corrected == 1:
                work.run(1)  # later ones begin before all that earlier ones changed
            stepped = work.correct(places[0])
            scores = work.scores()
            rows["even"].append(middle(scores))
            if corrected == 1:
                rest = slice(places[0] + 1, None)
                mid = {
                    "frame": places[0],
                    "frames": count,
                    "stepped": stepped,
                    "before": middle(first),
                    "after": middle(scores),
                    "rest_before": float(first[rest].mean()),
                    "rest_after": float(scores[rest].mean()),
                }
        work.project.close()
    return {
        "J&F": rows,
        "chosen": chosen["unsure"],
        "mid": mid,
        "rank": rank(unsure[1:], 1 - first[1:]),
        "worst": int(first[1:].argmin()) + 1,
    }


def middle(scores: np.ndarray) -> float:
    """As DAVIS-2016 is scored: without the first and the last frame."""
    return float(scores[1:-1].mean())


def rank(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def mean(found: dict[str, Any]) -> dict[str, Any]:
    """Over sequences."""
    rows = list(found.values())
    return {
        "J&F": {way: np.mean([row["J&F"][way] for row in rows], axis=0).tolist() for way in rows[0]["J&F"]},
        "mid": {key: float(np.mean([row["mid"][key] for row in rows])) for key in rows[0]["mid"]},
        "rank": float(np.mean([row["rank"] for row in rows])),
    }


def in_words(row: dict[str, Any]) -> str:
    """A line for a person."""
    ways = "; ".join(f"{way} {' '.join(f'{100 * v:.1f}' for v in row['J&F'][way])}" for way in row["J&F"])
    mid = row["mid"]
    return (
        f"J&F of 0 to {MOST} corrected frames: {ways}; rank of unsureness against error {row['rank']:.2f};"
        f" frame {mid['frame']:.0f} of {mid['frames']:.0f} corrected: what follows"
        f" {100 * mid['rest_before']:.1f} to {100 * mid['rest_after']:.1f}, {mid['stepped']:.0f} frames"
        " stepped"
    )


if __name__ == "__main__":
    main()
