"""What run.json of an evaluation holds: whose masks they are, how fast and by which code each was made."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from mamp.config import Config
from mamp.core.devices import peak_memory_mb, peak_process_mb
from mamp.core.errors import UserError
from mamp.core.files import write_json
from mamp.core.provenance import code_in_brief, describe_code
from mamp.core.section import SPEED
from mamp.core.texts import read_json
from mamp.datasets import sequences as datasets
from mamp.segmentation.stream import Timing


@dataclass(frozen=True)
class Maker:
    """The process that makes masks: its device, and what `code_in_brief` says of its code."""

    device: torch.device
    code: Mapping[str, Any]

    @classmethod
    def here(cls, device: torch.device) -> Maker:
        """This process, on `device`."""
        return cls(device, code_in_brief(describe_code(device)))

    def record(self, timing: Timing, size: str | None) -> Record:
        """What is kept of a sequence it has just finished; memory is the most that was held so far."""
        on_gpu = peak_memory_mb(self.device) if self.device.type == "cuda" else None
        return Record(timing, size, self.code["commit"], self.code["changed"], peak_process_mb(), on_gpu)


@dataclass(frozen=True)
class Record:
    """One finished sequence: time, frames' size as WIDTHxHEIGHT, code (commit, changes), memory in MB.

    usage: how the method used its memory, if it reports it.
    """

    timing: Timing
    size: str | None = None
    commit: str | None = None
    changed: bool | None = None
    peak_memory_mb: float | None = None
    peak_device_memory_mb: float | None = None
    usage: dict[str, Any] | None = None

    def write(self, path: Path) -> None:
        """Write it as JSON; the folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)  # a list may name a folder in a folder
        write_json(path, {**asdict(self.timing), **self.made()})

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """What `write` wrote; None where there is no such file, or another one."""
        try:
            found = read_json(path)
            timing = Timing(**{field.name: found.pop(field.name) for field in fields(Timing)})
            record = cls(timing, **found)
            return record if record._sound() else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _sound(self) -> bool:
        """Whether all is of the types that `write` writes, as far as the types of others may be."""
        numbers = [*vars(self.timing).values(), self.peak_memory_mb or 0, self.peak_device_memory_mb or 0]
        plain = all(isinstance(n, (int, float)) and math.isfinite(n) and abs(n) < 1e15 for n in numbers)
        words = all(isinstance(word, str | None) for word in (self.size, self.commit))
        return plain and words and isinstance(self.usage, dict | None)

    def made(self) -> dict[str, Any]:
        """Everything but the times."""
        return {name: value for name, value in vars(self).items() if name != "timing"}


def record_file(out: Path, name: str) -> Path:
    """Where the record of the sequence `name` is."""
    return out / "sequences" / f"{name}.json"


def digest(sequences: Sequence[datasets.Sequence]) -> str:
    """Changes with the sequences, the names of their frames, the first frame and the masks that are given.

    Not with every frame's bytes: one that was cut short may be replaced, and the evaluation goes on.
    """
    found = hashlib.sha256()
    for sequence in sequences:
        frames = sorted(sequence.source.iterdir()) if sequence.source.is_dir() else [sequence.source]
        sizes = [file.stat().st_size for file in (frames[0], *sequence.given.values())]
        found.update(repr((sequence.name, [frame.name for frame in frames], sizes)).encode())
    return found.hexdigest()[:16]


def claim(out: Path, run_info: Mapping[str, Any]) -> None:
    """Make OUT this run's folder, or check that it is.

    Raises UserError that names the first setting that differs.
    """
    path = out / "run.json"
    wanted = json.loads(json.dumps(run_info, default=str))
    if not path.exists():
        if (out / "masks").exists():
            raise UserError(
                f"{out} has masks but no run.json, so they are not of this run; choose another --out"
            )
        write_json(path, wanted)
        return
    try:
        found = _with_newer_settings(read_json(path))
        found, wanted = _without_speed(found), _without_speed(wanted)
        other, remedy = difference(found, wanted), to_go_on(found, wanted)
    except (ValueError, AttributeError):
        raise UserError(f"{path} cannot be read as a run's settings; choose another --out") from None
    if other:
        remedy = f"pass {remedy} to go on with it, or " if 0 < len(remedy) <= 400 else ""
        raise UserError(f"{path} is of a run with another {other}; {remedy}choose another --out")


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return the first setting in `wanted` that `found` has otherwise, in words; empty where none is."""
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    return _where(found, wanted, differing[0]) if differing else ""


def _with_newer_settings(found: Any) -> Any:
    """What run.json says, with the defaults of settings that are newer than it."""
    config = found.get("config")
    if not isinstance(config, dict):
        return found
    try:
        whole = Config.model_validate(config).model_dump(mode="json", include=set(config))
    except ValidationError:  # it has settings that are no more
        return found
    return {**found, "config": whole}


def _without_speed(info: Any) -> Any:
    """What run.json says without the settings that change speed and memory alone."""
    config = info.get("config")
    method = config.get("method") if isinstance(config, dict) else None
    if not isinstance(method, dict) or not isinstance(method.get("propagation"), dict):
        return info
    kept = {key: value for key, value in method["propagation"].items() if key not in SPEED}
    return {**info, "config": {**config, "method": {**method, "propagation": kept}}}


def to_go_on(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return the arguments that bring `wanted` back to the settings `found`; empty if none do."""
    if any(found.get(key) != wanted[key] for key in wanted if key != "config"):
        return ""
    before, now = (dict(_settings(info.get("config"))) for info in (found, wanted))
    if before.keys() != now.keys():
        return ""
    return " ".join(f"{key}={json.dumps(before[key])}" for key in now if before[key] != now[key])


def _settings(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every setting."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _where(found: Any, wanted: Any, key: str) -> str:
    """The dotted key of the first difference below `key`, and both values when they are short."""
    a, b = found.get(key), wanted[key]
    while isinstance(a, dict) and isinstance(b, dict):
        inner = next(k for k in [*b, *a] if k not in a or k not in b or a[k] != b[k])
        key, a, b = f"{key}.{inner}", a.get(inner, "absent"), b.get(inner, "absent")
    values = f"{a} there, {b} now"
    return f"{key} ({values})" if len(values) <= 80 else key


def write_run(
    out: Path,
    run_info: Mapping[str, Any],
    records: Mapping[str, Record],
    *,
    protocol: str,
    maker: Maker,
) -> None:
    """Write run.json of an evaluation whose sequences are all finished.

    Besides `run_info` and the protocol: frames, seconds and frames per second of one process, all together
    and for each sequence; sizes of the frames; the most memory any process held; code, versions and hardware
    of this process.
    """
    together = sum((record.timing for record in records.values()), Timing())
    made = records.values()
    peaks = {
        key: max((peak for record in made if (peak := vars(record)[key]) is not None), default=None)
        for key in ("peak_memory_mb", "peak_device_memory_mb")
    }
    write_json(
        out / "run.json",
        {
            **run_info,
            "protocol": protocol,
            **together.summary(),
            "sizes": sorted({record.size for record in made if record.size}),
            **peaks,
            "code": maker.code,
            "sequences": _each(records),
        },
    )


def is_recorded(out: Path, records: Mapping[str, Record]) -> bool:
    """Whether run.json has all of this already."""
    try:
        found = read_json(out / "run.json")
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("sequences") == _each(records)


def _each(records: Mapping[str, Record]) -> dict[str, Any]:
    return {name: {**record.timing.summary(), **record.made()} for name, record in records.items()}


def codes(records: Mapping[str, Record]) -> list[str]:
    """The commits that made the masks, twelve digits each, `+` behind one that was changed since."""
    short = ((r.commit or "unknown")[:12] + "+" * bool(r.changed) for r in records.values())
    return list(dict.fromkeys(short))
