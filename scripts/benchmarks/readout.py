"""What settings of the memory read are worth: J&F of each beside the default, on the same features.

    python scripts/benchmarks/readout.py DAVIS2016 --out FILE.jsonl [--splits train tune] [--cache DIR]
        [--settings "sharpen=1.5" "sharpen=1.5 top_k=8" ...] [--base "preset=fast"] [--frames N] [--every N]
        [--sequences NAME ...] [--dataset davis2017] [--json FILE]

A setting is knobs of method.propagation, apart by spaces; `preset=NAME` and keys with a dot are taken as they
are. The encoder sees each frame once: its features are kept in the cache, one file a sequence for all
settings that see frames alike. Each result is one line of FILE.jsonl, written at once, and is not measured
again. At the end every setting's mean with a bootstrap interval over sequences, and the paired difference to
the base. --every scores each N-th frame only: all of them are carried, and the fit to edges, which memory
does not hold, is left out in between. The first and the last frame are not scored.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence as Some
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import options, write
from intervals import described, difference
from torch import Tensor

from mamp.core.devices import amp_dtype
from mamp.datasets.sequences import Sequence, open_dataset
from mamp.methods.mamp.propagator import MampPropagator
from mamp.scoring import score_frame
from mamp.segmentation.model import Model, load

SEEN = ("views", "distilled", "pad", "subsample", "short_side", "enlarge")  # what features depend on
Row = dict[str, Any]


class Cached(MampPropagator):
    """A propagator whose features come from a list; it fits a frame to edges only where it is scored."""

    held: Some[Tensor] = ()
    scored = True

    def _features(self, index: int, frame: Tensor) -> Tensor:
        self.features = self.held[index]
        return self.features

    def _fitted(self, probabilities: Tensor, frame: Tensor) -> Tensor:
        return super()._fitted(probabilities, frame) if self.scored else probabilities


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="results, a line each; read again")
    parser.add_argument("--dataset", default="davis2016")
    parser.add_argument("--splits", nargs="+", default=["train", "tune"])
    parser.add_argument("--sequences", nargs="*", help="only these")
    parser.add_argument("--settings", nargs="*", default=[], help="one word each, quoted")
    parser.add_argument("--base", default="", help="what all settings come on top of")
    parser.add_argument("--weights", help="as `mamp segment` takes them")
    parser.add_argument("--cache", type=Path, help="folder for features; none: computed for each setting")
    parser.add_argument("--frames", type=int, help="only so many frames of each sequence")
    parser.add_argument("--every", type=int, default=1, help="score each N-th frame")
    args = parser.parse_args()
    names = ["", *args.settings]
    models = {name: load(args.weights, device="cpu", overrides=keys(args.base, name)) for name in names}
    found = {row_key(row): row for row in read(args.out)}
    sequences = [one for split in args.splits for one in open_dataset(args.dataset, args.root, split)]
    rows: list[Row] = []
    for sequence in sequences:
        if args.sequences and sequence.name not in args.sequences:
            continue
        for name, model in models.items():
            asked = {
                "sequence": sequence.name, "base": args.base, "settings": name, "frames": args.frames,
                "every": args.every,
            }  # fmt: skip
            if row_key(asked) not in found:
                row = asked | measure(sequence, model, args.cache, frames=args.frames, every=args.every)
                with args.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                found[row_key(row)] = row
            rows.append(found[row_key(asked)])
    write(tables(names, rows), args.json)


def keys(*words: str) -> list[str]:
    """`sharpen=1.5 preset=fast` -> settings by their whole names."""
    where = {True: "method.", False: "method.propagation."}
    parts = [part for word in words for part in word.split()]
    return [part if "." in part.split("=")[0] else where[part.startswith("preset=")] + part for part in parts]


def read(path: Path) -> list[Row]:
    """The results so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def row_key(row: Row) -> str:
    """What was measured."""
    return json.dumps([row[part] for part in ("sequence", "base", "settings", "frames", "every")])


@torch.inference_mode()
def measure(sequence: Sequence, model: Model, cache: Path | None, *, frames: int | None, every: int) -> Row:
    """J, F and CPU seconds a frame without the encoder, of one sequence by one setting."""
    with sequence.open() as source:
        images = [source[index] for index in range(min(frames or len(source), len(source)))]
    propagator = Cached(
        model.network, model.config.method, dtype=amp_dtype(model.config.evaluate.amp, model.device)
    )
    propagator.held = features(sequence.name, images, model, cache)
    first = sequence.read_given(0)
    ids = sorted({*np.unique(first).tolist()} - {0})
    propagator.start(as_tensor(images[0]), torch.from_numpy(np.stack([first == k for k in ids])).float())
    scores, began = [], time.process_time()
    for index in range(1, len(images)):
        propagator.scored = index % every == 0 and index < len(images) - 1
        labels = propagator.step(as_tensor(images[index])).argmax(0)
        if propagator.scored:
            result = np.array([0, *ids], dtype=np.uint8)[labels.numpy()]
            scores.append([part.mean() for part in score_frame(sequence.read_truth(index), result, ids)])
    seconds = (time.process_time() - began) / max(1, len(images) - 1)
    j, f = np.mean(scores, axis=0).tolist() if scores else (float("nan"),) * 2
    return {"J": j, "F": f, "J&F": (j + f) / 2, "seconds": seconds}


def as_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> float (3, H, W) in [0, 1]."""
    return torch.from_numpy(image).movedim(-1, 0).float() / 255


def features(name: str, images: list[np.ndarray], model: Model, cache: Path | None) -> list[Tensor]:
    """(C, h, w) of each frame, from the cache if they are there."""
    method = model.config.method
    dtype = amp_dtype(model.config.evaluate.amp, model.device)
    seen = method.propagation.model_dump(include=set(SEEN)) | {"images": len(images), "as": str(dtype)}
    known = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:12]
    file = cache / f"{name}-{known}.pt" if cache else None
    if file and file.exists():
        found: list[Tensor] = torch.load(file, weights_only=True)
        return found
    propagator = MampPropagator(model.network, method, dtype=dtype)
    found = [propagator._features(index, as_tensor(image)) for index, image in enumerate(images)]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(found, file)
    return found


def tables(names: list[str], rows: list[Row]) -> dict[str, dict[str, float]]:
    """Print a row for each setting; J&F of each by sequence."""
    found = {name: {row["sequence"]: row["J&F"] for row in rows if row["settings"] == name} for name in names}
    for name, values in found.items():
        seconds = np.mean([row["seconds"] for row in rows if row["settings"] == name])
        print(f"{name or 'base'}: J&F {described(values)}, {seconds:.2f} CPU s a frame without the encoder")
        if name:
            print(f"  less the base: {difference(values, found[''])}")
    print("\n" + "\n".join(by_sequence(names, found)))
    return found


def by_sequence(names: list[str], found: dict[str, dict[str, float]]) -> list[str]:
    """A Markdown table of J&F: a row for each sequence, a column for each setting."""
    head = ["| sequence | " + " | ".join(name or "base" for name in names) + " |"]
    head.append("|---" * (1 + len(names)) + "|")
    sequences = found[""]
    return head + [
        f"| {one} | " + " | ".join(f"{found[name][one]:.3f}" for name in names) + " |" for one in sequences
    ]


if __name__ == "__main__":
    main()
