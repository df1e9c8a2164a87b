"""Masks without torch: numpy, Pillow and onnxruntime.

First `mamp weights onnx mamp-small mamp_onnx`, then `python examples/onnx_masks.py mamp_onnx FRAMES
MASK.png OUT`.
"""

import json
import sys
from collections import deque
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

graphs, frames, first_mask, out = map(Path, sys.argv[1:])
encoder, start, step = (
    onnxruntime.InferenceSession(graphs / f"{n}.onnx") for n in ("encoder", "mask", "step")
)
length = json.loads((graphs / "mamp.json").read_text())["memory"]["length"]

given = np.asarray(Image.open(first_mask))  # a label map; a palette PNG is one
ids = np.union1d(0, given)  # the objects' own numbers; in the graphs they are 1 to K
memory, first = deque(maxlen=length), None
out.mkdir(exist_ok=True)
for path in sorted(frames.iterdir()):
    image = np.asarray(Image.open(path).convert("RGB"))
    (features,) = encoder.run(None, {"image": image})
    if first is None:
        mask = np.searchsorted(ids, given)
        (labels,) = start.run(None, {"mask": mask})
        first = features, labels
    else:
        keys, values = (np.stack(part) for part in zip(first, *memory, strict=True))
        inputs = {"image": image, "features": features, "keys": keys, "values": values}
        labels, mask = step.run(["labels", "mask"], inputs)
        memory.append((features, labels))
    Image.fromarray(ids[mask].astype(given.dtype)).save(out / f"{path.stem}.png")
