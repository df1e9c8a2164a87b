"""Evaluate a split of a data set: masks of every sequence, then scores. Processes may share the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamp import scoring
from mamp.core.errors import UserError, plural
from mamp.core.files import Locks, make_folder, remove_abandoned, remove_leftovers
from mamp.core.progress import Progress, say
from mamp.datasets import sequences as datasets
from mamp.segmentation.record import Maker, Record, claim, codes, digest, is_recorded, record_file, write_run
from mamp.segmentation.stream import Given, Steps, Timing, carry, decode_ahead
from mamp.video.masks import write_mask

# locks: to look at run.json, to score, and from there on one a sequence
_SETTINGS, _SCORES, _SEQUENCES = 0, 1, 2
_NAMED = 10  # sequences that are named in a message


def evaluate(
    sequences: Sequence[datasets.Sequence],
    make_segmenter: Callable[[], Steps],
    out: Path,
    *,
    protocol: str,
    run_info: dict[str, Any],
    seen: tuple[set[str], Path] | None = None,
    bad_frame: str = "error",
    device: torch.device | None = None,
    quiet: bool = False,
    join: Callable[[], None] | None = None,
) -> scoring.Scores | None:
    """Segment all sequences and score them where there is truth.

    It writes OUT/masks/SEQ/NAME.png, run.json, and with truth scores.json, scores.csv and frames.json.
    Processes that write to the same OUT at the same time share its sequences. The one that finishes last
    scores. Work that a process left unfinished is taken up by another, or by a later run.

    Args:
        sequences: what to segment.
        make_segmenter: returns a new segmenter, once for each sequence.
        out: the folder.
        protocol: a name `mamp.scoring` knows.
        run_info: what the masks depend on (config, weights' checksum, data variant), as JSON. It is kept in
            run.json. A second run into the same folder with the same `run_info` skips finished sequences.
        seen: the categories of the training set, for youtubevos; see `scoring.seen_categories`.
        bad_frame: `error`, `skip` or `repeat`.
        device: where the segmenter computes, by default the CPU; noted in run.json.
        quiet: show no progress.
        join: waits until the processes that the caller started have ended; then this one scores.

    Returns:
        The scores; None when no sequence has truth, or another process scores.

    Raises:
        UserError: OUT belongs to another run or cannot be written, or a frame or mask cannot be used.
            Finished masks stay.
    """
    if not sequences:
        raise UserError("the split has no sequence; choose another --split")
    make_folder(out)
    run_info = {**run_info, "videos": digest(sequences)}
    maker = Maker.here(device or torch.device("cpu"))
    with Locks(out / ".lock") as locks:
        locks.wait(_SETTINGS)
        claim(out, run_info)
        remove_abandoned(*(out / name for name in ("run.json", "scores.json", "scores.csv", "frames.json")))
        locks.drop(_SETTINGS)
        work = partial(_sequence, make_segmenter=make_segmenter, out=out, bad_frame=bad_frame, maker=maker)
        total = _frame_count(sequences, bad_frame)
        records = _share_work(sequences, work, out, locks, total=total, quiet=quiet, join=join)
        if records is None:
            return None
        if not is_recorded(out, records):
            write_run(out, run_info, records, protocol=protocol, maker=maker)
        return _score(
            sequences, out, protocol=protocol, seen=seen, bad_frame=bad_frame, made_by=codes(records)
        )


def _share_work(
    sequences: Sequence[datasets.Sequence],
    work: Callable[..., Record],
    out: Path,
    locks: Locks,
    *,
    total: int,
    quiet: bool,
    join: Callable[[], None] | None,
) -> dict[str, Record] | None:
    """The records of all finished sequences, in the process that is to score; None in the others.

    total: frames of all.
    """
    show = partial(_say, quiet=quiet)
    before = [sequence.name for sequence in sequences if _finished(sequence, out) is not None]
    if before:
        show(_finished_before(before, len(sequences)))
    if join is not None:
        locks.take(_SCORES)
    with Progress(total, unit="frames", quiet=quiet) as progress:
        share = _Share(sequences, partial(work, progress=progress), out, locks, progress)
        share.run()
        if join is not None:
            join()
            locks.wait(_SCORES)
            share.run()
    others = share.left()
    if others or not locks.take(_SCORES):
        waiting = ", ".join(others) or "the scores"
        show(f"other processes are at work on {waiting}; the last one scores")
        return None
    return share.in_order()


def _finished_before(names: Sequence[str], count: int) -> str:
    """What is said of sequences that need no work."""
    if len(names) == count:
        return f"all {count} sequences were finished before and are left as they are"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"{len(names)} of {count} sequences were finished before and are left as they are:"
        f" {', '.join(names[:_NAMED])}{more}"
    )


def _say(line: str, *, quiet: bool) -> None:
    if not quiet:
        say(line)


@dataclass
class _Share:
    """This process's part of the work. State: the records of the sequences that are finished."""

    sequences: Sequence[datasets.Sequence]
    work: Callable[[datasets.Sequence], Record]
    out: Path
    locks: Locks
    progress: Progress
    records: dict[str, Record] = field(default_factory=dict)

    def run(self) -> None:
        """Do the work of each sequence that is neither finished nor held by another process."""
        while self._once():  # and look again, for what a process held that died meanwhile
            pass

    def left(self) -> list[str]:
        """The sequences that other processes hold."""
        return [sequence.name for sequence in self.sequences if sequence.name not in self.records]

    def in_order(self) -> dict[str, Record]:
        """The records, as the sequences stand in the set."""
        return {sequence.name: self.records[sequence.name] for sequence in self.sequences}

    def _once(self) -> bool:
        worked = False
        for number, sequence in enumerate(self.sequences, start=_SEQUENCES):
            if sequence.name in self.records:
                continue
            held = self.locks.take(number)
            record = _finished(sequence, self.out)
            if record is not None:  # another process may hold it, only to look at it as this one does
                self.progress.skip(record.timing.frames)
            elif held:
                record, worked = self.work(sequence), True
            else:
                continue
            if held:
                self.locks.drop(number)
            self.records[sequence.name] = record
        return worked


def _finished(sequence: datasets.Sequence, out: Path) -> Record | None:
    """What was recorded of a sequence whose masks are all there."""
    record = Record.read(record_file(out, sequence.name))
    if record is None or len(list((out / "masks" / sequence.name).glob("*.png"))) != record.timing.frames:
        return None
    return record


def _sequence(
    sequence: datasets.Sequence,
    *,
    make_segmenter: Callable[[], Steps],
    out: Path,
    bad_frame: str,
    maker: Maker,
    progress: Progress,
) -> Record:
    """Masks of one sequence, each file whole and in order; its record is written last."""
    progress.begin(sequence.name)
    segmenter, timing, size = make_segmenter(), Timing(), None
    masks = out / "masks" / sequence.name
    masks.mkdir(parents=True, exist_ok=True)
    remove_leftovers(masks)
    began = time.perf_counter()
    with closing(_masks(sequence, segmenter, timing, bad_frame=bad_frame)) as made:
        for name, labels in made:
            with timing.writing():
                write_mask(masks / f"{name}.png", labels)
            size = size or f"{labels.shape[1]}x{labels.shape[0]}"
            progress.advance()
    timing.seconds = time.perf_counter() - began
    record = maker.record(timing, size)
    if report := segmenter.report:
        progress.print(f"{sequence.name}: {report}")
        record = replace(record, usage=asdict(report))
    record.write(record_file(out, sequence.name))
    return record


def _masks(
    sequence: datasets.Sequence, segmenter: Steps, timing: Timing, *, bad_frame: str
) -> Generator[tuple[str, np.ndarray]]:
    """(frame's name, label map (H, W)) of every frame that can be read."""
    given = {i: Given(f"mask {path}", partial(sequence.read_given, i)) for i, path in sequence.given.items()}
    with (
        sequence.open(bad_frame=bad_frame) as source,
        closing(decode_ahead(source.stream(), timing)) as frames,
    ):
        names = [f"{sequence.name}/{name}" for name in source.names]
        for index, _, labels in carry(frames, given, segmenter, names=names):
            yield source.names[index], labels


def _frame_count(sequences: Sequence[datasets.Sequence], bad_frame: str) -> int:
    count = 0
    for sequence in sequences:
        if sequence.frame_names:
            count += len(sequence.frame_names)
        else:
            with sequence.open(bad_frame=bad_frame) as source:
                count += len(source)
    return count


def _score(
    sequences: Sequence[datasets.Sequence],
    out: Path,
    *,
    protocol: str,
    seen: tuple[set[str], Path] | None,
    bad_frame: str,
    made_by: Sequence[str],
) -> scoring.Scores | None:
    """Score the masks in OUT and write what is found; None when no sequence has truth."""
    videos, notes = [], []
    for sequence in (s for s in sequences if s.labels in ("sparse", "all")):
        video, skipped = _video(sequence, out, bad_frame=bad_frame)
        videos.append(video)
        if skipped:
            notes.append(
                f"{sequence.name}: {plural(len(skipped), 'frame was', 'frames were')} skipped and not scored:"
                f" {', '.join(skipped)}"
            )
    if not videos:
        return None
    bare = [sequence.name for sequence in sequences if sequence.labels not in ("sparse", "all")]
    if bare:
        notes.append(f"not scored, for want of truth after the given masks: {', '.join(bare)}")
    if len(made_by) > 1:
        notes.append(
            f"the masks were made by different code, commits {', '.join(made_by)}; use another --out to have"
            " them of one"
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
