"""J&F of evaluations with intervals: a bootstrap over sequences.

    python scripts/benchmarks/intervals.py OUT [OUT ...] [--json FILE]

OUT: folders of `mamp evaluate`, or scores.json. Prints the mean of each and the interval in which 95 % of the
means lie that come from drawing as many sequences with replacement; then, for each but the first, the
difference to the first on the sequences of both, sequence by sequence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from common import options, write

DRAWS, LEVEL = 10_000, 95


def interval(values: np.ndarray, *, draws: int = DRAWS) -> tuple[float, float]:
    """Where the middle 95 % of the means lie of as many values (N,), drawn with replacement."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [50 - LEVEL / 2, 50 + LEVEL / 2])
    return float(low), float(high)


def described(values: Mapping[str, float]) -> str:
    """The mean of the sequences, and its interval."""
    found = np.array(list(values.values()))
    low, high = interval(found)
    return f"{found.mean():.3f} [{low:.3f}, {high:.3f}]"


def difference(values: Mapping[str, float], base: Mapping[str, float]) -> str:
    """The mean difference over the sequences of both, its interval, and in how many it is above 0."""
    both = [name for name in values if name in base]
    if not both:
        return "no sequence in common"
    found = np.array([values[name] - base[name] for name in both])
    low, high = interval(found)
    better = int((found > 0).sum())
    return f"{found.mean():+.4f} [{low:+.4f}, {high:+.4f}], better in {better} of {len(both)}"


def of_evaluation(path: Path) -> dict[str, float]:
    """J&F of each sequence, the mean over its objects."""
    file = path / "scores.json" if path.is_dir() else path
    sequences = json.loads(file.read_text())["sequences"]
    return {
        name: float(np.mean([(one["J-Mean"] + one["F-Mean"]) / 2 for one in objects.values()]))
        for name, objects in sequences.items()
    }


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("evaluations", nargs="+", type=Path, metavar="OUT")
    args = parser.parse_args()
    found = {str(path): of_evaluation(path) for path in args.evaluations}
    base = next(iter(found.values()))
    for number, (name, values) in enumerate(found.items()):
        print(f"{name}: J&F {described(values)} of {len(values)} sequences")
        if number:
            print(f"  less the first: {difference(values, base)}")
    write(found, args.json)


if __name__ == "__main__":
    main()
