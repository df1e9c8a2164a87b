"""Folders of anything."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, Said, mamp
from odd.values import BROKEN_NAMES, NAMES


def training(folder: Path, root: Path, out: Path) -> list[Any]:
    """A training that ends before its first step: its batch is larger than an epoch."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "method: {name: mamp, encoder: {width: 0.125, features: 8}}\n"
        "train: {steps: 1, batch: 100000}\ndata: {workers: 0, size: 32}\n"
    )
    return ["train", recipe, f"data.root={root}", "--run", out]


def odd_name(rng: Random) -> bytes:
    name = rng.choice(BROKEN_NAMES) if rng.random() < 0.1 else rng.choice(NAMES).encode()
    return name[:250] if len(name) > 255 else name


def _plant(rng: Random, place: bytes, depth: int, left: list[int]) -> None:
    """A folder of odd things: frames, films, links, pipes, folders."""
    os.makedirs(place, exist_ok=True)
    for _ in range(rng.choice((1, 2, 3, 4))):
        if left[0] <= 0:
            return
        left[0] -= 1
        path = os.path.join(place, odd_name(rng))
        if os.path.lexists(path) or len(path) > 3500:
            continue
        what = rng.choice(
            (
                "frames",
                "frames",
                "frames",
                "film",
                "folder",
                "folder",
                "folder",
                "empty folder",
                "image",
                "file",
                "empty",
                "link",
                "loop",
                "fifo",
                "socket",
                "closed",
                "masks",
            )
        )
        try:
            _plant_one(rng, path, what, depth, left)
        except OSError:
            continue


def _plant_one(rng: Random, path: bytes, what: str, depth: int, left: list[int]) -> None:
    if what == "frames":
        os.makedirs(path)
        for t in range(rng.choice((1, 3))):
            _write(os.path.join(path, b"%05d.jpg" % t), right.jpeg(t))
        if rng.random() < 0.15:
            os.mkfifo(os.path.join(path, b"00007.jpg"))
        if rng.random() < 0.15:
            os.symlink(b"00008.jpg", os.path.join(path, b"00008.jpg"))
        if rng.random() < 0.1:
            os.makedirs(os.path.join(path, b"00009.jpg"))
    elif what == "film":
        _write(path[:240] + b".mp4", right.film() if rng.random() < 0.7 else b"")
    elif what == "folder" and depth < 5:
        _plant(rng, path, depth + 1, left)
    elif what == "empty folder":
        os.makedirs(path)
    elif what == "image":
        _write(path[:240] + b".png", right.mask_png())
    elif what == "file":
        _write(path, b"words")
    elif what == "empty":
        _write(path[:240] + b".jpg", b"")
    elif what == "link":
        os.symlink(rng.choice((b"nothing", b"..", b".", b"/proc/self/fd", b"/dev/zero")), path)
    elif what == "loop":
        os.symlink(path, path)
    elif what == "fifo":
        os.mkfifo(path[:240] + rng.choice((b"", b".mp4", b".jpg", b".png", b".txt")))
    elif what == "socket" and len(path) < 100:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path)
    elif what == "closed":
        os.makedirs(path)
        os.chmod(path, 0o000)
    elif what == "masks":
        os.makedirs(path)
        _write(os.path.join(path, b"00000.png"), right.mask_png())


def _write(path: bytes, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def roots(rng: Random, folder: Path) -> Case:
    """A folder of anything: what is in it is taken, or named with the reason."""
    root = folder / "root"
    top = rng.choice(("", "", "", "JPEGImages", "train/JPEGImages", "JPEGImages/480p"))
    _plant(rng, os.fsencode(root / top), 0, [rng.choice((3, 8, 20))])
    if rng.random() < 0.1:
        right.write_davis(root / "davis", ("ant",))
    if rng.random() < 0.1:
        names = ("Annotations_unsupervised", "Annotations", "ImageSets", "pack.json", "meta.json")
        if not os.path.lexists(extra := root / rng.choice(names)):
            extra.mkdir()
    special = rng.choice(("", "", "train.txt", "meta.json", "pack.json", "db_info.yaml"))
    if special and not os.path.lexists(root / special):
        rng.choice(
            (os.mkfifo, lambda p: os.symlink(p, p), lambda p: Path(p).mkdir(), lambda p: Path(p).touch())
        )(root / special)
    out = folder / "out"
    target: Path = root
    if rng.random() < 0.15:
        target = rng.choice(
            (
                root / "x" / ("y" * 300),
                root / "nothing",
                folder / ("z" * 5000),
                Path("/dev/zero"),
                _fifo(folder),
                _loop(folder),
            )
        )
    words = rng.choice(
        (
            ["data", "check", target, "--quiet"],
            ["data", "check", target, "--quiet", "--fast"],
            ["data", "check", target, "--quiet", "--most", "1000"],
            training(folder, target, out),
            ["data", "pack", target, out, "--size", "32", "--quiet", "--processes", "1"],
            ["first", target, "--out", out / "f.png"],
            ["score", target, root],
            ["score", root, target],
            ["segment", target, "--mask", target, "--out", out, "--quiet"],
            ["report", target, "--out", out / "r.html"],
            ["mask", target],
            ["weights", "info", target],
            ["train", target, "--run", out],
            ["evaluate", "folder", target, "--baseline", "copy", "--out", out, "--quiet"],
            ["data", "merge", target, out, "--quiet"],
            ["data", "index", target],
            ["data", "static", "all", target, out, "--quiet", "--workers", "1"],
            ["data", "fetch", "davis2017", "--url", target, "--out", out, "--quiet"],
            ["export", "davis", target, "--out", out / "x.zip"],
        )
    )
    return Case(
        f"{words[0]} {words[1] if words[0] == 'data' else ''} of {target.name[:60]!r}",
        lambda: _opened_after(words, folder),
        [out],
        _nothing_silent(words, root, target),
    )


def _fifo(folder: Path) -> Path:
    path = folder / "fifo"
    if not path.exists():
        os.mkfifo(path)
    return path


def _loop(folder: Path) -> Path:
    path = folder / "loop"
    if not os.path.lexists(path):
        os.symlink(path, path)
    return path


def _opened_after(words: list[Any], folder: Path) -> Said:
    """Run, and make closed folders such that they can be removed."""
    try:
        return mamp(*words)
    finally:
        for place, folders, _ in os.walk(os.fsencode(folder)):
            for name in folders:
                path = os.path.join(place, name)
                if not os.path.islink(path) and not stat.S_IMODE(os.lstat(path).st_mode):
                    os.chmod(path, 0o755)


def _nothing_silent(words: list[Any], root: Path, target: Path) -> Any:
    """After a `data check` that names all: every folder of frames and every film is a video or is named."""

    def check(said: Said) -> str:
        if (
            words[:2] != ["data", "check"]
            or os.path.lexists(root / "pack.json")
            or "1000" not in words
            or target != root
            or not said.out
        ):
            return ""
        videos = sum(
            _counted(line) for line in said.out.splitlines() if line.startswith("  ") and " video" in line
        )
        named = [line for line in said.out.splitlines() if line.startswith("  ")]
        for place in _video_places(root):
            shown = os.fsencode(place).decode(errors="backslashreplace")
            if any(_shows(line, shown) for line in named):
                continue
            videos -= 1
        return "" if videos >= 0 else f"{-videos} videos are neither counted nor named: {said.out[-1500:]!r}"

    return check


def _counted(line: str) -> int:
    words = line.split()
    return (
        int(words[0].replace(",", ""))
        if words[1].startswith("video") and words[0].replace(",", "").isdigit()
        else 0
    )


def _shows(line: str, place: str) -> bool:
    from mamp.core.terminal import printable

    place = printable(place)
    return any(part in line for part in (place, *(f"{p}:" for p in _parents(place))))


def _parents(place: str):
    while "/" in place.strip("/"):
        place = place.rsplit("/", 1)[0]
        yield place


def _video_places(root: Path):
    """Folders with frames in them, and films."""
    for place, _, files in os.walk(root):
        if "/Annotations" in place:
            continue
        if any(f.endswith(".jpg") and not f.startswith(".") for f in files):
            yield place
        yield from (os.path.join(place, f) for f in files if f.endswith(".mp4") and not f.startswith("."))


KINDS = {"roots": roots}
