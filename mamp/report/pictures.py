"""Films and pictures of what the runs made of each sequence, each frame decoded once."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from mamp.core.errors import UserError
from mamp.core.progress import Progress
from mamp.datasets import sequences as datasets
from mamp.report.runs import Evaluation
from mamp.video.masks import read_mask
from mamp.video.overlay import Film, blend, contour

TRUTH = "truth"
WIDTH = 480  # pixels, at most: what a page shows
MOST_FRAMES = 600  # in a film; a longer video is shown in steps
CRF = 27

Wanted = Mapping[tuple[str, str], Sequence[str]]  # run, sequence -> frames to make pictures of


@dataclass
class Shown:
    """One sequence: frame names, films by view (truth, then runs), a poster, pictures by run and frame."""

    names: list[str]
    films: dict[str, Path] = field(default_factory=dict)
    poster: bytes = b""
    pictures: dict[tuple[str, str], bytes] = field(default_factory=dict)


def sequences_of(evaluations: Sequence[Evaluation], root: Path) -> list[datasets.Sequence]:
    """Return the sequences of the evaluations.

    Raises UserError when they are not all of one data set and split.
    """
    sets = {(e.info.get("dataset"), e.info.get("split")) for e in evaluations if _says_data(e)}
    if odd := next((e for e in evaluations if not _says_data(e)), None):
        raise UserError(f"{odd.folder / 'run.json'} does not name the data set; leave --root out")
    if len(sets) > 1:
        names = ", ".join(sorted(" ".join(map(str, each)) for each in sets))
        raise UserError(
            f"the runs are of different data ({names}); report them one by one, or leave --root out"
        )
    ((name, split),) = sets
    return datasets.open_dataset(str(name), root, str(split), bad_frame="repeat")


def _says_data(evaluation: Evaluation) -> bool:
    return all(isinstance(evaluation.info.get(key), str) for key in ("dataset", "split"))


def show(
    sequences: Sequence[datasets.Sequence],
    evaluations: Sequence[Evaluation],
    wanted: Wanted,
    folder: Path,
    *,
    quiet: bool = False,
) -> dict[str, Shown]:
    """Films in `folder`, and pictures, of every sequence that a run has masks of."""
    found = {}
    with Progress(len(sequences), unit="sequences", quiet=quiet) as progress:
        for number, sequence in enumerate(sequences):
            progress.begin(sequence.name)
            runs = [e for e in evaluations if (e.folder / "masks" / sequence.name).is_dir()]
            if runs:
                pictured = {e.name: wanted.get((e.name, sequence.name), ()) for e in runs}
                found[sequence.name] = _one(sequence, runs, pictured, folder / f"{number:03d}")
            progress.advance()
    return found


def _one(
    sequence: datasets.Sequence, runs: Sequence[Evaluation], pictured: Mapping[str, Sequence[str]], stem: Path
) -> Shown:
    with sequence.open(bad_frame="repeat") as source, ExitStack() as stack:
        shown = Shown(source.names)
        step = -(-len(source) // MOST_FRAMES)
        fps = (sequence.fps or source.fps or datasets.DAVIS_FPS) / step
        views = ([TRUTH] if sequence.truth else []) + [run.name for run in runs]
        for number, view in enumerate(views):
            shown.films[view] = stem.with_name(f"{stem.name}-{number}.mp4")
        films = {
            view: stack.enter_context(Film(path, fps=fps, crf=CRF)) for view, path in shown.films.items()
        }
        middle = len(source) // 2 // step * step
        for index, full in source.stream():
            name = source.names[index]
            in_film = index % step == 0
            if not in_film and not any(name in names for names in pictured.values()):
                continue
            frame = _fit(full)
            truth = _labels(sequence.read_truth(index), frame) if index in sequence.truth else None
            if in_film and TRUTH in films:
                films[TRUTH].write(frame if truth is None else blend(frame, truth))
            for run in runs:
                path = run.folder / "masks" / sequence.name / f"{name}.png"
                masked = blend(frame, _labels(read_mask(path), frame)) if path.is_file() else frame
                if in_film:
                    films[run.name].write(masked)
                if index == middle and run is runs[-1]:
                    shown.poster = _jpeg(masked)
                if name in pictured[run.name]:
                    shown.pictures[run.name, name] = _jpeg(_with_truth(masked, truth))
    return shown


def _fit(frame: np.ndarray) -> np.ndarray:
    """The frame uint8 (H, W, 3), at most WIDTH wide."""
    height, width = frame.shape[:2]
    if width <= WIDTH:
        return frame
    size = (WIDTH, max(2, round(height * WIDTH / width)))
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))


def _labels(labels: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """A label map (H, W) brought to the frame's size."""
    height, width = frame.shape[:2]
    rows = (np.arange(height) + 0.5) * labels.shape[0] / height
    columns = (np.arange(width) + 0.5) * labels.shape[1] / width
    return labels[rows.astype(int)[:, None], columns.astype(int)]


def _with_truth(picture: np.ndarray, truth: np.ndarray | None) -> np.ndarray:
    """The picture with a white line where the truth has its borders."""
    if truth is None:
        return picture
    line = contour(np.zeros_like(picture), truth, thickness=1).any(axis=-1, keepdims=True)
    return np.where(line, np.uint8(255), picture)


def _jpeg(picture: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format="JPEG", quality=82)
    return data.getvalue()
