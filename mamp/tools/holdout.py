"""`mamp data holdout`: hold videos of YouTube-VOS train out of training, to score without a server."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError
from mamp.core.files import make_folder, write_text
from mamp.datasets.lists import categories, is_holdout, read_meta
from mamp.video.folders import read_text

_LARGEST_UNSEEN = (
    0.02  # part of all videos that a category held out whole may have: training must not lose more
)
_RULE = 1  # a change of the rule below changes this number, and with it every hash


def write_holdout(root: Path, out: Path, *, share: float, unseen: int) -> dict[str, Any]:
    """Cut a hold-out from the train videos below `root` and write it to `out`; returns what was written.

    root: of YouTube-VOS, or its train folder. share: part of the videos of categories that stay in training,
    in
    0..0.5. unseen: how many categories are held out whole. It depends on meta.json's names and categories
    alone, so it is the same on every machine; `read_holdout` reads it.

    Raises UserError when `out` holds another list (one that was frozen stays), or when there are too few
    categories.
    """
    if not 0 <= share <= 0.5 or unseen < 0:
        raise UserError(f"--share is {share:g} and --unseen {unseen}; give 0 to 0.5, and 0 or more")
    if not is_holdout(out.name):
        raise UserError(
            f"--out {out} is to be a .json file, by which `--split` knows it; call it holdout.json"
        )
    meta = next((m for m in (root / "train" / "meta.json", root / "meta.json") if m.is_file()), None)
    if meta is None:
        raise UserError(f"{root} has no train/meta.json; give the root of YouTube-VOS")
    videos = {name: set(categories(objects).values()) for name, objects in read_meta(meta).items()}
    held = cut(videos, share=share, unseen=unseen)
    text = json.dumps(held, indent=1, ensure_ascii=True) + "\n"
    make_folder(out.absolute().parent)
    if out.exists() and read_text(out) != text:
        raise UserError(f"{out} holds another list, and a hold-out stays as it is; choose another --out")
    write_text(out, text)
    return held


def cut(videos: Mapping[str, set[str]], *, share: float, unseen: int) -> dict[str, Any]:
    """The hold-out of videos, given the categories in each: what `write_holdout` writes.

    Categories come in the order of a hash of their names, and the first that fit are held out whole: every
    video that shows one. Of the other videos, grouped by their rarest category, the first `share` of each
    group in the order of a hash of their names. No other category is left without a video to train on.
    """
    unseen_names = _unseen_categories(videos, unseen)
    whole = {name for name, found in videos.items() if found & set(unseen_names)}
    left = Counter(c for name, found in videos.items() if name not in whole for c in found)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(videos.keys() - whole, key=lambda name: _hash("video", name)):
        groups[min(videos[name], key=lambda c: (left[c], c), default="")].append(name)
    drawn = []
    for group in sorted(groups):
        wanted = int(share * len(groups[group]) + 0.5)
        for name in groups[group]:
            if wanted and all(left[c] > 1 for c in videos[name]):
                drawn.append(name)
                left.subtract(videos[name])
                wanted -= 1
    if not drawn and not whole:
        raise UserError(f"share {share:g} of {len(videos)} videos is none; raise --share or --unseen")
    return {
        "holdout": "youtubevos train",
        "rule": {"version": _RULE, "share": share, "unseen": unseen},
        "train": {"videos": len(videos), "sha256": _digest(videos)},
        "categories": {"seen": sorted(c for c in left if left[c] > 0), "unseen": sorted(unseen_names)},
        "videos": {"seen": sorted(drawn), "unseen": sorted(whole)},
    }


def _unseen_categories(videos: Mapping[str, set[str]], wanted: int) -> list[str]:
    """Categories to hold out whole: not too common, and none that leaves another without videos."""
    counts = Counter(c for found in videos.values() for c in found)
    chosen: list[str] = []
    for category in sorted(counts, key=lambda c: _hash("category", c)):
        if len(chosen) == wanted:
            break
        trial = {*chosen, category}
        left = {c for found in videos.values() if not found & trial for c in found}
        if counts[category] <= _LARGEST_UNSEEN * len(videos) and left == counts.keys() - trial:
            chosen.append(category)
    if len(chosen) < wanted:
        raise UserError(
            f"only {len(chosen)} of {len(counts)} categories can be held out whole (each in at most"
            f" {_LARGEST_UNSEEN:.0%} of the videos); pass --unseen {len(chosen)}"
        )
    return chosen


def _hash(kind: str, name: str) -> str:
    return hashlib.sha256(f"mamp hold-out {_RULE} {kind} {name}".encode(errors="surrogateescape")).hexdigest()


def _digest(videos: Mapping[str, Iterable[str]]) -> str:
    """Of the names and categories that the list was cut from."""
    lines = (f"{name} {','.join(sorted(videos[name]))}" for name in sorted(videos))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
