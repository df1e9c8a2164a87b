"""Requests to the page, and options of commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, Said, mamp
from odd.values import NAMES, SCALARS, deep_text, spoiled

_PAGE: list[Any] = []
_BODIES: tuple[Any, ...] = (
    {"name": "x"},
    {"from": 0, "to": 2, "locked": True},
    {"inside": [[1, 2]], "outside": [], "box": [1, 1, 9, 9]},
    {"frame": 0, "direction": "forward", "until": 2},
    {"kind": "zip"},
    {"kind": "film"},
)
_ROUTES = (
    ("GET", "/"),
    ("GET", "/api/state?tab=one"),
    ("GET", "/api/frames/N"),
    ("GET", "/api/thumbs/N"),
    ("GET", "/api/masks/N"),
    ("PUT", "/api/masks/N"),
    ("DELETE", "/api/drawn/N"),
    ("POST", "/api/import/N?name=NAME"),
    ("POST", "/api/propose/N"),
    ("POST", "/api/lock"),
    ("POST", "/api/objects"),
    ("PATCH", "/api/objects/N"),
    ("DELETE", "/api/objects/N"),
    ("POST", "/api/run"),
    ("POST", "/api/stop"),
    ("POST", "/api/export"),
    ("GET", "/api/export/NAME"),
    ("POST", "/api/take"),
    ("POST", "/api/leave"),
    ("PUT", "/api/video?name=NAME"),
    ("GET", "/page/NAME"),
    ("GET", "/api/state?since=N&wait=0&tab=NAME"),
)
_NUMBERS = ("0", "1", "2", "-1", "99", "1e5", "9" * 30, "9" * 5000, "x", "", "0x1", "١", "1.5", "%00", "../0")


def _page() -> Any:
    if not _PAGE:
        from starlette.testclient import TestClient

        from mamp.app import server
        from mamp.app.studio import Studio
        from mamp.segmentation.model import load

        studio = Studio(load(right.weights(), device="cpu", overrides=right.CHEAP), out=right.room() / "page")
        studio.open(right.write_video_folder(right.room() / "page-clip", 3))
        told = {"host": "127.0.0.1:8000", "x-mamp-key": "k", "x-mamp-tab": "one"}
        app = server.build(studio, key="k", hosts={"127.0.0.1:8000"})
        _PAGE.append(TestClient(app, base_url="http://127.0.0.1:8000", headers=told))
    return _PAGE[0]


def request(rng: Random, folder: Path) -> Case:
    """A request to the page: any answer but a defect."""
    from urllib.parse import quote

    from odd.pictures import picture_bytes

    method, path = rng.choice(_ROUTES)
    number, name = rng.choice(_NUMBERS), rng.choice(NAMES)
    path = path.replace("NAME", quote(name, safe="")).replace(
        "N", quote(number, safe=""), 1 if "NAME" not in path else 0
    )
    how = rng.random()
    if how < 0.4:
        content = json.dumps(spoiled(rng.choice(_BODIES), rng), default=str).encode(errors="replace")
    elif how < 0.6:
        content = json.dumps(rng.choice(_BODIES)).encode()
    elif how < 0.7:
        content = deep_text(rng)[:60_000].encode()
    elif how < 0.85:
        content = picture_bytes(rng)
    else:
        content = rng.randbytes(rng.choice((0, 5, right.SIZE[0] * right.SIZE[1])))
    if rng.random() < 0.1:
        method = rng.choice(("PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"))
    headers = {}
    if rng.random() < 0.1:
        headers["x-mamp-tab"] = rng.choice(("", "two", "x" * 3000, "a b"))

    def ask() -> Said:
        page = _page()
        page.post("/api/take")
        answer = page.request(method, path, content=content, headers=headers)
        page.post("/api/stop")
        status = 0 if answer.status_code < 500 else 1
        return Said(status, "", f"mamp: {answer.status_code} {answer.text[:200]!r}" if status else "")

    return Case(f"{method} {path[:60]} {content[:50]!r}", ask)


# ---------------------------------------------------------------- options

_TIMES = (
    "0",
    "1",
    "-1",
    "2",
    "99",
    "9" * 30,
    "9" * 5000,
    "0:01",
    "1:2:3",
    "1e5",
    "x",
    "",
    "0.1s",
    "nan",
    "inf",
    "12s",
    "1h",
    "00001",
    "00001.jpg",
    "²",
    "١",
    "-0",
    "1ms",
    "9" * 400 + "s",
    "9" * 400 + ":01",
    "\x1b[31m",
)


def options(rng: Random, folder: Path) -> Case:
    """Options of commands with odd values, and odd names of outputs."""
    clip = right.write_video_folder(folder / "clip", 3)
    (folder / "m.png").write_bytes(right.mask_png())
    film = folder / "film.mp4"
    film.write_bytes(right.film())
    out = folder / "out" / "o"
    out.parent.mkdir()
    name = rng.choice(NAMES + ("y" * 300, "a" * 254, "q" * 250 + ".png", "q" * 251 + ".mp4"))
    video: Path = rng.choice((clip, clip, film))
    base = right.segment(video, folder / "m.png")
    value = rng.choice(_TIMES)
    any_text = str(rng.choice(SCALARS))
    words: list[Any] = rng.choice(
        (
            ["first", video, "--out", out / "f.png", f"--at={value}"],
            ["first", video, "--out", out / f"{name}.png"],
            [*base, "--out", out, f"--start={value}"],
            [*base, "--out", out, f"--end={value}"],
            [*base, "--out", out, f"--at={value}"],
            [*base, "--out", out, f"--every={value}"],
            [*base, "--out", out, f"--max-frames={value}"],
            [*base, "--out", out, f"--stream={value}"],
            [*base, "--out", out / name],
            [*base, f"--out={any_text}"]
            if False
            else [
                *base,
                "--out",
                out,
                f"--save={rng.choice(('cutout', 'film', 'gif', 'coco', 'sheet', 'csv', name, any_text))}",
            ],
            [*base, "--out", out, "--overlay", out / "o.mp4", f"--overlay-opacity={value}"],
            [
                *base,
                "--out",
                out,
                "--overlay",
                out / "o.mp4",
                f"--overlay-colours={rng.choice(('1=red', '1=', '=', 'x', any_text))}",
            ],
            [*base, "--out", out, "--overlay", out / f"{name}.mp4"],
            [*base, "--out", out, f"--device={any_text}"],
            ["mask", folder / "m.png", "--out", out / f"{name}.png"],
            ["mask", folder / name, "--out", out / "r.png"],
            [
                "weights",
                "widen",
                right.weights(),
                out / "w.safetensors",
                f"--width={value}",
                f"--seed={rng.choice(_TIMES)}",
            ],
            ["weights", "copy", right.weights(), out / f"{name}.safetensors", f"--licence={any_text}"],
            ["data", "check", folder / name, "--quiet"],
            ["data", "check", folder, f"--most={value}", "--quiet"],
            ["data", "pack", clip.parent, out, f"--size={value}", "--quiet", "--processes=1"],
            ["data", "pack", f"{clip.parent}@{value}", out, "--size=32", "--quiet", "--processes=1"],
            ["data", "pack", clip.parent, out / name, "--size=32", "--quiet", "--processes=1"],
            ["report", folder / name, "--out", out / f"{name}.html"],
            ["score", folder / name, folder / name],
            ["evaluate", "folder", folder, f"--split={any_text}", "--baseline=copy", "--out", out, "--quiet"],
            ["evaluate", name, folder, "--baseline=copy", "--out", out, "--quiet"],
            ["train", folder / name, "--run", out / name],
            ["config", name],
            [name],
            [name, name],
            ["data", name],
        )
    )
    return Case(f"{[str(w)[-40:] for w in words]}", lambda: _within(words, folder), [folder / "out"])


def _within(words: list[Any], folder: Path) -> Said:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return mamp(*[str(w).replace("\0", "\\0") for w in words])  # no argument of a program has a zero byte
    finally:
        os.chdir(before)


KINDS = {"requests": request, "options": options}
