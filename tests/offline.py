"""Reads what wandb wrote offline: a LevelDB log of its records."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK = 32768


def folders(run: Path) -> list[Path]:
    """wandb's folders of a run, oldest first."""
    return sorted(path for path in (run / "wandb").glob("offline-run-*") if not path.is_symlink())


def history(folder: Path) -> list[dict[str, Any]]:
    """What was told, step by step."""
    found = [record.history for record in _of(folder) if record.WhichOneof("record_type") == "history"]
    return [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in row.item} for row in found
    ]


def begun_as(folder: Path) -> Any:
    """The record of the run: run_id, project, display_name, tags, config.update."""
    return next(record.run for record in _of(folder) if record.WhichOneof("record_type") == "run")


def files(folder: Path) -> list[str]:
    """The files that `wandb sync` sends with the run."""
    return [
        item.path
        for record in _of(folder)
        if record.WhichOneof("record_type") == "files"
        for item in record.files.files
    ]


def ended(folder: Path) -> bool:
    """Whether the run's end is in the file, and with it all that was told before."""
    return any(record.WhichOneof("record_type") == "exit" for record in _of(folder))


def _of(folder: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("*.wandb")
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def _records(data: bytes) -> Iterator[bytes]:
    place, whole = 7, b""  # after the file's own header
    while place + 7 <= len(data):
        room = BLOCK - place % BLOCK
        if room < 7:
            place += room
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""
