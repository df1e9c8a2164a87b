"""Read folders of evaluations and training runs for the page. Anything but settings may be missing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mamp.core.errors import UserError
from mamp.core.texts import parse_json, read_json

FIGURES = ("J&F-Mean", "J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay")
CURVES = {
    "loss": "loss",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "clips_per_s": "clips per second",
    "val_loss": "loss on held-aside video",
    "val_jf": "J&F on the labelled set",
}

PREVIEWS = {"step": "step", "carried": "masks carried at step"}  # begin of a file's name -> caption

Curve = tuple[list[float], list[float]]  # steps, values
Row = dict[str, float | None]
ObjectKey = tuple[str, str]  # sequence, object


@dataclass(frozen=True)
class ObjectFrames:
    """J and F of one object in the frames it was scored in."""

    frames: tuple[str, ...]
    j: tuple[float, ...]
    f: tuple[float, ...]

    def both(self) -> list[float]:
        """The mean of J and F in each frame."""
        return [(j + f) / 2 for j, f in zip(self.j, self.f, strict=True)]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation folder. means, rows: empty without scores. frames: empty without frames.json."""

    name: str
    folder: Path
    info: Mapping[str, Any]
    means: Row = field(default_factory=dict)
    rows: Mapping[ObjectKey, Row] = field(default_factory=dict)
    frames: Mapping[ObjectKey, ObjectFrames] = field(default_factory=dict)

    def settings(self) -> list[tuple[str, str]]:
        """Return what made the masks and how fast, name -> value; "" where run.json has none.

        All runs have the same names.
        """
        weights, config = _get(self.info, "weights", {}), _get(self.info, "config", {})
        method, made = _get(config, "method", {}), _get(weights, "provenance", {})
        code = _get(self.info, "code", {})
        hardware = _get(code, "hardware", {})
        found = {
            "data": " ".join(str(self.info[key]) for key in ("dataset", "split") if self.info.get(key)),
            "protocol": self.info.get("protocol"),
            "name": self.info.get("name"),
            "method": method.get("name") or self.info.get("baseline"),
            "preset": method.get("preset"),
            "weights": "untrained" if made.get("untrained") else str(weights.get("sha256") or "")[:12],
            "weights' commit": _commit(made),
            "commit": _commit(code),
            "frames": self.info.get("frames"),
            "size": ", ".join(map(str, _get(self.info, "sizes", []))),
            "frames/s": self._amount("frames_per_second", ".2f"),
            "memory": self._amount("peak_memory_mb", ",.0f", unit=" MB"),
            "device memory": self._amount("peak_device_memory_mb", ",.0f", unit=" MB"),
            "device": hardware.get("device"),
            "processor": hardware.get("processor"),
            "threads": hardware.get("threads"),
            "torch": _get(code, "versions", {}).get("torch"),
        }
        return [(key, str(value or "")) for key, value in found.items()]

    def _amount(self, key: str, form: str, *, unit: str = "") -> str | None:
        value = _number(self.info.get(key))
        return None if value is None else f"{value:{form}}{unit}"

    def all_settings(self) -> str:
        """The whole config as YAML."""
        return yaml.safe_dump(_get(self.info, "config", {}), sort_keys=False)


@dataclass(frozen=True)
class Training:
    """One training run. curves: name -> (steps, values); previews: (caption, picture) of the last few.

    sequences: of the labelled set, name -> "J" and "F" -> (steps, values), the worst at the end first.
    """

    name: str
    folder: Path
    settings: list[tuple[str, str]]
    config: str
    curves: Mapping[str, Curve]
    previews: list[tuple[str, Path]]
    sequences: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)


def read_runs(folders: Sequence[Path]) -> tuple[list[Evaluation], list[Training]]:
    """Read the evaluations and training runs among `folders`, each under its own name.

    Raises UserError for what is neither.
    """
    evaluations, trainings = [], []
    for name, folder in zip(_names(folders), folders, strict=True):
        if (folder / "run.json").is_file():
            evaluations.append(_evaluation(name, folder))
        elif (folder / "log.jsonl").is_file():
            trainings.append(_training(name, folder))
        else:
            raise UserError(
                f"{folder} holds neither run.json nor log.jsonl; give folders that mamp evaluate or mamp"
                " train wrote"
            )
    return evaluations, trainings


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that differ."""
    parts = [Path(os.path.abspath(folder)).parts for folder in folders]
    longest = max(map(len, parts), default=1)
    for depth in range(1, longest + 1):
        names = ["/".join(part[-depth:]).lstrip("/") or "/" for part in parts]
        if len(set(names)) == len(names):
            return names
    raise UserError("a run is given twice; name each once")


# ---------------------------------------------------------------- evaluations


def _evaluation(name: str, folder: Path) -> Evaluation:
    info = _read_json(folder / "run.json")
    scores = _read_json(folder / "scores.json") if (folder / "scores.json").is_file() else {}
    try:
        rows = {
            (sequence, number): _row(row)
            for sequence, objects in scores.get("sequences", {}).items()
            for number, row in objects.items()
        }
        means = {key: _number(value) for key, value in scores.items() if key not in ("protocol", "sequences")}
        return Evaluation(name, folder, info, means, rows, _frames(folder / "frames.json"))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(
            f"the scores in {folder} cannot be read; evaluate again, finished masks stay"
        ) from None


def _row(row: Mapping[str, Any]) -> Row:
    j, f = _number(row["J-Mean"]), _number(row["F-Mean"])
    both = None if j is None or f is None else (j + f) / 2
    return {"J&F-Mean": both, **{key: _number(row[key]) for key in FIGURES[1:]}}


def _frames(path: Path) -> dict[ObjectKey, ObjectFrames]:
    if not path.is_file():
        return {}
    found = {}
    for sequence, objects in _read_json(path)["sequences"].items():
        for number, scores in objects.items():
            j, f = tuple(map(float, scores["J"])), tuple(map(float, scores["F"]))
            names = tuple(map(str, scores["frames"]))
            if not len(names) == len(j) == len(f):
                raise ValueError(path)
            found[sequence, number] = ObjectFrames(names, j, f)
    return found


def worst_frames(evaluation: Evaluation, *, count: int) -> list[tuple[float, ObjectKey, str, float, float]]:
    """Return the worst frame of each object, worst first: (mean of J and F, object, frame, J, F)."""
    worst = []
    for key, scores in evaluation.frames.items():
        if scores.frames:
            value, index = min((value, index) for index, value in enumerate(scores.both()))
            worst.append((value, key, scores.frames[index], scores.j[index], scores.f[index]))
    return sorted(worst, key=lambda entry: (entry[0], entry[1]))[:count]


# ---------------------------------------------------------------- training runs


def _training(name: str, folder: Path) -> Training:
    code = _read_json(folder / "code.json") if (folder / "code.json").is_file() else {}
    text = _text(folder / "config.yaml") if (folder / "config.yaml").is_file() else ""
    entries = list(_log(folder / "log.jsonl"))
    settings = {
        "steps": f"{entries[-1]['step']:,}" if entries else "none",
        "commit": _commit({**code, "changed": code.get("diff")}),
        "precision": code.get("precision"),
        "device": _get(code, "hardware", {}).get("device"),
        "torch": _get(code, "versions", {}).get("torch"),
    }
    curves = {}
    for key, title in CURVES.items():
        points = [(float(e["step"]), v) for e in entries if (v := _number(e.get(key))) is not None]
        if points:
            curves[title] = ([x for x, _ in points], [y for _, y in points])
    shown = [(key, str(value)) for key, value in settings.items() if value]
    previews = list(_previews(folder / "previews"))
    return Training(name, folder, shown, text, curves, previews, _by_sequence(entries))


def _by_sequence(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """J and F of each labelled sequence over the steps."""
    found: dict[str, dict[str, Curve]] = {}
    for entry in entries:
        for name, figures in _get(entry, "val_sequences", {}).items():
            for letter in ("j", "f"):
                value = _number(figures.get(letter)) if isinstance(figures, Mapping) else None
                if value is not None:
                    steps, values = found.setdefault(str(name), {}).setdefault(letter.upper(), ([], []))
                    steps.append(float(entry["step"]))
                    values.append(value)

    def last(name: str) -> float:
        return sum(values[-1] for _, values in found[name].values()) / len(found[name])

    return {name: found[name] for name in sorted(found, key=lambda name: (last(name), name))}


def _previews(folder: Path) -> Iterator[tuple[str, Path]]:
    """The last four pictures of each kind."""
    for name, caption in PREVIEWS.items():
        steps = {p.stem.removeprefix(f"{name}-"): p for p in sorted(folder.glob(f"{name}-*.png"))}
        for step in [step for step in steps if step.isdecimal()][-4:]:
            yield f"{caption} {int(step):,}", steps[step]


def _log(path: Path) -> Iterator[dict[str, Any]]:
    """Entries of a log; a last line that is being written is left out."""
    for line in _text(path).splitlines():
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            yield entry


# ---------------------------------------------------------------- plain values


def _text(path: Path) -> str:
    """The text of a file, with a mark for each byte that is none."""
    return path.read_text(encoding="utf-8", errors="replace")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} cannot be read; run what wrote it again, or leave its folder out")
    return found


def _commit(code: Mapping[str, Any]) -> str:
    """Twelve digits of a commit, and whether its files were changed since."""
    commit = str(code.get("commit") or "")[:12]
    return f"{commit}, changed since" if commit and code.get("changed") else commit


def _get(mapping: Mapping[str, Any], key: str, default: Any) -> Any:
    """The value, if it is of the default's type."""
    value = mapping.get(key, default)
    return value if isinstance(value, type(default)) else default


def _number(value: Any) -> float | None:
    number = float(value) if isinstance(value, (int, float)) else math.nan
    return number if math.isfinite(number) else None
