"""Two videos at once: one model, a segmenter and a thread for each.

python examples/threads.py VIDEO1 MASK1.png VIDEO2 MASK2.png
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import mamp

model = mamp.load()


def area(video: str, mask: str) -> list[int]:
    """Pixels of all objects, frame by frame."""
    return [int((labels > 0).sum()) for _, labels in mamp.segment_video(video, mask, weights=model)]


pairs = list(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
with ThreadPoolExecutor() as pool:
    for (video, _), areas in zip(pairs, pool.map(lambda pair: area(*pair), pairs), strict=True):
        print(f"{video}: {len(areas)} frames, {areas[0]} pixels in the first, {areas[-1]} in the last")
