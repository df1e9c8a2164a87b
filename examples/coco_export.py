"""Boxes and areas from a COCO file that `mamp segment --save coco` wrote.

First `mamp segment VIDEO --mask MASK.png --out masks --save coco`, then `python examples/coco_export.py
masks-coco.json`.
"""

import json
import sys

from pycocotools import mask as coco

with open(sys.argv[1], encoding="utf-8") as file:
    written = json.load(file)
names = {image["id"]: image["file_name"] for image in written["images"]}
for shown in written["annotations"]:
    pixels = coco.decode(shown["segmentation"])  # uint8 (H, W)
    x, y, width, height = shown["bbox"]
    print(
        f"{names[shown['image_id']]}: object {shown['track_id']}, {pixels.sum()} pixels, {width}x{height} at"
        f" {x},{y}"
    )
