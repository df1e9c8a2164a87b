"""What runs leave behind and others read: reports, evaluations, projects of the page; requests; options."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, Said, mamp, printed, written_whole
from odd.values import NAMES, SCALARS, damaged, deep_text, scalar, spoiled


def _json_bytes(value: Any, rng: Random) -> bytes:
    how = rng.random()
    if how < 0.1:
        return deep_text(rng).encode()
    if how < 0.13:
        return b'{"sequences": ' + b"9" * 6000 + b"}"
    try:
        text = json.dumps(spoiled(value, rng), default=str)
    except (ValueError, RecursionError):
        text = "{}"
    content = text.encode(errors="replace")
    return damaged(content, rng) if rng.random() < 0.1 else content


def report(rng: Random, folder: Path) -> Case:
    """`mamp report` of folders whose files are odd."""
    one, two = right.write_evaluation(folder / "one"), right.write_training(folder / "two")
    for _ in range(rng.choice((1, 1, 2))):
        place, value = rng.choice(
            (
                (one / "run.json", right.RUN),
                (one / "scores.json", right.SCORES),
                (one / "scores.json", right.SCORES),
                (one / "frames.json", right.PER_FRAME),
                (two / "code.json", {"commit": "x", "hardware": {"device": "cpu"}}),
                (two / "log.jsonl", None),
                (two / "log.jsonl", None),
                (two / "config.yaml", None),
                (two / "previews", None),
            )
        )
        if place.name == "log.jsonl":
            lines = [
                json.dumps(spoiled(line, rng) if rng.random() < 0.4 else line, default=str)
                for line in right.LOG
            ]
            lines.insert(
                rng.randrange(len(lines)),
                rng.choice(
                    (
                        deep_text(rng),
                        "9" * 5000,
                        '{"step": ' + "9" * 5000 + "}",
                        '{"step": 1e400, "loss": 1}',
                        '{"step": true}',
                        "",
                        "null",
                        '{"step": -5, "loss": "x"}',
                    )
                ),
            )
            place.write_bytes("\n".join(lines).encode(errors="replace"))
        elif place.name == "config.yaml":
            place.write_bytes(rng.choice((b"\xff\xfe", rng.randbytes(50), b"\x1b[31m", b"<script>")))
        elif place.name == "previews":
            (place / f"step-{rng.choice(('00000005', '9' * 200, '²', '1', 'x'))}.png").write_bytes(
                damaged((place / "step-00000005.png").read_bytes(), rng)
            )
        elif rng.random() < 0.05:
            place.unlink()
            rng.choice((os.mkfifo, Path.mkdir, lambda p: os.symlink(p, p)))(place)
        elif place.exists() and place.is_file():
            place.write_bytes(_json_bytes(value, rng))
    if rng.random() < 0.1:
        name = rng.choice([n for n in NAMES if n not in ("/", "..", ".") and len(n.encode()) < 256])
        if not (folder / name).exists():
            one = one.rename(folder / name)
    out = folder / "out"
    words: list[Any] = ["report", *rng.choice(((one,), (two,), (one, two), (one, one))), "--quiet"]
    if rng.random() < 0.3:
        words += ["--root", right.write_davis(folder / "root")]
    words = [f"./{w}" if str(w).startswith("-") and w not in ("--quiet", "--root") else w for w in words]
    words += ["--out", out / "r.html"]
    return Case(
        f"report {[str(w)[-20:] for w in words[1:3]]}", lambda: mamp(*words), [out], written_whole(out)
    )


def resumed(rng: Random, folder: Path) -> Case:
    """An evaluation, or a video's masks, that another process began and left odd."""
    out = folder / "out"
    root = right.write_davis(folder / "root", ("ant",))
    use = rng.choice(("evaluate", "segment"))
    words: list[Any] = ["evaluate", "davis2017", root, "--baseline", "copy", "--out", out, "--quiet"]
    if use == "segment":
        (folder / "m.png").write_bytes(right.mask_png())
        words = [
            "segment",
            root / "JPEGImages/480p/ant",
            "--mask",
            folder / "m.png",
            "--out",
            out,
            "--quiet",
            "--weights",
            right.weights(),
            *right.CHEAP,
        ]
    first = mamp(*words)
    assert first.status == 0, first
    files = sorted(f for f in out.rglob("*") if f.is_file())
    for _ in range(rng.choice((1, 2))):
        file = rng.choice(files)
        if not file.is_file():
            continue
        if file.suffix == ".json" and rng.random() < 0.7:
            file.write_bytes(_json_bytes(json.loads(file.read_text()), rng) if _is_json(file) else b"{")
        elif rng.random() < 0.6:
            file.write_bytes(damaged(file.read_bytes(), rng))
        else:
            file.unlink()
            rng.choice((lambda p: None, os.mkfifo, Path.mkdir, lambda p: os.symlink(p, p)))(file)
    if use == "segment" and rng.random() < 0.5:
        work = out / ".unfinished"
        (work / "backward").mkdir(parents=True, exist_ok=True)
        (work / "run.json").write_bytes(_json_bytes(right.RUN, rng))
        (work / "forward.pt").write_bytes(rng.randbytes(50))
        (work / "forward.jsonl").write_text(
            rng.choice(("[0, {}]\n", "null\n", deep_text(rng), '[1e400, {"a": 1}]\n'))
        )
    if rng.random() < 0.3:
        words.append("--redo" if use == "segment" else "--quiet")
    return Case(f"{use} again", lambda: mamp(*words), [out])


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text())
    except ValueError:
        return False
    return True


def project(rng: Random, folder: Path) -> Case:
    """A project of the page that is odd, opened again."""
    from mamp.app.project import Project
    from mamp.core.errors import UserError
    from mamp.video.frames import open_frames

    video, work = right.write_video_folder(folder / "clip", 3), folder / "work"
    with open_frames(video) as source:
        made = Project(work, source)
        made.add_object("one"), made.add_object("two")
        made.draw(0, right.labels(0))
        made.close()
    file = work / "project.json"
    value = json.loads(file.read_text())
    file.write_bytes(_json_bytes(value, rng))
    if rng.random() < 0.3:
        picture = rng.choice(list(work.rglob("*.png")))
        picture.write_bytes(damaged(picture.read_bytes(), rng))

    def again() -> int:
        import sys

        try:
            with open_frames(video) as source:
                opened = Project(work, source)
                try:
                    for index in range(len(opened.names)):
                        opened.look(index), opened.mask(index), opened.given(index)
                    opened.add_object("three")
                    opened.draw(1, right.labels(1) * 0)
                finally:
                    opened.close()
        except UserError as error:
            print(f"mamp: {error}", file=sys.stderr)
            return 2
        return 0

    return Case("project", lambda: printed(again), [work])


# ---------------------------------------------------------------- requests

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
    base = [
        "segment",
        video,
        "--mask",
        folder / "m.png",
        "--quiet",
        "--weights",
        right.weights(),
        *right.CHEAP,
    ]
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


KINDS = {"reports": report, "resumed": resumed, "projects": project, "requests": request, "options": options}
__all__ = ["KINDS", "scalar", "shutil"]
