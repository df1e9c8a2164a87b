"""Scores as JSON, CSV, the official tool's own files and a table for the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

from mamp.core.files import make_folder, write_text
from mamp.scoring.folders import score
from mamp.scoring.metrics import Decay
from mamp.scoring.scores import SEEN_GROUPS, STATISTICS, Scores


def run_score(
    truth: Path | str,
    predictions: Path | str,
    *,
    protocol: str | None = None,
    split: str | None = None,
    seen: Path | str | None = None,
    json: Path | str | None = None,
    csv: Path | str | None = None,
    official_csv: Path | str | None = None,
    processes: int | None = None,
    decay: Decay = "exact",
) -> str:
    """`mamp score`: score, write the files that are asked for, and return the text for standard output.

    processes: by default one for each processor. The other arguments are those of `score`, `write_json`,
    `write_csv` and `write_official_csv`.
    """
    scores = score(
        truth,
        predictions,
        protocol=protocol,
        split=split,
        seen=seen,
        processes=processes or _processors(),
        decay=decay,
    )
    if json is not None:
        write_json(scores, json)
    if csv is not None:
        write_csv(scores, csv)
    if official_csv is not None:
        write_official_csv(scores, official_csv)
    return format_table(scores)


def as_json(scores: Scores) -> dict[str, Any]:
    """The content of scores.json: floats unrounded, None where a figure is undefined or not known."""
    sequences: dict[str, dict[str, Any]] = {name: {} for name in scores.sequences}
    for name, number, row in scores.objects():
        sequences[name][str(number)] = _nulled(row)
    means = _nulled(scores.means())
    if scores.protocol == "youtubevos":
        means |= {key: means.get(key) for key in SEEN_GROUPS}
    return {"protocol": scores.protocol, **means, "sequences": sequences}


def write_json(scores: Scores, path: Path | str) -> None:
    """Write scores.json."""
    _write(Path(path), json.dumps(as_json(scores), indent=2, allow_nan=False) + "\n")


def write_frames(scores: Scores, path: Path | str) -> None:
    """Write frames.json, nothing rounded.

    {"sequences": {SEQ: {OBJECT: {"frames": [name, ..], "J": [..], "F": [..]}}}}
    """
    sequences = {
        name: {
            str(number): {"frames": list(found.frames), "J": found.j.tolist(), "F": found.f.tolist()}
            for number, found in objects.items()
        }
        for name, objects in scores.sequences.items()
    }
    _write(
        Path(path), json.dumps({"protocol": scores.protocol, "sequences": sequences}, allow_nan=False) + "\n"
    )


def write_csv(scores: Scores, path: Path | str) -> None:
    """Write scores.csv: a line for each object, then the means; unrounded, empty where undefined."""
    lines = [["Sequence", "Object", *STATISTICS]]
    for name, number, row in scores.objects():
        lines.append([name, str(number), *(_digits(row[key]) for key in STATISTICS)])
    means = scores.means()
    lines.append(["mean", "", *(_digits(means[key]) for key in STATISTICS)])
    _write(Path(path), _lines(lines))


def official_csv(scores: Scores) -> dict[str, str]:
    """File name -> content of the two tables that the official tools write: three digits, one line an object.

    Long Videos' own tool calls F NF and names no set; every other protocol is written as DAVIS-2017's tool
    does.
    """
    long = scores.protocol == "longvideos"
    suffix, n = ("", "N") if long else (f"-{scores.split or 'val'}", "")
    means = scores.means()
    keys = ("J&F-Mean", *STATISTICS)
    overall = [[key.replace("F-", f"{n}F-") for key in keys], [_three(means[key]) for key in keys]]
    each = [["Sequence", "J-Mean", f"{n}F-Mean"]]
    each += [
        [f"{name}_{k}", _three(row["J-Mean"]), _three(row["F-Mean"])] for name, k, row in scores.objects()
    ]
    return {f"global_results{suffix}.csv": _lines(overall), f"per-sequence_results{suffix}.csv": _lines(each)}


def write_official_csv(scores: Scores, folder: Path | str) -> None:
    """Write the files of `official_csv` into a folder, which is made."""
    for name, text in official_csv(scores).items():
        _write(Path(folder) / name, text)


def format_table(scores: Scores) -> str:
    """What is said on the terminal: notes, a line an object, the means."""
    width = max([8, *(len(name) for name in scores.sequences)])
    header = f"{'sequence':{width}}  object  " + "  ".join(f"{key:>8}" for key in STATISTICS)
    lines = [f"note: {note}" for note in scores.notes] + [header]
    for name, number, row in scores.objects():
        lines.append(f"{name:{width}}  {number:6d}  " + "  ".join(_cell(row[key]) for key in STATISTICS))
    means = scores.means()
    lines.append(f"{'mean':{width}}  {'':6}  " + "  ".join(_cell(means[key]) for key in STATISTICS))
    groups = [f"{key} {_three(value) or '-'}" for key, value in means.items() if key.endswith("een")]
    lines += [", ".join(groups)] if groups else []
    count = sum(len(objects) for objects in scores.sequences.values())
    size = f"(objects: {count}, sequences: {len(scores.sequences)})"
    lines.append(f"{scores.protocol}: J&F-Mean {_three(means['J&F-Mean']) or '-'} {size}")
    return "\n".join(lines)


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _nulled(row: dict[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in row.items()}


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _digits(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _three(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _cell(value: float) -> str:
    return f"{_three(value) or '-':>8}"


def _write(path: Path, text: str) -> None:
    """Write a text file, and the folder it is in."""
    make_folder(path.parent)
    write_text(path, text)
