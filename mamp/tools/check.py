"""`mamp data check`: what a folder is, and everything that is broken in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mamp.core.errors import UserError, plural
from mamp.core.processes import begin_helper
from mamp.core.progress import Progress
from mamp.datasets.untaken import Untaken, untaken
from mamp.datasets.untaken import lines as said_lines
from mamp.tools.examine import KINDS, Finding, Job, Level, examine
from mamp.tools.recognise import Part, recognise
from mamp.video.folders import entries
from mamp.video.frames import VIDEO_SUFFIXES
from mamp.video.packed import INDEX, UNFINISHED

MOST_SHOWN = 10  # problems of one kind that are written out
_FEW = 16  # videos that are not worth starting processes for
_STEPS = {1: "every frame", 5: "every fifth frame"}


@dataclass(frozen=True)
class Report:
    """What a check found. lines: what is there. problems: kind -> a line for each, in the order of KINDS."""

    lines: list[str]
    problems: dict[str, list[str]]

    @property
    def count(self) -> int:
        """All problems together."""
        return sum(map(len, self.problems.values()))

    def text(self, most: int = MOST_SHOWN) -> str:
        """What a person reads: at most so many problems of each kind, and how many there are."""
        lines = [*self.lines]
        for kind, found in self.problems.items():
            lines += ["", f"{KINDS[kind]} ({len(found)}):", *(f"  {line}" for line in found[:most])]
            if len(found) > most:
                lines.append(f"  and {len(found) - most} more")
        return "\n".join([*lines, "", "nothing is broken"] if not self.problems else lines)


def check(
    root: Path, *, level: Level = "normal", processes: int | None = None, quiet: bool = False
) -> Report:
    """Look through `root`: a data set as its authors pack it, or a folder of one's own video.

    level: see `examine`. processes: videos at a time, by default one for each processor, at most 8.

    Raises UserError when there is no data set to look through; what is broken in one is reported.
    """
    parts = recognise(root)
    jobs = [job for part in parts for job in part.jobs]
    with Progress(len(jobs), unit="videos", quiet=quiet) as progress:
        progress.begin(f"checking {root}")
        found = iter(list(_all(jobs, level, processes or min(8, os.cpu_count() or 1), progress)))
    lines: list[str] = []
    spare = _untaken(root, parts)
    parts[0].problems += [("untaken", one.line()) for one in spare if one.lost]
    problems: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for part in parts:
        findings = [next(found) for _ in part.jobs]
        lines += _described(part, findings)
        for kind, text in [
            *part.problems,
            *_variant(part, findings),
            *(p for f in findings for p in f.problems),
        ]:
            if text not in problems[kind]:
                problems[kind].append(text)
    lines += said_lines(root, [one for one in spare if not one.lost])
    return Report(lines, {kind: texts for kind, texts in problems.items() if texts})


def _untaken(root: Path, parts: Sequence[Part]) -> list[Untaken]:
    """What lies in the root and is no video of any part."""
    packed = (root / INDEX).is_file() or (root / UNFINISHED).is_dir()  # whose index says what there is
    known = [job.frames for part in parts for job in part.jobs]
    if packed:
        known += [entry for entry in entries(root) if entry.suffix.lower() in VIDEO_SUFFIXES]
    return untaken(root, known)


def _all(jobs: Sequence[Job], level: Level, processes: int, progress: Progress) -> Iterator[Finding]:
    """What there is in each video, in their order."""
    if processes == 1 or len(jobs) <= _FEW:
        for job in jobs:
            yield examine(job, level)
            progress.advance()
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context, initializer=begin_helper)
    try:
        waiting = [executor.submit(examine, job, level) for job in jobs]
        for job, future in zip(jobs, waiting, strict=True):
            try:
                yield future.result()
            except BrokenExecutor:
                raise UserError(
                    f"a process died at {job.frames} or near it, perhaps for want of memory; run it again"
                    " with --processes 1"
                ) from None
            progress.advance()
    finally:
        executor.shutdown(cancel_futures=True)


def _described(part: Part, findings: Sequence[Finding]) -> list[str]:
    """What a part is and has, in two lines, and what else there is to say."""
    sizes = Counter(finding.size for finding in findings if finding.size is not None)
    step = _usual_step(findings)
    words = [part.what]
    if step is not None:
        words.append(_STEPS.get(step, f"one frame in {step}"))
    if sizes:
        common = max(sizes, key=lambda size: (sizes[size], size))
        others = (
            f" and {len(sizes) - 1} other sizes" if len(sizes) > 2 else " and another size" * (len(sizes) - 1)
        )
        words.append(f"{common[0]}x{common[1]}{others}")
    counts = [plural(len(findings), "video"), plural(sum(f.frames for f in findings), "frame")]
    masks = sum(f.masks for f in findings)
    return [
        f"{part.where}: {', '.join(words)}",
        f"  {', '.join(counts)}, {plural(masks, 'mask') if masks else 'no masks'}",
        *(f"  {note}" for note in part.notes),
    ]


def _usual_step(findings: Sequence[Finding]) -> int | None:
    steps = Counter(finding.step for finding in findings if finding.step is not None)
    return max(steps, key=lambda step: (steps[step], step)) if steps else None


def _variant(part: Part, findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Whether a folder that is called all frames holds them."""
    step = _usual_step(findings)
    if not part.where.name.endswith("_all_frames") or step in (None, 1):
        return []
    return [
        ("missing", f"{part.where} is called all frames and holds {_STEPS.get(step or 0, f'one in {step}')}")
    ]
