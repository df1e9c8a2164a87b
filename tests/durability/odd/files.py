"""Metadata, packed folders and archives."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, Said, mamp
from odd.roots import training
from odd.values import damaged, deep_text, spoiled, text_bytes


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
                training(folder, root, out),
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
                [*training(folder, root, out), f"data.leave_out={file}"],
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
            training(folder, root, out),
            ["first", next(root.glob("*.mp4"), root), "--out", out / "f.png"],
            ["first", next(root.glob("*.mp4"), root), "--out", out / "f.png", "--at", "2"],
        )
    )
    return Case(f"{words[0]} packed", lambda: mamp(*words), [out])


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


KINDS = {"metadata": metadata, "archives": archive}
