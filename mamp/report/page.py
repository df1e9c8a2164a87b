"""Runs -> one HTML file that opens from disk and asks nothing of the network."""

from __future__ import annotations

import base64
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from mamp import __version__
from mamp.core.errors import UserError
from mamp.core.files import make_folder, refuse_target, remove_abandoned, write_text
from mamp.report.charts import line_chart
from mamp.report.pictures import Shown, sequences_of, show
from mamp.report.runs import FIGURES, Evaluation, ObjectKey, Training, read_runs, worst_frames

EMBEDDED = 16_000_000  # bytes of film that go into the page; more lie in a folder beside it
WORST = 12  # pictures a run
SUMMARY = ("J-Seen", "F-Seen", "J-Unseen", "F-Unseen")  # of YouTube-VOS, after FIGURES


def write_report(
    runs: Sequence[Path], out: Path, *, root: Path | None = None, quiet: bool = False
) -> list[Path]:
    """Write OUT, an HTML page of evaluation folders and training runs; the paths that were written.

    root: the root of the data set, for films and pictures; without it the page has none and says so. Films go
    into the page, or into OUT_files beside it where they are larger than EMBEDDED together. Differences are
    to the first run.

    Raises UserError for folders that are no runs, a data set that does not fit them, and a page that cannot
    be written.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{out} is not an .html; name it so")
    template = _template()
    evaluations, trainings = read_runs(runs)
    refuse_target(out)
    make_folder(out.parent)
    remove_abandoned(out, out.with_name(f"{out.stem}_files"))
    beside = out.with_name(f"{out.stem}_files")
    with _scratch(out) as scratch:
        shown: dict[str, Shown] = {}
        if root is not None and evaluations:
            wanted: dict[tuple[str, str], list[str]] = {}
            for e in evaluations:
                for _, (sequence, _), frame, *_ in worst_frames(e, count=WORST):
                    wanted.setdefault((e.name, sequence), []).append(frame)
            shown = show(sequences_of(evaluations, root), evaluations, wanted, scratch, quiet=quiet)
        films = [film for each in shown.values() for film in each.films.values()]
        embed = sum(film.stat().st_size for film in films) <= EMBEDDED
        page = template.render(
            version=__version__,
            evaluations=evaluations,
            trainings=[_training(t) for t in trainings],
            figures=list_figures(evaluations),
            settings=list_settings(evaluations),
            rows=list_rows(evaluations),
            columns=list_columns(evaluations),
            sequences=list(_sequences(evaluations, shown, None if embed else beside.name)),
            worst=[(e.name, list(_worst(e, shown))) for e in evaluations if e.frames],
            notes=list(_notes(evaluations, root)),
        )
        _replace(beside, scratch if films and not embed else None)
    write_text(out, page)
    return [out, *([beside] if films and not embed else [])]


def _template() -> Any:
    try:
        import jinja2
    except ImportError:
        raise UserError("mamp report needs jinja2; pip install jinja2") from None
    loader = jinja2.PackageLoader("mamp.report", "")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["figure"] = _figure
    environment.filters["signed"] = lambda value: "–" if value is None else f"{100 * value:+.1f}"
    environment.filters["picture"] = lambda data: _uri(data, "image/jpeg")
    return environment.get_template("page.html")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


# ---------------------------------------------------------------- figures and settings


def list_figures(
    evaluations: Sequence[Evaluation],
) -> list[tuple[str, list[float | None], list[float | None]]]:
    """List (figure, value in each run, difference to the first run) of the whole set."""
    names = [n for n in (*FIGURES, *SUMMARY) if any(e.means.get(n) is not None for e in evaluations)]
    return [(n, v := [e.means.get(n) for e in evaluations], [_less(x, v[0]) for x in v]) for n in names]


def list_settings(evaluations: Sequence[Evaluation]) -> list[tuple[str, list[str], bool]]:
    """List (setting, value in each run, whether the runs differ)."""
    settings = [dict(e.settings()) for e in evaluations]
    table = [(key, [each[key] or "–" for each in settings]) for key in (settings[0] if settings else ())]
    return [(key, values, len(set(values)) > 1) for key, values in table if set(values) != {"–"}]


def list_columns(evaluations: Sequence[Evaluation]) -> list[tuple[str, list[str]]]:
    """List (run, its columns in the table of objects)."""
    scored = [e for e in evaluations if e.rows]
    if len(scored) == 1:
        return [(scored[0].name, list(FIGURES))]
    return [(e.name, ["J&F", "J", "F", *(["±"] if number else [])]) for number, e in enumerate(scored)]


def list_rows(
    evaluations: Sequence[Evaluation],
) -> list[tuple[ObjectKey, list[tuple[float | None, bool]]]]:
    """List (sequence and object, (value, whether it is a difference) of each column of `list_columns`)."""
    scored = [e for e in evaluations if e.rows]
    rows = []
    for key in dict.fromkeys(key for e in scored for key in e.rows):
        cells: list[tuple[float | None, bool]] = []
        for number, e in enumerate(scored):
            row: Mapping[str, float | None] = e.rows.get(key, {})
            names = FIGURES if len(scored) == 1 else ("J&F-Mean", "J-Mean", "F-Mean")
            cells += [(row.get(name), False) for name in names]
            if number:
                cells.append((_less(row.get("J&F-Mean"), scored[0].rows.get(key, {}).get("J&F-Mean")), True))
        rows.append((key, cells))
    return rows


def _less(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _notes(evaluations: Sequence[Evaluation], root: Path | None) -> Iterator[str]:
    for e in evaluations:
        if not e.rows:
            yield f"{e.name} has no scores: its split has no truth here, or the evaluation is not finished."
        elif not e.frames:
            yield (
                f"{e.name} has no frames.json, so it has no curves; start the same mamp evaluate again,"
                " finished masks stay."
            )
    if evaluations and root is None:
        yield "There are no films and pictures: give the data set's root, mamp report RUN --root ROOT."
    if len({str(e.info.get("protocol")) for e in evaluations}) > 1:
        yield "The runs were scored by different protocols; their figures cannot be compared."


# ---------------------------------------------------------------- sequences


def _sequences(
    evaluations: Sequence[Evaluation], shown: Mapping[str, Shown], beside: str | None
) -> Iterator[dict[str, Any]]:
    names = dict.fromkeys([*shown, *(sequence for e in evaluations for sequence, _ in e.frames)])
    for name in names:
        pictures = shown.get(name)
        films = pictures.films.items() if pictures else ()
        objects = dict.fromkeys(n for e in evaluations for sequence, n in e.frames if sequence == name)
        yield {
            "name": name,
            "views": [(view, _source(path, beside)) for view, path in films],
            "poster": pictures.poster if pictures else b"",
            "charts": [chart for n in objects for chart in _charts(evaluations, (name, n), pictures)],
        }


def _charts(
    evaluations: Sequence[Evaluation], key: ObjectKey, shown: Shown | None
) -> Iterator[tuple[str, str]]:
    """(caption, SVG) of J and of F over the frames, a line for each run."""
    place = {name: float(i) for i, name in enumerate(shown.names)} if shown else None
    x_range = (0.0, len(shown.names) - 1.0) if shown else None
    for letter in ("J", "F"):
        lines = {}
        for e in evaluations:
            scores = e.frames.get(key)
            if scores:
                xs = [_position(name, i, place) for i, name in enumerate(scores.frames)]
                lines[e.name] = (xs, scores.j if letter == "J" else scores.f)
        caption = f"{letter} of object {key[1]}"
        yield (
            caption,
            line_chart(lines, title=f"{caption} of {key[0]} over frames", x_range=x_range, unit=True),
        )


def _position(name: str, index: int, place: Mapping[str, float] | None) -> float:
    """Where a frame stands in its video; without the video its number, or its place among those scored."""
    if place is not None:
        return place.get(name, float(index))
    return float(name) if name.isdecimal() else float(index)


def _worst(evaluation: Evaluation, shown: Mapping[str, Shown]) -> Iterator[dict[str, Any]]:
    for value, (sequence, number), frame, j, f in worst_frames(evaluation, count=WORST):
        pictures = shown[sequence].pictures if sequence in shown else {}
        yield {
            "sequence": sequence,
            "object": number,
            "frame": frame,
            "value": value,
            "j": j,
            "f": f,
            "picture": pictures.get((evaluation.name, frame), b""),
        }


def _training(training: Training) -> dict[str, Any]:
    charts = [
        (name, line_chart({name: line}, title=f"{name} over steps")) for name, line in training.curves.items()
    ]
    sequences = [
        (name, line_chart(lines, title=f"{name}: J and F over steps", unit=True))
        for name, lines in training.sequences.items()
    ]
    previews = [(caption, _preview(path)) for caption, path in training.previews]
    return {"run": training, "charts": charts, "sequences": sequences, "previews": previews}


# ---------------------------------------------------------------- files


def _preview(path: Path) -> bytes:
    """The picture as JPEG, at most 960 pixels wide."""
    data = io.BytesIO()
    try:
        with Image.open(path) as image:
            image.thumbnail((960, 4096))
            image.convert("RGB").save(data, format="JPEG", quality=82)
    except Exception:  # Pillow's readers raise whatever they trip over in a damaged file
        return b""
    return data.getvalue()


def _source(film: Path, beside: str | None) -> str:
    return _uri(film.read_bytes(), "video/mp4") if beside is None else f"{quote(beside)}/{film.name}"


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder beside the page for films in the making."""
    folder = out.with_name(f".{out.stem}_files.{os.getpid()}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        make_folder(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(beside: Path, films: Path | None) -> None:
    """Films of an earlier page give way to those of this one, if it has any outside of it."""
    if beside.is_symlink() or (beside.exists() and not beside.is_dir()):
        raise UserError(f"{beside} is no folder, where the films of the page lie; give another --out")
    if beside.is_dir():
        strangers = [p.name for p in beside.iterdir() if p.suffix != ".mp4"]
        if strangers:
            raise UserError(f"{beside} holds {strangers[0]}, which is not of a report; give another --out")
        shutil.rmtree(beside)
    if films is not None:
        os.replace(films, beside)
