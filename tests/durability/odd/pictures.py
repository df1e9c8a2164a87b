"""Pictures, masks, annotation files and videos that are damaged or of odd form."""

from __future__ import annotations

import functools
import io
import json
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from odd import right
from odd.contract import Case, mamp, written_whole
from odd.values import damaged, deep_text, spoiled

SUFFIXES = (
    ".jpg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".heic",
    ".avif",
    ".npy",
    ".json",
    ".txt",
    "",
)
FILMS = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".wmv", ".m4v", ".gif", ".tif")


@functools.cache
def pictures() -> list[bytes]:
    """Right pictures of many forms."""
    pixels, labels = right.frame(1), right.labels(1)
    made = [right.jpeg(), right.mask_png()]
    made += [
        right.encoded(pixels, form)
        for form in ("PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "TGA", "ICO", "PCX")
    ]
    made += [right.encoded(labels, "PNG"), right.encoded(labels.astype(np.uint16) * 300, "PNG")]
    made += [
        right.encoded((labels > 0), "PNG"),
        right.paged("TIFF"),
        right.paged("GIF"),
        right.paged("PNG"),
        right.paged("WEBP"),
    ]
    for mode in ("LA", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "F", "I", "PA", "La", "RGBa"):
        for form in ("PNG", "TIFF", "JPEG"):
            file = io.BytesIO()
            try:
                Image.fromarray(pixels).convert(mode).save(file, form)
            except (OSError, ValueError, KeyError):
                continue
            made.append(file.getvalue())
    return made


def png(
    width: int, height: int, kind: int = 2, depth: int = 8, data: bytes = b"", more: bytes = b""
) -> bytes:
    """A PNG that claims what it likes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, depth, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + more
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def picture_bytes(rng: Random) -> bytes:
    how = rng.random()
    if how < 0.5:
        return damaged(rng.choice(pictures()), rng)
    if how < 0.65:
        return rng.choice(pictures())
    if how < 0.8:
        sides = (0, 1, 2, 3, 24, 32, 1000, 20000, 65535, 2**31 - 1, 2**31, 2**32 - 1)
        return png(
            rng.choice(sides),
            rng.choice(sides),
            rng.choice((0, 2, 3, 4, 6, 7)),
            rng.choice((1, 8, 16, 3)),
            bytes(rng.choice((0, 100, 100000))),
        )
    if how < 0.9:
        return array_bytes(rng)
    return annotation_bytes(rng)


def array_bytes(rng: Random) -> bytes:
    """A .npy or .npz: of odd type or shape, with an object inside, or that claims to be huge."""
    file = io.BytesIO()
    like = rng.choice(
        (
            np.zeros((24, 32), np.uint8),
            right.labels(0),
            right.labels(0).astype(np.float32) * np.nan,
            np.zeros(()),
            np.zeros((0, 5)),
            np.zeros((5, 0, 3)),
            np.zeros((2, 2, 2, 2)),
            np.array([["a", "b"]]),
            np.zeros((3, 3), complex),
            np.array([[object()]]),
            np.zeros((4, 4), "V7"),
            np.zeros((4, 4), [("a", "i4")]),
            np.full((24, 32), -1),
            np.full((24, 32), 2**40),
            np.zeros((24, 32), "datetime64[s]"),
            np.full((24, 32), np.inf),
            np.zeros((24, 32), bool),
            np.zeros((24, 32, 3), np.float64),
            np.zeros((24, 32, 4), np.uint16),
            np.arange(24 * 32).reshape(24, 32),
            np.zeros((1, 100_000), np.uint8),
            np.zeros((24, 32), ">u2"),
            np.full((24, 32), 1e300),
        )
    )
    if rng.random() < 0.2:
        named = {"a": like} if rng.random() < 0.7 else {"a": like, "b": like}
        np.savez(file, **named)
    else:
        np.save(file, like)
    content = file.getvalue()
    if rng.random() < 0.3:
        content = content.replace(
            b"(24, 32)", rng.choice((b"(10**9, 9", b"(99999999999, 9)", b"(-1, 9)", b"(" * 500))
        )
    return damaged(content, rng) if rng.random() < 0.3 else content


LABELME = {
    "imagePath": "..\\a\\00000.jpg",
    "imageHeight": 24,
    "imageWidth": 32,
    "shapes": [
        {"label": "a", "points": [[1, 1], [20, 2], [10, 20]], "shape_type": "polygon", "group_id": None},
        {"label": "b", "points": [[1, 1], [9, 9]], "shape_type": "rectangle", "group_id": 1},
        {"label": "c", "points": [[9, 9], [12, 12]], "shape_type": "circle"},
    ],
}
COCO = {
    "images": [{"id": 1, "file_name": "00000.jpg", "height": 24, "width": 32}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 20, 2, 10, 20]], "track_id": 3},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [24, 32], "counts": [10, 20, 738]}},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [24, 32], "counts": "0104"}},
    ],
}


def annotation_bytes(rng: Random) -> bytes:
    how = rng.random()
    if how < 0.08:
        text = json.dumps(_of_size(rng))
    elif how < 0.35:
        text = json.dumps(spoiled(LABELME, rng), default=str)
    elif how < 0.7:
        text = json.dumps(spoiled(COCO, rng), default=str)
    elif how < 0.75:
        text = deep_text(rng)
    elif how < 0.9:
        words = ["0", "0.1", "0.9", "1", "-1", "nan", "1e400", "1e30", "x", "5", "0.5", "-", "++", "1e5", "."]
        text = "\n".join(
            " ".join(rng.choices(words, k=rng.choice((1, 3, 5, 7, 8)))) for _ in range(rng.choice((1, 3)))
        )
    else:
        text = rng.choice(
            ("{", "[", "[]", "{}", "[1]", "null", '{"shapes": 5}', '{"annotations": {}}', "9" * 6000)
        )
    return text.encode(errors="replace")


def _of_size(rng: Random) -> Any:
    """An annotation file that is right, of a picture that is large, or has other sides than the frame."""
    sides = (0, 1, 24, 32, 24 * 4, 32 * 4, 24 * 300, 32 * 300, 65535, 10**6, -5)
    height, width = rng.choice(sides), rng.choice(sides)
    if rng.random() < 0.5:
        return LABELME | {"imageHeight": height, "imageWidth": width}
    counts = [1, 5, max(0, height * width - 6)]
    outline = rng.choice(([[0, 0, 9, 0, 9, 9]], {"size": [height, width], "counts": counts}))
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": height, "width": width}],
        "annotations": [{"image_id": 1, "segmentation": outline}] * rng.choice((1, 1, 50)),
        "categories": rng.choice(([], 5)),
    }


def mask(rng: Random, folder: Path) -> Case:
    """A person's mask: `mamp mask`, with or without the frame it is of, or `segment`."""
    content = picture_bytes(rng)
    path = folder / f"00000{rng.choice(SUFFIXES)}"
    path.write_bytes(content)
    out = folder / "out"
    out.mkdir()
    words: list[Any] = ["mask", path]
    if rng.random() < 0.2:
        second = folder / f"second{rng.choice(SUFFIXES)}"
        second.write_bytes(picture_bytes(rng) if rng.random() < 0.5 else right.mask_png())
        words.append(second)
    if rng.random() < 0.7:
        words += ["--out", out / "read.png"]
        if rng.random() < 0.5:
            (folder / "frame.jpg").write_bytes(right.jpeg() if rng.random() < 0.7 else picture_bytes(rng))
            words += ["--overlay", folder / "frame.jpg"]
    if rng.random() < 0.1:
        words.append("--invert")
    if rng.random() < 0.2:
        colours = folder / "colours.json"
        told = {"#ff0000": 1, "0,0,255": 2, "#00ff00": 0}
        colours.write_text(
            json.dumps(spoiled(told, rng), default=str) if rng.random() < 0.8 else deep_text(rng)
        )
        words += ["--colours", colours]
    return Case(
        f"mask {content[:30]!r} as {path.name}",
        lambda: mamp(*words),
        [out],
        written_whole(out) if "--out" in words else lambda said: "",
    )


def frames(rng: Random, folder: Path) -> Case:
    """A folder of frames, some of which are odd."""
    video = right.write_video_folder(folder / "clip", 3)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(("00000", "00001", "00002", "00003"))
        suffix = rng.choice(SUFFIXES)
        for old in video.glob(f"{name}.*") if rng.random() < 0.8 else ():
            old.unlink()
        (video / f"{name}{suffix}").write_bytes(picture_bytes(rng))
    out = folder / "out"
    use = rng.choice(("first", "check", "deep", "segment", "pack"))
    (folder / "mask.png").write_bytes(right.mask_png())
    policy = rng.choice(("error", "skip", "repeat"))
    words = {
        "first": ["first", video, "--out", out / "f.png", *(["--at", "1"] if rng.random() < 0.4 else [])],
        "check": ["data", "check", folder, "--quiet"],
        "deep": ["data", "check", folder, "--deep", "--quiet"],
        "segment": right.segment(video, folder / "mask.png", "--out", out, "--bad-frame", policy),
        "pack": [
            "data",
            "pack",
            folder,
            out,
            "--size",
            "32",
            "--quiet",
            "--processes",
            "1",
            "--bad-frame",
            policy,
        ],
    }[use]
    return Case(f"{use} frames", lambda: mamp(*words), [out], lambda said: "")


PLAYLISTS = (
    "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "ffconcat version 1.0\nfile /etc/passwd\n",
    "file '/etc/passwd'\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\n",
    "<?xml version='1.0'?><MPD><Period/></MPD>",
    "[playlist]\nFile1=/etc/passwd\n",
    "#EXTM3U\nhttp://127.0.0.1:1/x.ts\n",
    "RIFF",
    "\x00\x00\x00\x20ftypisom",
    "GIF89a",
    "text",
)


def film_bytes(rng: Random) -> bytes:
    how = rng.random()
    whole = right.film(rng.choice((".mp4", ".mkv", ".avi", ".webm", ".mov")))
    if how < 0.1:
        return rng.choice(PLAYLISTS).encode("latin-1")
    if how < 0.2:
        return right.paged(rng.choice(("TIFF", "GIF", "WEBP", "PNG")))
    if how < 0.3:
        return damaged(right.paged(rng.choice(("TIFF", "GIF", "WEBP", "PNG"))), rng)
    if how < 0.4:
        return whole
    if how < 0.55:  # a box or field of a header
        data = bytearray(whole)
        names = [
            n
            for n in (
                b"moov",
                b"trak",
                b"stsz",
                b"stco",
                b"stts",
                b"ctts",
                b"avcC",
                b"tkhd",
                b"mvhd",
                b"stsd",
                b"avc1",
                b"mdat",
                b"elst",
                b"edts",
                b"hdlr",
                b"stsc",
                b"stss",
            )
            if n in whole
        ]
        if names:
            at = whole.index(rng.choice(names))
            if rng.random() < 0.4:
                data[at - 4 : at] = struct.pack(">I", rng.choice((0, 1, 7, 8, 2**31, 2**32 - 1, 100)))
            else:
                for _ in range(rng.choice((1, 2, 4))):
                    data[min(len(data) - 1, at + 4 + rng.randrange(80))] = rng.choice(
                        (0, 255, 128, 1, rng.randrange(256))
                    )
            return bytes(data)
    if how < 0.6:
        return whole + damaged(whole, rng)
    return damaged(damaged(whole, rng), rng) if rng.random() < 0.3 else damaged(whole, rng)


def video(rng: Random, folder: Path) -> Case:
    """A video file that is damaged, or something else."""
    content = film_bytes(rng)
    name = rng.choice(("v", "v", "a:b", "-v", "http:", "pipe:0", "concat:a|b", "%05d", "v[1]"))
    root = folder / "films"
    root.mkdir()
    path = root / f"{name}{rng.choice(FILMS)}"
    path.write_bytes(content)
    out = folder / "out"
    (folder / "mask.png").write_bytes(right.encoded(np.zeros((48, 64), np.uint8) + 1, "PNG"))
    use = rng.choice(("first", "at", "check", "deep", "segment", "pack"))
    policy = rng.choice(("error", "skip", "repeat"))
    words = {
        "first": ["first", "--out", out / "f.png", "--", path],
        "at": [
            "first",
            "--out",
            out / "f.png",
            "--at",
            rng.choice(("3", "0.5s", "7", "0:00.2", "1e9")),
            "--",
            path,
        ],
        "check": ["data", "check", root, "--quiet"],
        "deep": ["data", "check", root, "--deep", "--quiet"],
        "segment": right.segment(
            path,
            folder / "mask.png",
            "--out",
            out,
            "--bad-frame",
            policy,
            *(["--direction", "both", "--at", "3"] * (rng.random() < 0.3)),
        ),
        "pack": [
            "data",
            "pack",
            root,
            out,
            "--size",
            "32",
            "--quiet",
            "--processes",
            "1",
            "--bad-frame",
            policy,
        ],
    }[use]
    return Case(f"{use} {path.name} {content[:16]!r}", lambda: mamp(*words), [out], lambda said: "")


KINDS = {"masks": mask, "frames": frames, "videos": video}
