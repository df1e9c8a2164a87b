"""The kinds of masks that scripts/benchmarks/masks.py makes of a true mask, as programs save them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

GAUSS, BOX = ImageFilter.GaussianBlur, ImageFilter.BoxBlur
HOW = Image.Resampling
DAVIS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


@dataclass(frozen=True)
class Sample:
    """A first mask: (H, W) of 0 and 1, and the file of its frame."""

    name: str
    labels: np.ndarray
    frame: Path

    def two(self) -> np.ndarray:
        """The object cut in two where half of it is left of the cut: objects 1 and 2."""
        columns = np.cumsum(self.labels.sum(0))
        cut = int(np.searchsorted(columns, columns[-1] / 2))
        labels = self.labels.copy()
        labels[:, cut:] *= 2
        return labels


Saver = Callable[[Sample, Path], Path]


@dataclass(frozen=True)
class Kind:
    """A kind of mask files.

    make: writes the file of a sample, and returns its path. objects: 1 or 2. refuse: it is no mask.
    least: IoU with which it is read right.
    """

    make: Saver
    objects: int = 1
    refuse: bool = False
    invert: bool = False
    least: float = 0.95

    def truth(self, sample: Sample) -> np.ndarray:
        """The label map that should be read."""
        return sample.labels if self.objects == 1 else sample.two()


def save(image: Image.Image, path: Path, suffix: str = ".png", **options: Any) -> Path:
    file = path.with_suffix(suffix)
    image.save(file, **options)
    return file


def white(sample: Sample) -> Image.Image:
    return Image.fromarray(sample.labels * np.uint8(255))


def in_colours(colours: list[tuple[int, ...]], sample: Sample) -> Image.Image:
    """One object or two, in colours: the first is the background's."""
    labels = sample.labels if len(colours) == 2 else sample.two()
    return Image.fromarray(np.array(colours, np.uint8)[labels])


def blurred(blur: ImageFilter.Filter, colours: list[tuple[int, ...]], sample: Sample, path: Path) -> Path:
    return save(in_colours(colours, sample).filter(blur), path)


def scaled(scale: float, how: Image.Resampling, sample: Sample, path: Path) -> Path:
    height, width = sample.labels.shape
    return save(white(sample).resize((round(width * scale), round(height * scale)), how), path)


def jpeg(
    quality: int, colours: list[tuple[int, ...]] | None, again: bool, sample: Sample, path: Path
) -> Path:
    image = white(sample) if colours is None else in_colours(colours, sample)
    file = save(image, path, ".jpg", quality=quality)
    return save(Image.open(file), path) if again else file


def transparent(
    mode: str, colour: tuple[int, ...], hidden: tuple[int, ...], sample: Sample, path: Path
) -> Path:
    image = in_colours([hidden, colour], sample)
    image.putalpha(white(sample))
    return save(image.convert(mode), path)


def palette(
    numbers: list[int], colours: list[tuple[int, ...]], sample: Sample, path: Path, **options: Any
) -> Path:
    """A palette picture in which label k has the number numbers[k] and the colour colours[k]."""
    labels = sample.labels if len(numbers) == 2 else sample.two()
    table = np.zeros((256, 3), np.uint8)
    table[numbers] = colours
    image = Image.fromarray(np.array(numbers, np.uint8)[labels])
    image.putpalette(table.tobytes())
    return save(image, path, **options)


def quantized(colours: list[tuple[int, ...]], most: int, sample: Sample, path: Path) -> Path:
    return save(in_colours(colours, sample).quantize(most), path)


def web(dither: Image.Dither, sample: Sample, path: Path) -> Path:
    image = in_colours([(0, 0, 0), (250, 60, 30)], sample)
    return save(image.convert("P", palette=Image.Palette.WEB, dither=dither), path)


def levels(low: int, high: int, sample: Sample, path: Path) -> Path:
    kind = np.uint16 if max(low, high) > 255 else np.uint8
    return save(Image.fromarray(np.where(sample.labels > 0, high, low).astype(kind)), path)


def flat(colours: list[tuple[int, ...]], sample: Sample, path: Path, suffix: str = ".png") -> Path:
    return save(in_colours(colours, sample), path, suffix)


def turned(suffix: str, sample: Sample, path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture lies on its side
    return save(white(sample).transpose(Image.Transpose.ROTATE_90), path, suffix, exif=exif)


def other_shape(sample: Sample, path: Path) -> Path:
    height, width = sample.labels.shape
    return save(white(sample).resize((width, round(height * 0.8))), path)


def photograph(mode: str, sample: Sample, path: Path) -> Path:
    image = Image.open(sample.frame).convert("RGB")
    if mode == "jpg":
        return save(image, path, ".jpg", quality=90)
    return save(image.quantize(64) if mode == "P" else image.convert(mode), path)


def cutout(sample: Sample, path: Path) -> Path:
    image = Image.open(sample.frame).convert("RGB")
    image.putalpha(white(sample))
    return save(image, path)


BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)
SEVERAL = [BLACK, (230, 40, 40), (40, 200, 60)]
FLAT = [(34, 139, 34), (255, 165, 0), (30, 30, 200)]

KINDS: dict[str, Kind] = {
    "as DAVIS has it, 0 and 255": Kind(partial(levels, 0, 255)),
    "blurred by 1 px (Gaussian)": Kind(partial(blurred, GAUSS(1), [BLACK, WHITE])),
    "blurred by 3 px (Gaussian)": Kind(partial(blurred, GAUSS(3), [BLACK, WHITE])),
    "blurred by 3 px (box)": Kind(partial(blurred, BOX(3), [BLACK, WHITE])),
    "halved, nearest": Kind(partial(scaled, 0.5, HOW.NEAREST), least=0.8),
    "halved, bilinear": Kind(partial(scaled, 0.5, HOW.BILINEAR), least=0.8),
    "halved, Lanczos": Kind(partial(scaled, 0.5, HOW.LANCZOS), least=0.8),
    "enlarged twice, nearest": Kind(partial(scaled, 2, HOW.NEAREST)),
    "enlarged twice, bicubic": Kind(partial(scaled, 2, HOW.BICUBIC)),
    "enlarged 3.3 times, bilinear": Kind(partial(scaled, 3.3, HOW.BILINEAR)),
    **{f"JPEG, quality {q}": Kind(partial(jpeg, q, None, False)) for q in (50, 75, 90, 95)},
    **{f"JPEG saved again as PNG, quality {q}": Kind(partial(jpeg, q, None, True)) for q in (50, 75, 90, 95)},
    "red in a JPEG, quality 75": Kind(partial(jpeg, 75, [BLACK, RED], False)),
    "two DAVIS colours": Kind(partial(flat, DAVIS), 2),
    "two DAVIS colours, blurred by 1 px": Kind(partial(blurred, GAUSS(1), DAVIS), 2),
    "two DAVIS colours, blurred by 3 px": Kind(partial(blurred, GAUSS(3), DAVIS), 2),
    "two DAVIS colours in a JPEG, quality 75": Kind(partial(jpeg, 75, DAVIS, False), 2),
    "two DAVIS colours in a JPEG, quality 95": Kind(partial(jpeg, 95, DAVIS, True), 2),
    "white on transparency (RGBA)": Kind(partial(transparent, "RGBA", WHITE, BLACK)),
    "black on transparency (RGBA)": Kind(partial(transparent, "RGBA", BLACK, WHITE)),
    "grey and alpha": Kind(partial(transparent, "LA", WHITE, WHITE)),
    "a frame cut out (RGBA)": Kind(cutout),
    "palette with a transparent entry": Kind(partial(palette, [7, 3], [WHITE, RED], transparency=7)),
    "palette, DAVIS colours, other order": Kind(partial(palette, [2, 0, 1], DAVIS), 2),
    "palette, white at index 0": Kind(partial(palette, [1, 0], [BLACK, WHITE])),
    "palette of `quantize`, one object": Kind(partial(quantized, [BLACK, WHITE], 2)),
    "palette of `quantize`, two objects": Kind(partial(quantized, DAVIS, 8), 2),
    "web palette": Kind(partial(web, Image.Dither.NONE)),
    "web palette, dithered": Kind(partial(web, Image.Dither.FLOYDSTEINBERG)),
    "0 and 128": Kind(partial(levels, 0, 128)),
    "16 bits, 0 and 65535": Kind(partial(levels, 0, 65535)),
    "red on black": Kind(partial(flat, [BLACK, RED])),
    "red on white": Kind(partial(flat, [WHITE, RED])),
    "red on black, GIF": Kind(partial(flat, [BLACK, RED], suffix=".gif")),
    "two colours that are not DAVIS's": Kind(partial(flat, SEVERAL), 2),
    "the same, blurred by 2 px": Kind(partial(blurred, GAUSS(2), SEVERAL), 2),
    "object black on white, with --invert": Kind(partial(levels, 255, 0), invert=True),
    "turned by EXIF, PNG": Kind(partial(turned, ".png")),
    "turned by EXIF, JPEG": Kind(partial(turned, ".jpg")),
    "turned by EXIF, TIFF": Kind(partial(turned, ".tif")),
    "another shape": Kind(other_shape, refuse=True),
    "photograph, JPEG": Kind(partial(photograph, "jpg"), refuse=True),
    "photograph, PNG": Kind(partial(photograph, "RGB"), refuse=True),
    "photograph, grey": Kind(partial(photograph, "L"), refuse=True),
    "photograph, 64 colours": Kind(partial(photograph, "P"), refuse=True),
}
