"""Data sets: lists, roots, predictions, packed folders, metadata, archives."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import stat
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, Said, mamp, written_whole
from odd.values import BROKEN_NAMES, NAMES, damaged, deep_text, scalar, spoiled, text_bytes

# ---------------------------------------------------------------- lists


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
        words: list[Any] = rng.choice((["data", "check", root, "--quiet"], _train(folder, root, out)))
    elif place == "leave":
        (folder / "leave.txt").write_bytes(content)
        words = [*_train(folder, root, out), f"data.leave_out={folder / 'leave.txt'}"]
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
        name = "davis2016" if place == "480p/val" else "davis2017"
        words = rng.choice(
            (
                ["data", "check", root, "--quiet"],
                _train(folder, root, out),
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
        if said.status == 0 and text == "ant\nbee\n" and words[0] == "evaluate":
            there = {f.name for f in (words[words.index("--out") + 1] / "masks").iterdir()}
            return "" if there >= {"ant", "bee"} else f"evaluated {there}"
        return ""

    return right


def _train(folder: Path, root: Path, out: Path) -> list[Any]:
    """A training that ends before its first step: its batch is larger than an epoch."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "method: {name: mamp, encoder: {width: 0.125, features: 8}}\n"
        "train: {steps: 1, batch: 100000}\ndata: {workers: 0, size: 32}\n"
    )
    return ["train", recipe, f"data.root={root}", "--run", out]


# ---------------------------------------------------------------- roots


def _odd_name(rng: Random) -> bytes:
    name = rng.choice(BROKEN_NAMES) if rng.random() < 0.1 else rng.choice(NAMES).encode()
    return name[:250] if len(name) > 255 else name


def _plant(rng: Random, place: bytes, depth: int, left: list[int]) -> None:
    """A folder of odd things: frames, films, links, pipes, folders."""
    os.makedirs(place, exist_ok=True)
    for _ in range(rng.choice((1, 2, 3, 4))):
        if left[0] <= 0:
            return
        left[0] -= 1
        path = os.path.join(place, _odd_name(rng))
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
        (
            root
            / rng.choice(("Annotations_unsupervised", "Annotations", "ImageSets", "pack.json", "meta.json"))
        ).mkdir(exist_ok=True)
    special = rng.choice(("", "", "train.txt", "meta.json", "pack.json", "db_info.yaml"))
    if special and not (root / special).exists():
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
            _train(folder, target, out),
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
        if words[:2] != ["data", "check"] or "1000" not in words or target != root or not said.out:
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
        if any(f.endswith(".jpg") and not f.startswith(".") for f in files):
            yield place
        yield from (os.path.join(place, f) for f in files if f.endswith(".mp4") and not f.startswith("."))


# ---------------------------------------------------------------- predictions


def predictions(rng: Random, folder: Path) -> Case:
    """Masks of another program beside the truth."""
    from odd.pictures import picture_bytes

    root = right.write_davis(folder / "root")
    found = folder / "masks"
    shutil.copytree(root / "Annotations" / "480p", found)
    jpegs = False
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
        elif how == "loop":
            os.symlink(path, path)
        elif how == "upper":
            path.with_suffix(".PNG").write_bytes(right.mask_png())
        elif how == "spare":
            (found / name / "99999.png").write_bytes(right.mask_png())
        elif how == "extra":
            os.makedirs(os.path.join(os.fsencode(found), _odd_name(rng)), exist_ok=True)
        elif how == "truth":
            (root / "Annotations" / "480p" / name / f"{t:05d}.png").write_bytes(picture_bytes(rng))
        else:
            path.with_name(f"frame{t}.png").write_bytes(right.mask_png())
    out = folder / "out"
    out.mkdir()
    words: list[Any] = ["score", root, found, "--processes", "1", "--json", out / "s.json"]
    if rng.random() < 0.3:
        words = ["score", root / "Annotations" / "480p", found, "--processes", "1"]
    if rng.random() < 0.2:
        words = ["export", "davis", found, "--out", out / "x.zip"]

    def check(said: Said) -> str:
        if jpegs and words[0] == "score" and said.status == 0:
            return "scores with a JPEG in place of a PNG"
        if (
            jpegs
            and "frame is missing" in said.err
            and ".jp" not in said.err.lower()
            and "jpeg" not in said.err.lower()
        ):
            return f"does not say that there are JPEGs: {said.err!r}"
        return ""

    return Case(f"{words[0]} predictions", lambda: mamp(*words), [out], check)


# ---------------------------------------------------------------- metadata


def metadata(rng: Random, folder: Path) -> Case:
    """A meta.json, a hold-out or an index of odd shape."""
    out = folder / "out"
    what = rng.choice(("meta", "meta", "holdout", "index", "pack"))
    if what == "meta":
        content = _spoiled_json(right.META, rng)
        split = rng.choice(("valid", "train"))
        root = right.write_youtube(folder / "root", content, split)
        words: list[Any] = rng.choice(
            (
                ["data", "check", root, "--quiet"],
                [
                    "evaluate",
                    "youtubevos",
                    root,
                    "--split",
                    split,
                    "--baseline",
                    "copy",
                    "--out",
                    out,
                    "--quiet",
                ],
                ["score", root, root / split / "Annotations", "--processes", "1", "--split", split],
                [
                    "data",
                    "holdout",
                    "youtubevos",
                    root,
                    "--out",
                    out / "h.json",
                    "--unseen",
                    "1",
                    "--share",
                    "0.5",
                ],
                ["data", "index", "youtubevos", root, "--split", split, "--out", out / "i.json"],
                _train(folder, root, out),
            )
        )
    elif what == "holdout":
        held = {
            "holdout": "youtubevos",
            "format": 1,
            "videos": {"seen": ["0a1"], "unseen": ["0b2"]},
            "categories": {"seen": ["ant"], "unseen": ["bee"]},
            "train": {"videos": 2},
        }
        file = folder / "h.json"
        file.write_bytes(_spoiled_json(held, rng))
        root = right.write_youtube(folder / "root", json.dumps(right.META).encode(), "train")
        words = rng.choice(
            (
                [
                    "evaluate",
                    "youtubevos",
                    root,
                    "--split",
                    file,
                    "--baseline",
                    "copy",
                    "--out",
                    out,
                    "--quiet",
                ],
                ["score", root, root / "train" / "Annotations", "--split", file, "--processes", "1"],
                [*_train(folder, root, out), f"data.leave_out={file}"],
                [
                    "score",
                    root,
                    root / "train" / "Annotations",
                    "--seen",
                    file,
                    "--processes",
                    "1",
                    "--split",
                    "train",
                ],
            )
        )
    elif what == "index":
        records = [
            {
                "image_path": f"/x/{t:05d}.jpg",
                "mask_path": f"/x/{t:05d}.png",
                "video_name": "a",
                "num_frames": 3,
                "frame_index": t,
                "object_index": 1,
            }
            for t in range(3)
        ]
        file = folder / "i.json"
        file.write_bytes(_spoiled_json(records, rng))
        words = ["data", "index", file]
    else:
        return _packed(rng, folder, out)
    return Case(f"{words[0]} {words[1] if words[0] == 'data' else ''} {what}", lambda: mamp(*words), [out])


def _spoiled_json(value: Any, rng: Random) -> bytes:
    if rng.random() < 0.08:
        return deep_text(rng).encode()
    if rng.random() < 0.05:
        return text_bytes(json.dumps(value), rng)
    try:
        content = json.dumps(spoiled(value, rng), default=str).encode(errors="replace")
    except (ValueError, RecursionError):
        content = b'{"a": ' + b"9" * 6000 + b"}"
    return damaged(content, rng) if rng.random() < 0.15 else content


_PACKED: list[Path] = []


def _packed(rng: Random, folder: Path, out: Path) -> Case:
    if not _PACKED:
        right.write_video_folder(right.room() / "unpacked" / "a")
        said = mamp(
            "data",
            "pack",
            right.room() / "unpacked",
            right.room() / "packed",
            "--size",
            "32",
            "--quiet",
            "--processes",
            "1",
        )
        assert said.status == 0, said
        _PACKED.append(right.room() / "packed")
    root = folder / "packed"
    shutil.copytree(_PACKED[0], root)
    index = json.loads((root / "pack.json").read_text())
    if rng.random() < 0.8:
        (root / "pack.json").write_bytes(_spoiled_json(index, rng))
    else:
        clip = next(root.glob("*.mp4"))
        clip.write_bytes(damaged(clip.read_bytes(), rng))
    if rng.random() < 0.1:
        (root / ".unfinished").mkdir()
    words = rng.choice(
        (
            ["data", "check", root, "--quiet"],
            ["data", "check", root, "--quiet", "--deep"],
            _train(folder, root, out),
            ["first", next(root.glob("*.mp4"), root), "--out", out / "f.png"],
            ["first", next(root.glob("*.mp4"), root), "--out", out / "f.png", "--at", "2"],
        )
    )
    return Case(f"{words[0]} packed", lambda: mamp(*words), [out])


# ---------------------------------------------------------------- archives


def archive(rng: Random, folder: Path) -> Case:
    """A zip that `data fetch` is given: nothing appears but a whole data set."""
    files = _davis_files()
    for _ in range(rng.choice((0, 1, 2))):
        names = (
            "../x",
            "/x",
            "DAVIS/a\\b",
            "C:/x",
            "DAVIS/" + "n" * 300,
            "DAVIS/\x1b[31m",
            "DAVIS/é",
            "DAVIS/a/../../x",
            "DAVIS/JPEGImages",
            "__MACOSX/x",
            "DAVIS/a\nb",
            "",
            "DAVIS//a",
            "DAVIS/./a",
            "a" * 5000,
            "DAVIS/" + "d/" * 600 + "f",
            "DAVIS/CON",
            "davis/imagesets/2017/val.txt",
        )
        files[rng.choice(names)] = rng.choice((b"", b"x", bytes(10**6)))
    if rng.random() < 0.3:
        del files[rng.choice(list(files))]
    if rng.random() < 0.2:
        name = rng.choice(list(files))
        files[name] = damaged(files[name], rng)
    path = folder / rng.choice(("a.zip", "a b.zip", "a"))
    packed = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(packed, "w", method) as opened:
        for name, content in files.items():
            info = zipfile.ZipInfo(name or "x")
            info.compress_type = method
            if rng.random() < 0.02:
                info.external_attr = rng.choice((0o120777, 0o010644, 0o040755, 0o104755)) << 16
            opened.writestr(info, content)
    content = packed.getvalue()
    if rng.random() < 0.4:
        content = damaged(content, rng)
    if rng.random() < 0.1:
        data = bytearray(content)
        at = content.rfind(b"PK\x01\x02")
        if at > 0:
            data[at + rng.randrange(4, 46)] = rng.randrange(256)
            data[at + 20 : at + 28] = struct.pack(
                "<II", *rng.choice(((1, 2**32 - 1), (2**32 - 1, 1), (0, 0)))
            )
        content = bytes(data)
    path.write_bytes(content)
    out = folder / "out" / "DAVIS"
    words = ["data", "fetch", "davis2017", "--url", path, "--out", out, "--quiet"]

    def check(said: Said) -> str:
        left = list((folder / "out").iterdir()) if (folder / "out").is_dir() else []
        if said.status and left:
            return f"left {left[0].name}: {said.err}"
        return "" if said.status or (out / "ImageSets" / "2017" / "val.txt").is_file() else "made no data set"

    return Case("fetch", lambda: mamp(*words), [folder / "out"], check)


def _davis_files() -> dict[str, bytes]:
    files = {f"DAVIS/ImageSets/2017/{split}.txt": b"ant\n" for split in ("train", "val")}
    for t in range(2):
        files[f"DAVIS/JPEGImages/480p/ant/{t:05d}.jpg"] = right.jpeg(t)
        files[f"DAVIS/Annotations/480p/ant/{t:05d}.png"] = right.mask_png(t)
    return files


KINDS = {
    "lists": lists,
    "roots": roots,
    "predictions": predictions,
    "metadata": metadata,
    "archives": archive,
}
__all__ = ["KINDS", "scalar", "written_whole"]
