"""Masks of one video, from the mask of its first frame.

python examples/one_video.py VIDEO MASK.png OUT
"""

import sys
from pathlib import Path

import mamp

video, mask, out = sys.argv[1:]
Path(out).mkdir(exist_ok=True)
for name, labels in mamp.segment_video(video, mask):  # labels: uint8 (H, W), your object numbers
    mamp.write_mask(Path(out) / f"{name}.png", labels)
