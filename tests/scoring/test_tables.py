"""Scores as files and text."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from small_masks import bar, square, write

from mamp.core.errors import UserError
from mamp.scoring import (
    ObjectScores,
    Scores,
    format_table,
    run_score,
    write_csv,
    write_json,
    write_official_csv,
)


def values(*numbers: float) -> ObjectScores:
    names = tuple(f"{t:05d}" for t in range(1, len(numbers) + 1))
    return ObjectScores(names, np.array(numbers), np.array(numbers) / 2)


SCORES = Scores(
    "davis2017", {"swan": {1: values(1, 0.6)}, "bears": {1: values(0.2, 0.28), 2: values()}}, split="val"
)


def test_scores_json_has_the_six_figures_of_everything_unrounded(tmp_path: Path) -> None:
    write_json(SCORES, tmp_path / "new" / "scores.json")
    found = json.loads((tmp_path / "new" / "scores.json").read_text())
    six = ["J-Mean", "J-Recall", "J-Decay", "F-Mean", "F-Recall", "F-Decay"]
    assert list(found) == ["protocol", "J&F-Mean", *six, "sequences"]
    assert found["sequences"]["swan"] == {"1": dict(zip(six, [0.8, 1, 0.4, 0.4, 0, 0.2], strict=True))}
    assert found["sequences"]["bears"]["2"] == dict.fromkeys(six)
    assert found["J-Mean"] == pytest.approx((0.8 + 0.24) / 2)  # the object without frames is in no mean


def test_scores_csv_has_a_line_an_object_and_the_mean(tmp_path: Path) -> None:
    write_csv(SCORES, tmp_path / "scores.csv")
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [(row["Sequence"], row["Object"]) for row in rows] == [
        ("swan", "1"),
        ("bears", "1"),
        ("bears", "2"),
        ("mean", ""),
    ]
    assert float(rows[0]["J-Mean"]) == 0.8 and rows[2]["J-Mean"] == ""


def test_the_official_files_are_named_after_the_set_and_have_three_digits(tmp_path: Path) -> None:
    write_official_csv(SCORES, tmp_path)
    assert (tmp_path / "per-sequence_results-val.csv").read_bytes() == (
        b"Sequence,J-Mean,F-Mean\nswan_1,0.800,0.400\nbears_1,0.240,0.120\nbears_2,,\n"
    )
    assert (tmp_path / "global_results-val.csv").read_bytes() == (
        b"J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay\n0.390,0.520,0.500,0.160,0.260,0.000,0.080\n"
    )


def test_long_videos_has_its_own_names(tmp_path: Path) -> None:
    write_official_csv(Scores("longvideos", {"rat": {1: values(0.5)}}), tmp_path)
    assert (
        tmp_path / "per-sequence_results.csv"
    ).read_text() == "Sequence,J-Mean,NF-Mean\nrat_1,0.500,0.250\n"
    header = (tmp_path / "global_results.csv").read_text().split("\n")[0]
    assert header == "J&NF-Mean,J-Mean,J-Recall,J-Decay,NF-Mean,NF-Recall,NF-Decay"


def test_an_official_decay_that_is_undefined_spreads_to_the_mean() -> None:
    long = values(*np.linspace(1, 0, 300))
    sequences = {"long": {1: long}, "short": {1: values(1, 1)}}
    assert math.isnan(Scores("davis2017", sequences, decay="official").means()["J-Decay"])
    assert not math.isnan(Scores("davis2017", sequences).means()["J-Decay"])


def test_the_table_ends_with_the_figure_people_quote() -> None:
    lines = format_table(SCORES).split("\n")
    assert lines[-1] == "davis2017: J&F-Mean 0.390 (objects: 3, sequences: 2)"
    assert lines[1].split() == ["swan", "1", "0.800", "1.000", "0.400", "0.400", "0.000", "0.200"]
    assert lines[3].split() == ["bears", "2", *["-"] * 6]


def test_the_command_scores_and_writes_all_that_is_asked_for(tmp_path: Path) -> None:
    both = bar(2, onto=square(1))
    truth = write(tmp_path / "truth" / "a", [both] * 4).parent
    out = write(tmp_path / "out" / "a", [both] * 4).parent
    files = {"json": tmp_path / "s.json", "csv": tmp_path / "s.csv", "official_csv": tmp_path / "official"}
    text = run_score(truth, out, processes=1, **files)
    assert "note: the protocol is davis2017" in text and "J&F-Mean 1.000 (objects: 2, sequences: 1)" in text
    assert json.loads(files["json"].read_text())["J&F-Mean"] == 1
    assert files["csv"].read_text().startswith("Sequence,Object,")
    assert (files["official_csv"] / "global_results-val.csv").is_file()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file where a folder should be; choose another folder"):
        write_json(SCORES, tmp_path / "file" / "scores.json")
