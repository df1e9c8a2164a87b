"""Score a folder of masks: check what is there, list everything that is wrong, then score."""

from __future__ import annotations

import multiprocessing
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from mamp.core.errors import UserError, first_ten, plural
from mamp.core.processes import begin_helper
from mamp.datasets.lists import is_holdout
from mamp.scoring.metrics import Decay, labels_in
from mamp.scoring.protocols import Protocol, SequenceScorer, get_protocol, scored_frames, size, unknown_label
from mamp.scoring.scores import ObjectScores, Scores
from mamp.scoring.truth import Video, in_place_of, open_truth, png_files, seen_categories
from mamp.video.folders import entries, natural_key
from mamp.video.masks import read_mask

MOST_LINES = 60  # of what is wrong that are written out
Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def score(
    truth: Path | str,
    predictions: Path | str,
    *,
    protocol: str | None = None,
    split: str | None = None,
    seen: Path | str | None = None,
    processes: int | None = None,
    decay: Decay = "exact",
) -> Scores:
    """Score PREDICTIONS/SEQUENCE/FRAME.png against the truth.

    truth: a folder of mask folders, or a data set's root. protocol: a name in PROTOCOLS, by default guessed.
    split: a list in ImageSets, a folder of YouTube-VOS or a hold-out's file. seen: a file of category names,
    or a meta.json, of the training set, by default train/meta.json. processes: sequences are shared among so
    many, this one among them; by default it is alone. Videos that have no truth but what is given are checked
    and not scored.

    Raises UserError that lists every missing sequence and frame, unreadable mask, wrong size and unknown
    label.
    """
    found = open_truth(truth, protocol=protocol, split=split)
    notes = [f"the protocol is {found.protocol}: {found.why}"] if found.why else []
    scores = score_videos(
        found.videos,
        predictions,
        protocol=found.protocol,
        processes=processes,
        decay=decay,
        split=found.split,
    )
    scores = replace(scores, notes=(*notes, *scores.notes))
    if found.protocol == "youtubevos":
        held = found.split is not None and is_holdout(found.split)
        file = seen or (found.split if held else None)
        return split_seen(
            scores, found.videos, seen_categories(found.home, None if file is None else Path(file))
        )
    if seen is not None:
        raise UserError(
            f"seen categories are for the protocol youtubevos, not for {found.protocol}; leave --seen out"
        )
    return scores


def score_videos(
    videos: Sequence[Video],
    predictions: Path | str,
    *,
    protocol: str,
    processes: int | None = None,
    decay: Decay = "exact",
    split: str | None = None,
) -> Scores:
    """As `score`, of videos whose truth is known."""
    if not videos:
        raise UserError("there is no sequence to score; choose another --split, or bring the masks")
    rules = get_protocol(protocol)
    folder = mask_folders(Path(predictions), [video.name for video in videos])
    jobs = [(video, _folder_of(video, folder, videos), rules) for video in videos]
    outcomes = _share(_one, jobs, processes=processes or 1, weights=[len(video.masks) for video in videos])
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    if problems:
        listed = [
            *_most(problems),
            *(f"besides, {words}" for words in (*_surplus(videos, folder), *_strays(videos, folder))),
        ]
        raise UserError(
            f"{folder} does not fit the truth in {plural(len(problems), 'place')}; "
            "correct what is listed and score again:\n" + "\n".join(f"  {line}" for line in listed)
        )
    sequences = {v.name: o.scores for v, o in zip(videos, outcomes, strict=True) if o.scores is not None}
    notes = tuple(_notes(videos, outcomes, folder))
    return Scores(protocol, sequences, decay=decay, split=split, notes=notes)


def _most(lines: list[str]) -> list[str]:
    """The first lines of many, and how many more there are."""
    more = [f"and {len(lines) - MOST_LINES:,} more"] if len(lines) > MOST_LINES else []
    return [*lines[:MOST_LINES], *more]


@dataclass(frozen=True)
class _Outcome:
    """Of one video: scores (None if only checked), what is wrong, labels of the truth that do not count."""

    scores: dict[int, ObjectScores] | None
    problems: list[str]
    unscored: list[int]


def _one(job: tuple[Video, Path, Protocol]) -> _Outcome:
    video, folder, protocol = job
    if not folder.is_dir():
        return _Outcome(None, [f"{video.name}: the sequence is missing"], [])
    if not video.has_truth(protocol.name):
        return _Outcome(None, _check(video, folder, protocol), [])
    return _score(video, folder, protocol)


def _score(video: Video, folder: Path, protocol: Protocol) -> _Outcome:
    names = list(video.masks)
    scorer = SequenceScorer(protocol, first=_first_indices(video, names) or None)
    reader = _Reader(folder)
    for index, name in scored_frames(names, protocol):
        truth = reader.read(video.masks[name], void=protocol.void)
        result = reader.result(name) if index > 0 else None
        if truth is None and index == 0:
            return _Outcome(None, [f"{video.name}: {problem}" for problem in reader.problems()], [])
        if truth is not None:
            scorer.add(index, name, truth, result)
    scores = scorer.finish()
    problems = [*reader.problems(), *scorer.problems]
    return _Outcome(scores, [f"{video.name}: {problem}" for problem in problems], sorted(scorer.unscored))


def _check(video: Video, folder: Path, protocol: Protocol) -> list[str]:
    """What is wrong with the masks of a video whose truth is only what is given."""
    reader = _Reader(folder)
    read = [reader.read(path, void=protocol.void) for path in video.masks.values()]
    given = [protocol.truth(labels) for labels in read if labels is not None]
    known = {k for labels in given for k in labels_in(labels)} | set(video.first)
    if protocol.objects != "late":
        known = set(range(1, max(known, default=0) + 1))
    problems: list[str] = []
    strange: dict[int, list[str]] = {}
    for name in video.frames or video.masks:
        labels = reader.result(name)
        if labels is None:
            continue
        if given and labels.shape != given[0].shape:
            problems.append(f"{name} is {size(labels.shape)} but its truth {size(given[0].shape)}")
        for label in set(labels_in(protocol.result(labels))) - known:
            strange.setdefault(label, []).append(name)
    problems += [unknown_label(label, names) for label, names in sorted(strange.items())]
    return [f"{video.name}: {problem}" for problem in (*reader.problems(), *problems)]


def _first_indices(video: Video, names: Sequence[str]) -> dict[int, int]:
    """Object id -> index in `names` of the frame it is given in, or of the last truth before that."""
    order = [natural_key(name) for name in names]
    return {number: bisect_right(order, natural_key(name)) - 1 for number, name in video.first.items()}


class _Reader:
    """Reads masks of one video; what is missing or cannot be read is kept and listed at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, png_files(folder)
        self._missing: list[str] = []
        self._broken: list[str] = []

    def result(self, name: str) -> np.ndarray | None:
        """The predicted label map of a frame, or None."""
        path = self._files.get(name)
        if path is None:
            self._missing.append(name)
            return None
        return self.read(path, void=False)

    def read(self, path: Path, *, void: bool) -> np.ndarray | None:
        """The label map of a file, or None."""
        try:
            return read_mask(path, void=void)
        except UserError as error:
            self._broken.append(str(error))
            return None

    def problems(self) -> list[str]:
        """What went wrong, one clause each."""
        if not self._missing:
            return self._broken
        count = plural(len(self._missing), "frame is", "frames are")
        words = f"{count} missing: {', '.join(self._missing)}"
        return [words + in_place_of(self._missing, self._folder), *self._broken]


def mask_folders(folder: Path, names: Sequence[str]) -> Path:
    """Return the folder with a folder for each name: as given, or its masks/ or Annotations/."""
    if not folder.is_dir():
        raise UserError(
            f"predictions {folder} is not a folder; give the folder with a folder of PNGs a sequence"
        )
    places = (folder, folder / "masks", folder / "Annotations")
    return next((place for place in places if any((place / name).is_dir() for name in names)), folder)


def _folder_of(video: Video, folder: Path, videos: Sequence[Video]) -> Path:
    """Where a video's masks are: in a folder of its name; of a single video also in the folder itself."""
    named = folder / video.name
    return folder if len(videos) == 1 and not named.is_dir() and png_files(folder) else named


def _share(
    work: Callable[[Job], Outcome], jobs: Sequence[Job], *, processes: int, weights: Sequence[int]
) -> list[Outcome]:
    """`work` of every job, in order. Other processes take the heaviest first, this one the lightest."""
    processes = min(processes, len(jobs))
    if processes < 2:
        return [work(job) for job in jobs]
    order = sorted(range(len(jobs)), key=lambda i: -weights[i])
    outcomes: dict[int, Outcome] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes - 1, mp_context=context, initializer=begin_helper) as pool:
        try:
            futures = {i: pool.submit(work, jobs[i]) for i in order}
            for i in reversed(order):
                if futures[i].cancel():  # nobody has begun it
                    outcomes[i] = work(jobs[i])
            return [outcomes[i] if i in outcomes else futures[i].result() for i in range(len(jobs))]
        except BrokenExecutor:
            raise UserError(
                "a scoring process was killed, as a system does whose memory is full; score again with"
                " --processes 1"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)  # waits for what is being scored
            raise


def _notes(videos: Sequence[Video], outcomes: Sequence[_Outcome], folder: Path) -> Iterable[str]:
    """What must be said beside the figures."""
    checked = [video.name for video, outcome in zip(videos, outcomes, strict=True) if outcome.scores is None]
    if checked:
        yield (
            f"{len(checked)} of {len(videos)} sequences have no truth after what is given, so they were"
            f" checked and not scored: {', '.join(checked)}"
        )
    for video, outcome in zip(videos, outcomes, strict=True):
        if outcome.unscored:
            labels = ", ".join(map(str, outcome.unscored))
            yield f"the truth of {video.name} shows labels that this protocol does not score: {labels}"
        for number, scores in (outcome.scores or {}).items():
            if not scores.frames:
                yield (
                    f"object {number} of {video.name} has no truth after the frame it is given in and counts"
                    " in no mean"
                )
    yield from _surplus(videos, folder)
    yield from _strays(videos, folder)


def _strays(videos: Sequence[Video], folder: Path) -> Iterable[str]:
    """What is said of files in the videos' folders that are no mask of a frame."""
    found = []
    for video in videos:
        place = _folder_of(video, folder, videos)
        frames = {*video.frames, *video.masks}
        there = entries(place) if place.is_dir() else []
        found += [
            f"{video.name}/{e.name}" for e in there if e.suffix.lower() != ".png" or e.stem not in frames
        ]
    if found:
        count = plural(len(found), "file that is", "files that are")
        yield f"{folder} has {count} no mask of a frame and not scored: {first_ten(found)}"


def _surplus(videos: Sequence[Video], folder: Path) -> Iterable[str]:
    """What is said of folders of masks that no video asks for: nothing where there are none."""
    there = {entry.name for entry in folder.iterdir() if entry.is_dir() and png_files(entry)}
    extra = sorted(there - {video.name for video in videos})
    if extra:
        count = plural(len(extra), "folder that is", "folders that are")
        yield f"{folder} has {count} not in the set: {first_ten(extra)}"


def split_seen(scores: Scores, videos: Sequence[Video], categories: tuple[set[str], Path] | None) -> Scores:
    """`scores` of YouTube-VOS, split by whether an object's category is among those of the training set.

    categories: see `seen_categories`. Where they, or the category of an object, are not known, seen and
    unseen stay one mean, and a note says so.
    """
    if categories is None:
        words = "there is no train/meta.json and no --seen file, so seen and unseen are one mean"
        return replace(scores, notes=(*scores.notes, words))
    names, file = categories
    category = {(video.name, number): c for video in videos for number, c in video.categories.items()}
    objects = [(name, number) for name, numbers in scores.sequences.items() for number in numbers]
    unknown = sum(key not in category for key in objects)
    if unknown:
        words = (
            f"{unknown} of {len(objects)} objects have no category in meta.json, so seen and unseen are one"
            " mean"
        )
        return replace(scores, notes=(*scores.notes, words))
    seen = {key: category[key] in names for key in objects}
    words = f"{sum(seen.values())} of {len(objects)} objects are of the {len(names)} categories in {file}"
    return replace(scores, seen=seen, notes=(*scores.notes, words))
