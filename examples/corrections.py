"""Frame by frame: a correction and a new object on the way.

python examples/corrections.py FOLDER OUT      # frames FOLDER/*.jpg, masks FOLDER/*.png for some of them
"""

import sys
from pathlib import Path

from PIL import Image

import mamp

folder, out = map(Path, sys.argv[1:])
out.mkdir(exist_ok=True)
segmenter = mamp.load().segmenter()
for path in sorted(folder.glob("*.jpg")):
    mask = path.with_suffix(".png")
    given = mamp.read_mask(mask) if mask.exists() else None
    # objects in a given mask have exactly its pixels from here on; new numbers are new objects
    labels = segmenter.step(Image.open(path), given)
    mamp.write_mask(out / f"{path.stem}.png", labels)
print(f"objects {segmenter.ids}, {segmenter.memory_bytes / 1e6:.1f} MB of memory frames")
