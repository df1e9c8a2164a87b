"""Lists of videos, and masks of other programs."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, Said, mamp
from odd.roots import odd_name, training
from odd.values import damaged, text_bytes


def _list_text(rng: Random) -> str:
    forms = (
        "ant\nbee\n",
        "ant",
        "/JPEGImages/480p/ant/00000.jpg /Annotations/480p/ant/00000.png\n",
        "\\ant\n",
        "JPEGImages\\480p\\ant\\00000.jpg Annotations\\480p\\ant\\00000.png\n",
        "C:\\data\\DAVIS\\JPEGImages\\480p\\ant\n",
        "/home/somebody/DAVIS/JPEGImages/480p/ant\n",
        "480p/ant\n",
        "ant/\n",
        "./ant\n",
        "../ant\n",
        "ant\nant\n",
        "ANT\n",
        " ant \n\n\n",
        "# a comment\nant\n",
        "ant bee\n",
        "ant,bee\n",
        "ant\tbee\n",
        "ant;bee\n",
        '"ant"\n',
        "[ant]\n",
        "ant\x00bee\n",
        "\x00\n",
        "\x1b[31mant\n",
        "ant\x0cbee\n",
        "ant\u2028bee\n",
        "a" * 300 + "\n",
        "a" * 5000 + "\n",
        "a/" * 500 + "\n",
        "\n" * 100,
        "",
        " ",
        "ant\n" * 20000,
        "ghost\n",
        "ant/00000.jpg\n",
        "ant/00009.jpg\n",
        "/ant/00000.jpg\n/ant/00000.jpg\n",
        ".\n",
        "..\n",
        "/\n",
        "~\n",
        "*\n",
        "-\n",
        "con\n",
        "ant.\n",
        "1\n",
        "/JPEGImages/480p/ant/00000.jpg 1\n",
        "{}\n",
        "<html>\n",
        "PK\x03\x04\n",
        "version https://git-lfs\n",
    )
    text = rng.choice(forms)
    if rng.random() < 0.2:
        text += rng.choice(forms)
    return text


def lists(rng: Random, folder: Path) -> Case:
    """A list of videos in odd words or bytes."""
    root = right.write_davis(folder / "root")
    text = _list_text(rng)
    content = text_bytes(text, rng) if rng.random() < 0.6 else text.encode(errors="replace")
    if rng.random() < 0.1:
        content = damaged(content, rng)
    if rng.random() < 0.05:
        content = rng.randbytes(100)
    place = rng.choice(("2017/val", "2017/train", "480p/val", "own", "leave", "seen"))
    out = folder / "out"
    check: Any = lambda said: ""  # noqa: E731
    if place == "own":
        root = folder / "own"
        right.write_video_folder(root / "ant"), right.write_video_folder(root / "bee")
        (root / "train.txt").write_bytes(content)
        words: list[Any] = rng.choice((["data", "check", root, "--quiet"], training(folder, root, out)))
    elif place == "leave":
        (folder / "leave.txt").write_bytes(content)
        words = [*training(folder, root, out), f"data.leave_out={folder / 'leave.txt'}"]
    elif place == "seen":
        (folder / "seen.txt").write_bytes(content)
        root = right.write_youtube(folder / "youtube", json.dumps(right.META).encode())
        words = [
            "score",
            root,
            root / "valid" / "Annotations",
            "--processes",
            "1",
            "--seen",
            folder / "seen.txt",
        ]
    else:
        file = root / "ImageSets" / f"{place}.txt"
        file.parent.mkdir(exist_ok=True)
        if place == "480p/val":
            shutil.rmtree(root / "ImageSets" / "2017")
        file.write_bytes(content)
        if rng.random() < 0.2:  # a list that is not asked for
            file.with_name("other.txt").write_bytes(rng.choice((b"\xff\xfe\xff", b"../up\n", b"a\0b")))
        name = "davis2016" if place == "480p/val" else "davis2017"
        words = rng.choice(
            (
                ["data", "check", root, "--quiet"],
                training(folder, root, out),
                [
                    "evaluate",
                    name,
                    root,
                    "--split",
                    place.split("/")[1],
                    "--baseline",
                    "copy",
                    "--out",
                    out,
                    "--quiet",
                ],
                ["score", root, root / "Annotations" / "480p", "--processes", "1"],
                ["data", "index", name, root, "--split", place.split("/")[1], "--out", out / "index.json"],
            )
        )
        check = _all_listed(text, words)
    return Case(
        f"{words[0]} {words[1] if words[0] == 'data' else ''} {place} {content[:60]!r}",
        lambda: mamp(*words),
        [out],
        check,
    )


def _all_listed(text: str, words: list[Any]) -> Any:
    """Nothing of a list that is read is lost: both names of a list of both are there."""

    def right(said: Said) -> str:
        if said.status and "other.txt" in said.err:
            return f"minds a list that is not asked for: {said.err!r}"
        if said.status == 0 and text == "ant\nbee\n" and words[0] == "evaluate":
            there = {f.name for f in (words[words.index("--out") + 1] / "masks").iterdir()}
            return "" if there >= {"ant", "bee"} else f"evaluated {there}"
        return ""

    return right


def predictions(rng: Random, folder: Path) -> Case:
    """Masks of another program beside the truth."""
    from odd.pictures import picture_bytes

    root = right.write_davis(folder / "root")
    found = folder / "masks"
    shutil.copytree(root / "Annotations" / "480p", found)
    jpegs, there = False, set()
    for _ in range(rng.choice((1, 2, 4))):
        name, t = rng.choice(("ant", "bee")), rng.randrange(right.FRAMES)
        path = found / name / f"{t:05d}.png"
        how = rng.choice(
            ("odd", "gone", "jpeg", "folder", "fifo", "loop", "upper", "spare", "extra", "truth", "name")
        )
        path.unlink(missing_ok=True) if path.is_file() or path.is_symlink() else None
        if path.exists():
            continue
        if how == "odd":
            path.write_bytes(picture_bytes(rng))
        elif how == "jpeg":
            path.with_suffix(rng.choice((".jpg", ".jpeg", ".JPG"))).write_bytes(right.jpeg())
            jpegs = True
        elif how == "folder":
            path.mkdir()
        elif how == "fifo":
            os.mkfifo(path)
            there.add((name, f"{t:05d}"))
        elif how == "loop":
            os.symlink(path, path)
        elif how == "upper":
            path.with_suffix(".PNG").write_bytes(right.mask_png())
            there.add((name, f"{t:05d}"))
        elif how == "spare":
            (found / name / "99999.png").write_bytes(right.mask_png())
        elif how == "extra":
            os.makedirs(os.path.join(os.fsencode(found), odd_name(rng)), exist_ok=True)
        elif how == "truth":
            (root / "Annotations" / "480p" / name / f"{t:05d}.png").write_bytes(picture_bytes(rng))
        else:
            path.with_name(f"frame{t}.png").write_bytes(right.mask_png())
    out = folder / "out"
    out.mkdir()
    words: list[Any] = ["score", root, found, "--processes", "1", "--json", out / "s.json"]
    if rng.random() < 0.3:
        words = ["score", root / "Annotations" / "480p", found, "--processes", "1"]
    if rng.random() < 0.1:
        words += ["--split", rng.choice(("", " ", "val\nx", "other"))]
    if rng.random() < 0.2:
        words = ["export", "davis", found, "--out", out / "x.zip"]

    def check(said: Said) -> str:
        if "--split" in words:
            return "" if said.status == 2 else "takes a split that is not there"
        for sequence, frame in there:
            if re.search(rf"{sequence}: [^\n(]*missing: [^\n(]*{frame}", said.err):
                return f"calls {sequence}/{frame} missing, where something lies: {said.err!r}"
        if jpegs and words[0] == "score" and said.status == 0 and ".jp" not in said.out.lower():
            return "scores and does not name the JPEGs"
        if (
            jpegs
            and words[0] == "score"
            and "frame is missing" in said.err
            and ".jp" not in said.err.lower()
            and "jpeg" not in said.err.lower()
        ):
            return f"does not say that there are JPEGs: {said.err!r}"
        return ""

    return Case(f"{words[0]} predictions", lambda: mamp(*words), [out], check)


KINDS = {"lists": lists, "predictions": predictions}
