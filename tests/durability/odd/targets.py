"""Files that are written where something else is already: a device, a pipe, a folder, a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from random import Random
from typing import Any

from odd import right
from odd.contract import Case, Said, mamp, whole

DEVICES = ("/dev/null", "/dev/full", "/dev/zero")


def targets(rng: Random, folder: Path) -> Case:
    """A command that writes a file, whose place is taken: what is there stays, a link leads to the file."""
    out = folder / "out"
    out.mkdir()
    words, target = _command(rng, folder, out)
    kind = rng.choice(("link", "link", "dangling", "fifo", "device", "folder", "loop", "file", "chain"))
    real = out / f"real{target.suffix}"
    if kind == "fifo":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    elif kind == "file":
        target.write_bytes(b"old")
    else:
        leads = {"device": Path(rng.choice(DEVICES)), "loop": target}.get(kind, real)
        if kind == "chain":
            os.symlink(leads, out / "between")
            leads = out / "between"
        if kind in ("link", "chain"):
            real.write_bytes(b"old")
        os.symlink(leads, target)
    return Case(
        f"{' '.join(map(str, words[:2]))} to a {kind}", lambda: mamp(*words), [out], _kept(kind, target, real)
    )


def _kept(kind: str, target: Path, real: Path) -> Any:
    before = os.lstat(target).st_mode

    def check(said: Said) -> str:
        after = os.lstat(target).st_mode
        if stat.S_IFMT(after) != stat.S_IFMT(before):
            return f"{kind} was replaced"
        written = {"file": target}.get(kind, real)
        if kind in ("link", "dangling", "chain", "file"):
            return f"is refused: {said.err}" if said.status else whole(written)
        return "" if said.status == 2 else "wrote into it"

    return check


def _command(rng: Random, folder: Path, out: Path) -> tuple[list[Any], Path]:
    use = rng.choice(("json", "csv", "official", "report", "mask", "first", "zip", "coco", "table", "copy"))
    root = right.write_davis(folder / "root", ("ant",))
    masks = root / "Annotations" / "480p"
    score: list[Any] = ["score", root, masks, "--processes", "1"]
    if use == "json":
        return [*score, "--json", out / "s.json"], out / "s.json"
    if use == "csv":
        return [*score, "--csv", out / "s.csv"], out / "s.csv"
    if use == "official":
        return [*score, "--official-csv", out], out / "global_results-val.csv"
    if use == "report":
        one = right.write_evaluation(folder / "one")
        return ["report", one, "--quiet", "--out", out / "r.html"], out / "r.html"
    if use == "mask":
        return ["mask", masks / "ant" / "00000.png", "--out", out / "m.png"], out / "m.png"
    if use == "first":
        video = root / "JPEGImages" / "480p" / "ant"
        return ["first", video, "--out", out / "f.png"], out / "f.png"
    if use == "zip":
        return ["export", "davis", masks, "--out", out / "x.zip"], out / "x.zip"
    if use == "coco":
        return ["export", "coco", masks / "ant", "--quiet", "--out", out / "x.json"], out / "x.json"
    if use == "table":
        return ["export", "csv", masks / "ant", "--quiet", "--out", out / "x.csv"], out / "x.csv"
    return ["weights", "copy", right.weights(), out / "w.safetensors"], out / "w.safetensors"


KINDS = {"targets": targets}
