"""What a running `segment` keeps beside its masks, so that a stopped one goes on: OUT/.unfinished.

run.json            the settings, as masks depend on them; another run is refused
backward/INDEX.png  label maps of the backward run
DIRECTION.pt        the segmenter's state after some frame; see `mamp.segmentation.state`
DIRECTION.jsonl     how sure the objects of each frame are, where that was asked for

The folder goes when all masks are written.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mamp.core.errors import UserError
from mamp.core.files import Locks, make_folder, remove_leftovers, write_json
from mamp.core.texts import parse_json, read_json
from mamp.segmentation.record import difference
from mamp.segmentation.state import Unkept, load_state, save_state
from mamp.video.masks import read_mask, write_mask

NAME = ".unfinished"
LOCK = ".lock"
EVERY = 10.0  # seconds between two states, at least
_PART = 20  # writing states takes no more than one part of so many of a run


class Work:
    """The folder of one run. State: the direction at work, and when its segmenter was kept last.

    every: seconds between two states of the segmenter; None keeps none. sure: whether `sureness` measures.
    lock: what keeps other processes off, for as long as this lives.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: float | None = None,
        sure: bool = False,
        lock: Locks | None = None,
    ) -> None:
        self.folder, self.every, self.sure, self._lock = folder, every, sure, lock
        self.surenesses: dict[int, dict[int, float]] = {}
        self._way = ""
        self._shelved: dict[int, dict[int, float]] = {}
        self._kept = time.monotonic()
        self._took = 0.0
        make_folder(folder / "backward")
        remove_leftovers(folder)
        remove_leftovers(folder / "backward")

    def way(self, name: str) -> None:
        """Begin with the forward or the backward run."""
        if self._way:
            self._shelved = self.surenesses
        self._way, self._kept, self._took = name, time.monotonic(), 0.0
        self.surenesses = _read_lines(self.folder / f"{name}.jsonl")

    # -- the segmenter's state

    def load(self, segmenter: Any) -> int:
        """Bring a fresh segmenter to the state kept; return after which frame it was, -1 where none is."""
        if self.every is None or not self._state.exists():
            return -1
        try:
            return load_state(segmenter, self._state)
        except Unkept:
            return -1

    def keep(self, index: int, segmenter: Any) -> None:
        """Write the segmenter's state after frame `index`, if the last one is old enough."""
        began = time.monotonic()
        if self.every is None or began - self._kept < max(self.every, _PART * self._took):
            return
        try:
            save_state(segmenter, self._state, index=index)
        except Unkept:  # the method has a state of another kind: a stopped run begins again
            self.every = None
        self._kept = time.monotonic()
        self._took = self._kept - began

    @property
    def has_state(self) -> bool:
        """Whether there is a state to go on from."""
        return any(self.folder.glob("*.pt"))

    @property
    def _state(self) -> Path:
        return self.folder / f"{self._way}.pt"

    # -- the backward run's label maps

    def shelve(self, index: int, labels: np.ndarray) -> None:
        """Put the label map (H, W) of frame `index` aside."""
        write_mask(self.folder / "backward" / f"{index:08d}.png", labels)

    def shelved(self, index: int) -> tuple[np.ndarray, dict[int, float]] | None:
        """What `shelve` put aside, with `sureness`; None for a frame that could not be read."""
        path = self.folder / "backward" / f"{index:08d}.png"
        return (read_mask(path), self._shelved.get(index, {})) if path.exists() else None

    # -- how sure

    def sureness(self, segmenter: Any, labels: np.ndarray, given: Collection[int]) -> dict[int, float]:
        """Return how sure each object is: the mean probability of its pixels, 1 for a given mask.

        Empty where this is not asked for.
        """
        if not self.sure:
            return {}
        found = dict.fromkeys(given, 1.0)
        if (probabilities := segmenter.probabilities) is not None:
            for number, field in zip(segmenter.ids, probabilities[1:].float().cpu().numpy(), strict=False):
                inside = labels == number
                if number not in found and inside.any():
                    found[number] = round(float(field[inside].mean()), 6)
        return found

    def note(self, index: int, found: dict[int, float]) -> None:
        """Keep how sure the objects of frame `index` are."""
        if not self.sure:
            return
        self.surenesses[index] = found
        with (self.folder / f"{self._way}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps([index, found]) + "\n")

    # -- the end

    def remove(self) -> None:
        """Remove the folder: all is written, or nothing is there to go on from."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let other processes at the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _read_lines(path: Path) -> dict[int, dict[int, float]]:
    """What `sureness` wrote; a line that a killed process left unfinished is left out."""
    found: dict[int, dict[int, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            index, sure = parse_json(line)
            found[int(index)] = {int(number): float(value) for number, value in sure.items()}
        except (ValueError, AttributeError, TypeError):
            continue
    return found


def _hold(folder: Path) -> Locks:
    """Keep other processes off the folder; UserError where one is at work there."""
    make_folder(folder)
    path = folder / LOCK
    lock = Locks(path)
    if not lock.take(0):
        raise UserError(
            f"{folder.parent} is being written by another mamp segment; wait for it, or choose another --out"
        )
    if not lock.is_of(path):  # one that ended has just removed it
        return _hold(folder)
    return lock


def _empty(folder: Path) -> None:
    """Remove what a run left, but for the lock."""
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child, ignore_errors=True)
        elif child.name != LOCK:
            child.unlink(missing_ok=True)


def open_work(out: Path, settings: Mapping[str, Any], *, redo: bool, sure: bool) -> Work:
    """Return OUT/.unfinished for a run with these settings: an earlier one's where it can go on.

    Raises UserError where OUT holds an unfinished run with other settings, unless `redo`.
    """
    folder = out / NAME
    lock = _hold(folder)
    if redo or not any(folder.glob("*.pt")):
        _empty(folder)
    wanted = json.loads(json.dumps(settings, default=str))
    if any(folder.glob("*.pt")):
        try:
            other = difference(read_json(folder / "run.json"), wanted)
        except (OSError, ValueError, AttributeError):
            other = "run.json, which cannot be read"
        if other:
            raise UserError(
                f"{out} holds an unfinished run with another {other}; finish that one, pass --redo to begin"
                " again, or choose another --out"
            )
    work = Work(folder, every=EVERY, sure=sure, lock=lock)
    write_json(folder / "run.json", wanted)
    return work
