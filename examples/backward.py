"""A mask in the middle of a video, carried both ways.

python examples/backward.py VIDEO MASK.png 1:02.5 OUT      # a frame number, a frame's name or a time
"""

import sys
from pathlib import Path

import mamp

video, mask, at, out = sys.argv[1:]
Path(out).mkdir(exist_ok=True)
place = int(at) if at.isdecimal() else at
for name, labels in mamp.segment_video(video, mask, at=place, direction="both"):
    mamp.write_mask(Path(out) / f"{name}.png", labels)
