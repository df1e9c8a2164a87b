"""Compute a method's recorded outputs anew: python tests/parity/run.py METHOD IN.npz OUT.npz --seed SEED

METHOD is the name of a module METHOD_vectors beside this file, whose run(inputs, seed) does it: mamp,
metrics. Compare with tests/golden/compare.py.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Read IN, write OUT."""
    sys.path[:0] = [str(HERE.parents[1]), str(HERE)]
    methods = sorted(file.stem.removesuffix("_vectors") for file in HERE.glob("*_vectors.py"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=methods)
    parser.add_argument("inputs", type=Path, metavar="IN.npz", help="holds the in.* keys; others are ignored")
    parser.add_argument("outputs", type=Path, metavar="OUT.npz", help="where the out.* keys go")
    parser.add_argument("--seed", default="dev", help="what random weights are filled from")
    args = parser.parse_args()
    with np.load(args.inputs) as file:
        inputs = {key: file[key] for key in file.files if key.startswith("in.")}
    outputs = importlib.import_module(f"{args.method}_vectors").run(inputs, args.seed)
    with args.outputs.open("wb") as out:
        np.savez_compressed(out, **outputs)


if __name__ == "__main__":
    main()
