"""The page and the data behind it."""

from __future__ import annotations

import json
import shutil

import pytest

from mamp.cli import main
from mamp.core.errors import UserError
from mamp.report import page, write_report
from mamp.report.runs import read_runs

pytest.importorskip("jinja2", reason="needs jinja2, of the extra report")


def test_differences_are_to_the_first_run(world):
    runs, _ = read_runs([world.steady, world.drifting])
    figures = {name: (values, differences) for name, values, differences in page.list_figures(runs)}
    values, differences = figures["J-Mean"]
    assert values[0] == 1.0 and differences == [0.0, values[1] - 1.0]
    assert page.list_columns(runs) == [
        ("steady", ["J&F", "J", "F"]),
        ("drifting", ["J&F", "J", "F", "±"]),
    ]
    (key, cells), *_ = page.list_rows(runs)
    assert key == ("ant", "1") and cells[-1] == (cells[3][0] - 1.0, True) and len(cells) == 7


def test_one_run_has_all_figures_and_no_differences(world):
    runs, _ = read_runs([world.drifting])
    assert [name for name, *_ in page.list_figures(runs)] == list(page.FIGURES)
    assert all(len(cells) == 7 for _, cells in page.list_rows(runs))


def test_settings_that_differ_are_marked(world):
    runs, _ = read_runs([world.steady, world.drifting])
    settings = page.list_settings(runs)
    assert {name for name, _, differs in settings if differs} == {"weights"}
    assert "device memory" not in [name for name, *_ in settings]  # none of them tells it


def test_settings_keep_their_order_where_a_run_lacks_one(world, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "run.json").write_text(json.dumps({"baseline": "copy", "threads": 3, "sizes": 7}))
    settings = page.list_settings(read_runs([bare, world.steady])[0])
    assert settings[:3] == [
        ("data", ["–", "davis2017 val"], True),
        ("protocol", ["–", "davis2017"], True),
        ("method", ["copy", "mamp"], True),
    ]


def test_one_file_holds_films_pictures_and_curves(world, tmp_path):
    made = write_report([world.drifting, world.train], tmp_path / "p.html", root=world.data, quiet=True)
    text = made[0].read_text()
    assert made == [tmp_path / "p.html"] and sorted(p.name for p in tmp_path.iterdir()) == ["p.html"]
    assert text.count("data:video/mp4") == 4  # truth and one run, of two sequences
    assert text.count('<img loading="lazy" alt="ant') == 2 and text.count('alt="preview, step') == 2
    assert text.count("<polyline") == 3 * 2 + 5
    assert "http:" not in text and "https:" not in text


def test_without_a_root_there_are_curves_but_no_pictures_and_it_says_so(world, tmp_path):
    write_report([world.drifting], tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert (
        "There are no films and pictures" in text
        and "data:video" not in text
        and text.count("<polyline") == 6
    )


def test_many_films_lie_beside_the_page_and_give_way_to_those_of_the_next(world, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "EMBEDDED", 100)
    for runs in ([world.steady, world.drifting], [world.drifting]):
        made = write_report(runs, tmp_path / "p.html", root=world.data, quiet=True)
        assert made == [tmp_path / "p.html", tmp_path / "p_files"]
        films = sorted(path.name for path in (tmp_path / "p_files").iterdir())
        assert len(films) == 2 * (1 + len(runs))
        assert all(f'data-source="p_files/{film}"' in made[0].read_text() for film in films)
    monkeypatch.undo()
    write_report([world.drifting], tmp_path / "p.html", root=world.data, quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]


def test_a_folder_of_somebody_elses_is_left_alone(world, tmp_path):
    (tmp_path / "p_files").mkdir()
    (tmp_path / "p_files" / "thesis.txt").touch()
    with pytest.raises(UserError, match="thesis.txt"):
        write_report([world.train], tmp_path / "p.html")
    assert (tmp_path / "p_files" / "thesis.txt").exists() and not (tmp_path / "p.html").exists()


def test_masks_without_scores_are_shown(world, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(world.drifting / "masks", bare / "masks")
    shutil.copy(world.drifting / "run.json", bare)
    write_report([bare], tmp_path / "p.html", root=world.data, quiet=True)
    text = (tmp_path / "p.html").read_text()
    assert "bare has no scores" in text and text.count("data:video/mp4") == 4


def test_names_are_no_markup(world, tmp_path):
    odd = tmp_path / "<b>odd & out"
    shutil.copytree(world.train, odd)
    write_report([odd], tmp_path / "p.html")
    assert "<b>odd" not in (tmp_path / "p.html").read_text()


def test_runs_of_different_data_have_no_common_films(world, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(world.drifting, other)
    (other / "run.json").write_text(json.dumps({"dataset": "davis2017", "split": "tune"}))
    with pytest.raises(UserError, match="davis2017 tune, davis2017 val.*one by one"):
        write_report([world.steady, other], tmp_path / "p.html", root=world.data, quiet=True)


def test_the_command_says_what_it_wrote(world, tmp_path, capsys):
    assert main(["report", str(world.train), "--out", str(tmp_path / "p.html")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'p.html'}\n"
    assert main(["report", str(world.train), "--out", str(tmp_path / "p.pdf")]) == 2
    assert "not an .html" in capsys.readouterr().err
