"""`mamp segment` of an installed package on a rendered clip, with the weights that ship in it.

python .ci/first_masks.py ENVIRONMENT FOLDER
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import mamp
from mamp.video.masks import write_mask
from mamp.video.synthetic import render_clip

environment, folder = Path(sys.argv[1]), Path(sys.argv[2])
assert environment in Path(mamp.__file__).parents, f"{mamp.__file__} is not the installed package"
clip = render_clip(5, frames=4, size=(48, 64), objects=2)
(folder / "frames").mkdir(parents=True)
for t, frame in enumerate(clip.frames):
    Image.fromarray(frame).save(folder / "frames" / f"{t:05d}.png")
write_mask(folder / "mask.png", clip.labels[0])
words = [
    "segment",
    folder / "frames",
    "--mask",
    folder / "mask.png",
    "--out",
    folder / "masks",
    "--device",
    "cpu",
]
subprocess.run([environment / "bin" / "mamp", *words, "--quiet"], check=True)
last = np.asarray(Image.open(folder / "masks" / "00003.png"))
agreement = (last == clip.labels[3]).mean()
assert agreement > 0.9, f"only {agreement:.0%} of the last mask agrees with the truth"
