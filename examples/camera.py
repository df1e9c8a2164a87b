"""A camera: how much of each frame the object covers, for a hundred frames.

mamp first camera:0 --out first.png        # then paint the object on it, and save the paint as mask.png
python examples/camera.py 0 mask.png
"""

import itertools
import sys

import mamp

camera, mask = sys.argv[1:]
for number, labels in itertools.islice(mamp.segment_video(f"camera:{camera}", mask), 100):
    print(f"frame {number}: {(labels > 0).mean():.1%} of the picture")
