"""A split of a data set: masks of every sequence as they are finished, then the scores; processes may share the work."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from mamp import scoring
from mamp.data import datasets
from mamp.data.masks import write_mask
from mamp.errors import UserError
from mamp.files import Locks, make_folder, remove_leftovers, write_json
from mamp.progress import Progress, say
from mamp.segmentation.stream import Given, Steps, Timing, carry, decode_ahead

_SETTINGS, _SCORES, _SEQUENCES = range(
    3
)  # locks: to look at run.json, to score, and from there on one a sequence


def evaluate(
    sequences: Sequence[datasets.Sequence],
    make_segmenter: Callable[[], Steps],
    out: Path,
    *,
    protocol: str,
    run_info: dict[str, Any],
    seen: tuple[set[str], Path] | None = None,
    bad_frame: str = "error",
    quiet: bool = False,
    join: Callable[[], None] | None = None,
) -> scoring.Scores | None:
    """Write OUT/masks/SEQ/NAME.png, run.json, and scores.json, scores.csv and frames.json where there is truth; the scores.

    make_segmenter: a fresh segmenter for each sequence. protocol: a name `mamp.scoring` knows. run_info: what the
    masks depend on (config, weights' checksum, data variant), as JSON; it is kept in run.json, and a second run into the
    same folder with the same run_info leaves finished sequences alone. seen: the categories of the training set, for youtubevos; see
    `scoring.seen_categories`. None is returned when no sequence has truth.

    Processes that write to the same OUT at the same time share its sequences. One that finds nothing left to take up leaves
    with None; the one that finishes last scores. What a process that died held is taken up by another, or by a later run.
    join: waits until the processes that the caller started to share the work have ended; then this one scores.

    Raises UserError when OUT belongs to another run or cannot be written, and for bad frames and masks; finished masks
    stay.
    """
    if not sequences:
        raise UserError("the split has no sequence; choose another --split")
    make_folder(out)
    run_info = {**run_info, "videos": _digest(sequences)}
    with Locks(out / ".lock") as locks:
        locks.wait(_SETTINGS)
        _claim(out, run_info)
        locks.drop(_SETTINGS)
        if join is not None:
            locks.take(_SCORES)
        with Progress(_frame_count(sequences, bad_frame), unit="frames", quiet=quiet) as progress:
            work = partial(
                _sequence, make_segmenter=make_segmenter, out=out, bad_frame=bad_frame, progress=progress
            )
            timings: dict[str, Timing] = {}
            _share(sequences, work, out, timings, locks=locks, progress=progress)
            if join is not None:
                join()
                locks.wait(_SCORES)
                _share(sequences, work, out, timings, locks=locks, progress=progress)
        others = [sequence.name for sequence in sequences if sequence.name not in timings]
        if others or not locks.take(_SCORES):
            if not quiet:
                say(
                    f"other processes are at work on {', '.join(others) or 'the scores'}; the last one scores"
                )
            return None
        write_json(
            out / "run.json", {**run_info, "protocol": protocol, **_totals(sequences, timings), **_machine()}
        )
        return _score(sequences, out, protocol=protocol, seen=seen, bad_frame=bad_frame)


def _share(
    sequences: Sequence[datasets.Sequence],
    work: Callable[[datasets.Sequence], Timing],
    out: Path,
    timings: dict[str, Timing],
    *,
    locks: Locks,
    progress: Progress,
) -> None:
    """`work` of every sequence that is neither finished nor held by another process, until there is none; fills in `timings`."""
    worked = True
    while worked:  # and look again, for what a process held that died meanwhile
        worked = False
        for number, sequence in enumerate(sequences, start=_SEQUENCES):
            if sequence.name in timings or not locks.take(number):
                continue
            timing = _finished(sequence, out)
            if timing is None:
                timing, worked = work(sequence), True
            else:
                progress.skip(timing.frames)
            locks.drop(number)
            timings[sequence.name] = timing


def _digest(sequences: Sequence[datasets.Sequence]) -> str:
    """Changes with the sequences, the names of their frames, the first frame and the masks that are given.

    Not with every frame's bytes: one that was cut short may be mended, and the evaluation goes on.
    """
    digest = hashlib.sha256()
    for sequence in sequences:
        frames = sorted(sequence.source.iterdir()) if sequence.source.is_dir() else [sequence.source]
        sizes = [file.stat().st_size for file in (frames[0], *sequence.given.values())]
        digest.update(repr((sequence.name, [frame.name for frame in frames], sizes)).encode())
    return digest.hexdigest()[:16]


def _claim(out: Path, run_info: dict[str, Any]) -> None:
    """Make OUT this run's folder, or see that it already is."""
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
        found = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in wanted if found.get(key) != wanted[key]]
    except (ValueError, AttributeError):
        raise UserError(f"{path} cannot be read as a run's settings; choose another --out") from None
    if differing:
        raise UserError(
            f"{path} is of a run with another {_where(found, wanted, differing[0])}; choose another --out"
        )


def _where(found: Any, wanted: Any, key: str) -> str:
    """The dotted key of the first difference below `key`, and both values when they are short."""
    a, b = found.get(key), wanted[key]
    while isinstance(a, dict) and isinstance(b, dict):
        inner = next(k for k in [*b, *a] if a.get(k) != b.get(k))
        key, a, b = f"{key}.{inner}", a.get(inner), b.get(inner)
    values = f"{a} there, {b} now"
    return f"{key} ({values})" if len(values) <= 80 else key


def _finished(sequence: datasets.Sequence, out: Path) -> Timing | None:
    """What was recorded of a sequence whose masks are all there."""
    try:
        timing = Timing(
            **json.loads((out / "sequences" / f"{sequence.name}.json").read_text(encoding="utf-8"))
        )
    except (OSError, ValueError, TypeError):
        return None
    return timing if len(list((out / "masks" / sequence.name).glob("*.png"))) == timing.frames else None


def _sequence(
    sequence: datasets.Sequence,
    *,
    make_segmenter: Callable[[], Steps],
    out: Path,
    bad_frame: str,
    progress: Progress,
) -> Timing:
    """Masks of one sequence, each file whole and in order; its record is written last."""
    progress.begin(sequence.name)
    segmenter, timing = make_segmenter(), Timing()
    masks = out / "masks" / sequence.name
    record = out / "sequences" / f"{sequence.name}.json"
    masks.mkdir(parents=True, exist_ok=True)
    record.parent.mkdir(parents=True, exist_ok=True)  # a list may name a folder in a folder
    remove_leftovers(masks)
    given = {i: Given(f"mask {path}", partial(sequence.read_given, i)) for i, path in sequence.given.items()}
    began = time.perf_counter()
    with (
        sequence.open(bad_frame=bad_frame) as source,
        closing(decode_ahead(source.stream(), timing)) as frames,
    ):
        names = [f"{sequence.name}/{name}" for name in source.names]
        for index, _, labels in carry(frames, given, segmenter, names=names):
            with timing.writing():
                write_mask(masks / f"{source.names[index]}.png", labels)
            progress.advance()
    timing.seconds = time.perf_counter() - began
    write_json(record, asdict(timing))
    return timing


def _frame_count(sequences: Sequence[datasets.Sequence], bad_frame: str) -> int:
    count = 0
    for sequence in sequences:
        if sequence.frame_names:
            count += len(sequence.frame_names)
        else:
            with sequence.open(bad_frame=bad_frame) as source:
                count += len(source)
    return count


def _totals(sequences: Sequence[datasets.Sequence], timings: dict[str, Timing]) -> dict[str, Any]:
    """Frames, seconds and frames per second of one process, for each sequence and together."""
    together = sum(timings.values(), Timing())
    each = {sequence.name: timings[sequence.name].summary() for sequence in sequences}
    return {**together.summary(), "sequences": each}


def _machine() -> dict[str, Any]:
    """Where it ran, and the most memory this process held."""
    import platform

    import torch

    cuda = torch.cuda.is_available()
    return {
        "hardware": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "peak_memory_mb": _peak_memory() / 1e6,
        "peak_device_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if cuda else None,
    }


def _peak_memory() -> float:
    """Bytes of the largest resident size of this process so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def _score(
    sequences: Sequence[datasets.Sequence],
    out: Path,
    *,
    protocol: str,
    seen: tuple[set[str], Path] | None,
    bad_frame: str,
) -> scoring.Scores | None:
    """Score the masks in OUT and write what is found; None when no sequence has truth."""
    videos, notes = [], []
    for sequence in (s for s in sequences if s.labels in ("sparse", "all")):
        video, skipped = _video(sequence, out, bad_frame=bad_frame)
        videos.append(video)
        if skipped:
            notes.append(
                f"{sequence.name}: {len(skipped)} frames were skipped and are not scored: {', '.join(skipped)}"
            )
    if not videos:
        return None
    bare = [sequence.name for sequence in sequences if sequence.labels not in ("sparse", "all")]
    if bare:
        notes.append(
            f"{len(bare)} sequences have no truth after the given masks and are not scored: {', '.join(bare)}"
        )
    scores = scoring.score_videos(videos, out / "masks", protocol=protocol)
    if protocol == "youtubevos":
        scores = scoring.split_seen(scores, videos, seen)
    scores = replace(scores, notes=(*scores.notes, *notes))
    scoring.write_json(scores, out / "scores.json")
    scoring.write_csv(scores, out / "scores.csv")
    scoring.write_frames(scores, out / "frames.json")
    return scores


def _video(sequence: datasets.Sequence, out: Path, *, bad_frame: str) -> tuple[scoring.Video, list[str]]:
    """The truth of a sequence by frame name, and the frames that have truth but were skipped as bad."""
    with sequence.open(bad_frame=bad_frame) as source:
        names = source.names
    written = {path.stem for path in (out / "masks" / sequence.name).glob("*.png")}
    truth = {names[index]: path for index, path in sorted(sequence.truth.items())}
    first = {number: names[index] for number, index in sequence.first_frame.items()}
    masks = {name: path for name, path in truth.items() if name in written}
    video = scoring.Video(sequence.name, masks, first=first, categories=sequence.categories)
    return video, [name for name in truth if name not in written]
