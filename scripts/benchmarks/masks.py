"""Kinds of masks that people make, each of all first masks of a data set: how many are read right.

    python scripts/benchmarks/masks.py shared/data/DAVIS2016 --before OLDER_CHECKOUT

A mask is read right when it has the objects of the true mask, under their numbers, and an IoU of 0.95 or
more with each (0.8 where the file has half the size). Photographs and masks of another shape are right when
they are refused. --before: an older checkout, whose reading is shown beside.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import common
import numpy as np
from mask_kinds import KINDS, Kind, Sample
from PIL import Image

# Run by any checkout in a process of its own: writes the label map of each file, or nothing where it refuses.
READER = """
import sys, warnings
from pathlib import Path
import numpy as np
warnings.simplefilter("ignore")
try:
    from mamp.video.first_masks.reading import read
    def labels(file, size, invert): return read(file, size=size, invert=invert).labels
except ImportError:
    from mamp.data.masks import read_mask
    def labels(file, size, invert): return read_mask(file, size=size)
for line in sys.stdin:
    file, height, width, invert = line.rstrip("\\n").split("\\t")
    try:
        np.save(file + ".npy", labels(Path(file), (int(height), int(width)), invert == "1"))
    except Exception as error:
        if type(error).__name__ != "UserError" and "mamp" not in type(error).__module__:
            Path(file + ".txt").write_text(repr(error))
"""


def main() -> None:
    parser = common.options(__doc__)
    parser.add_argument("root", type=Path, help="DAVIS-2016")
    parser.add_argument("--before", type=Path, help="an older checkout")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    parser.add_argument("--first", type=int, help="so many sequences")
    args = parser.parse_args()
    here = Path(__file__).resolve().parents[2]
    checkouts = [args.before, here] if args.before else [here]
    samples = list(first_masks(args.root))[: args.first]
    print("| kind of mask |", " | ".join(["before", "now"][-len(checkouts) :]), "|")
    print("|---|" + "---|" * len(checkouts))
    figures = {}
    for name, kind in KINDS.items():
        if args.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            made = [kind.make(sample, Path(folder) / f"{sample.name}") for sample in samples]
            cells = [outcome(kind, samples, made, checkout) for checkout in checkouts]
        figures[name] = cells
        print(f"| {name} |", " | ".join(cells), "|", flush=True)
    common.write(figures, args.json)


def first_masks(root: Path) -> Iterator[Sample]:
    """The first mask and frame of each sequence, by name."""
    for folder in sorted((root / "Annotations" / "480p").iterdir()):
        file = min(folder.glob("*.png"))
        frame = root / "JPEGImages" / "480p" / folder.name / f"{file.stem}.jpg"
        yield Sample(folder.name, (np.array(Image.open(file).convert("L")) > 0).astype(np.uint8), frame)


def outcome(kind: Kind, samples: list[Sample], made: list[Path], checkout: Path) -> str:
    """How many files of a kind a checkout reads right, and what it does to the others."""
    lines = []
    for sample, file in zip(samples, made, strict=True):
        Path(f"{file}.npy").unlink(missing_ok=True)
        lines.append("\t".join([str(file), *map(str, sample.labels.shape), str(int(kind.invert))]))
    subprocess.run(
        [sys.executable, "-c", READER], input="\n".join(lines) + "\n", text=True, check=True, cwd="/",
        env={"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    right, refused, ious, counts, broken = 0, 0, [], [], []
    for sample, file in zip(samples, made, strict=True):
        result = Path(f"{file}.npy")
        if Path(f"{file}.txt").is_file():
            broken.append(sample.name)
        elif not result.is_file():
            refused += 1
            if not kind.refuse:
                print(f"  {sample.name}: refused", file=sys.stderr)
        else:
            iou, objects, same = compared(np.load(result), kind.truth(sample))
            ious.append(iou)
            counts.append(objects)
            right += same and iou >= kind.least
            if not (same and iou >= kind.least):
                print(f"  {sample.name}: {iou:.3f}, {objects} objects", file=sys.stderr)
    return told(kind, len(made), right, refused, ious, counts, broken)


def compared(found: np.ndarray, truth: np.ndarray) -> tuple[float, int, bool]:
    """The least IoU of a true object and its number, how many were found, whether they are the true ones."""
    wanted, objects = ({int(i) for i in np.unique(labels)} - {0} for labels in (truth, found))
    if found.shape != truth.shape:
        return 0.0, len(objects), False
    ious = [((found == i) & (truth == i)).sum() / ((found == i) | (truth == i)).sum() for i in wanted]
    return float(min(ious)), len(objects), wanted == objects


def told(
    kind: Kind, of: int, right: int, refused: int, ious: list[float], counts: list[int], broken: list[str]
) -> str:
    words = []
    if kind.refuse:
        return f"{refused} refused" + (f", {of - refused} read" if of > refused else "")
    if right:
        words.append(f"{right} right" if right < of else f"all {of} right, IoU {min(ious):.3f} or more")
    if refused:
        words.append(f"{refused} refused")
    if broken:
        words.append(f"{len(broken)} ended in an error")
    wrong = of - right - refused - len(broken)
    if wrong:
        words.append(f"{wrong} wrong (IoU {min(ious):.2f} at worst, up to {max(counts)} objects)")
    return ", ".join(words)


if __name__ == "__main__":
    main()
