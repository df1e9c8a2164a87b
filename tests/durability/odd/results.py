"""What runs leave behind and others read: reports, evaluations, projects of the page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, mamp, printed, written_whole
from odd.values import NAMES, damaged, deep_text, spoiled


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
        words = right.segment(root / "JPEGImages/480p/ant", folder / "m.png", "--out", out)
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
    except (ValueError, RecursionError):  # of one that was made odd before
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


KINDS = {"reports": report, "resumed": resumed, "projects": project}
