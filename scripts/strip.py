"""The strip of pictures at the top of the README: photographs moved over one another, and masks carried.

    pip install scikit-image scikit-learn
    python scripts/strip.py OUT

The photographs come with these two packages: the cat is by Stefan van der Walt (CC0), the flower by vultilion
and the temple by danielbuechele (both CC BY 2.0). OUT gets frames, the true masks, the carried masks, and
strip.jpg.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import mamp
from mamp.core.files import make_folder
from mamp.scoring.metrics import region_similarity
from mamp.video.masks import write_mask
from mamp.video.overlay import blend, write_picture

SIZE = (640, 360)  # of the frames, width and height
FRAMES = 48
SHOWN = (0, 16, 25, 47)
# outlines in parts of the photograph's width and height, painted by hand
CAT = (
    *((0.08, 0.24), (0.10, 0.0), (0.16, 0.0), (0.25, 0.07), (0.45, 0.02), (0.68, 0.06), (0.80, 0.0)),
    *((0.885, 0.0), (0.84, 0.15), (0.785, 0.25), (0.807, 0.45), (0.785, 0.62), (0.71, 0.83), (0.66, 0.92)),
    *((0.57, 0.985), (0.45, 0.975), (0.38, 0.93), (0.27, 0.82), (0.16, 0.65), (0.08, 0.48), (0.068, 0.33)),
)


@dataclass(frozen=True)
class Thing:
    """A photograph cut out, and its path.

    picture: RGBA. scale, turn, x, y: at the first and the last frame; degrees, and parts of the frame.
    """

    picture: Image.Image
    scale: tuple[float, float]
    turn: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, part: float) -> Image.Image:
        """RGBA of the frame's size at a moment from 0 to 1."""
        scale, turn, x, y = (a + (b - a) * part for a, b in (self.scale, self.turn, self.x, self.y))
        size = [max(1, round(side * scale)) for side in self.picture.size]
        turned = self.picture.resize(size, Image.Resampling.LANCZOS)
        turned = turned.rotate(turn, Image.Resampling.BICUBIC, expand=True)
        layer = Image.new("RGBA", SIZE)
        layer.paste(turned, (round(x * SIZE[0] - turned.width / 2), round(y * SIZE[1] - turned.height / 2)))
        return layer


def cut_out(photograph: Image.Image, outline: Image.Image) -> Image.Image:
    """The photograph where `outline` (L) is white, cropped to it, with an edge of a pixel."""
    found = photograph.convert("RGB")
    found.putalpha(outline.filter(ImageFilter.GaussianBlur(1)))
    return found.crop(outline.getbbox())


def render(out: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames uint8 (H, W, 3) and their true label maps: 1 is the cat, 2 the flower."""
    cat = Image.open(str(files("skimage") / "data/chelsea.png"))
    flower = Image.open(str(files("sklearn") / "datasets/images/flower.jpg"))
    temple = Image.open(str(files("sklearn") / "datasets/images/china.jpg")).convert("RGB")
    face, ball = Image.new("L", cat.size), Image.new("L", flower.size)
    ImageDraw.Draw(face).polygon([(x * cat.width, y * cat.height) for x, y in CAT], fill=255)
    ImageDraw.Draw(ball).ellipse((170, 86, 444, 358), fill=255)
    things = [
        Thing(cut_out(cat, face), (0.62, 0.8), (-14, 12), (0.28, 0.66), (0.64, 0.6)),
        Thing(cut_out(flower, ball), (0.5, 0.62), (0, 150), (0.86, 0.2), (0.3, 0.66)),
    ]
    frames, truths = [], []
    for index in range(FRAMES):
        part = index / (FRAMES - 1)
        left, top, width = 20 + 50 * part, 30 - 20 * part, 540 + 30 * part
        box = (left, top, left + width, top + width * SIZE[1] / SIZE[0])
        frame = temple.resize(SIZE, Image.Resampling.LANCZOS, box=box).convert("RGBA")
        truth = np.zeros(SIZE[::-1], np.uint8)
        for number, thing in enumerate(things, start=1):
            layer = thing.at(part)
            frame.alpha_composite(layer)
            truth[np.asarray(layer.getchannel("A")) >= 128] = number
        frames.append(np.asarray(frame.convert("RGB")))
        truths.append(truth)
        write_picture(out / "frames" / f"{index:05d}.png", frames[-1])
        write_mask(out / "truth" / f"{index:05d}.png", truth)
    return frames, truths


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    out = parser.parse_args().out
    for name in ("frames", "truth", "masks"):
        make_folder(out / name)
    frames, truths = render(out)
    scores, shown = [], []
    carried = mamp.segment_video(out / "frames", out / "truth" / "00000.png")
    for index, (name, labels) in enumerate(carried):
        write_mask(out / "masks" / f"{name}.png", labels)
        if index:
            scores.append(
                [
                    region_similarity(truths[index] == k, labels == k)
                    for k in (1, 2)
                    if (truths[index] == k).any()
                ]
            )
        if index in SHOWN:
            picture = Image.fromarray(blend(frames[index], labels, opacity=0.4)).resize(
                (384, 216), Image.Resampling.LANCZOS
            )
            shown.append(np.pad(np.asarray(picture), ((0, 0), (0, 6), (0, 0)), constant_values=255))
    strip = Image.fromarray(np.concatenate(shown, axis=1)[:, :-6])
    strip.save(out / "strip.jpg", quality=88)
    print(f"{out / 'strip.jpg'}: J {np.mean([np.mean(s) for s in scores]):.3f} over {FRAMES - 1} frames")


if __name__ == "__main__":
    main()
