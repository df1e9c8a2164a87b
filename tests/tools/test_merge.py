"""Grey masks of single objects -> label maps."""

import numpy as np
import pytest
from PIL import Image

from mamp.cli import main
from mamp.core.errors import UserError
from mamp.tools.merge import merge_folders, merge_scores
from mamp.video.masks import read_mask


def write(path, *values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([values], np.uint8)).save(path)


def test_the_larger_probability_wins_and_background_is_what_is_left(tmp_path):
    write(tmp_path / "in" / "v" / "1" / "00000.png", 255, 110, 0, 140)
    write(tmp_path / "in" / "v" / "2" / "00000.png", 0, 90, 20, 150)
    merge_folders(tmp_path / "in", tmp_path / "soft", how="soft", quiet=True)
    merge_folders(tmp_path / "in", tmp_path / "hard", how="hard", quiet=True)
    assert read_mask(tmp_path / "soft" / "v" / "00000.png").tolist() == [[1, 1, 0, 2]]
    assert read_mask(tmp_path / "hard" / "v" / "00000.png").tolist() == [[1, 0, 0, 2]]


def test_an_object_without_a_file_is_not_in_the_frame(tmp_path):
    write(tmp_path / "in" / "v" / "1" / "00000.png", 255, 0)
    write(tmp_path / "in" / "v" / "1" / "00005.png", 255, 0)
    write(tmp_path / "in" / "v" / "3" / "00005.png", 0, 255)
    done = merge_folders(tmp_path / "in", tmp_path / "out", quiet=True)
    assert (done.videos, done.frames) == (1, 2)
    assert read_mask(tmp_path / "out" / "v" / "00000.png").tolist() == [[1, 0]]
    assert read_mask(tmp_path / "out" / "v" / "00005.png").tolist() == [[1, 3]]


def test_of_equals_the_first_name_in_the_alphabet_wins(tmp_path):
    for number in ("2", "10"):
        write(tmp_path / "in" / number / "00000.png", 200)
    merge_folders(tmp_path / "in", tmp_path / "out", quiet=True)
    assert read_mask(tmp_path / "out" / "00000.png").tolist() == [[10]]


def test_large_ids_stay_what_they_are():
    assert merge_scores(np.full((1, 1, 1), 255, np.uint8), [300], how="soft").tolist() == [[300]]


def test_the_command_says_what_it_made(tmp_path, capsys):
    write(tmp_path / "in" / "v" / "1" / "00000.png", 255)
    assert (
        main(["data", "merge", str(tmp_path / "in"), str(tmp_path / "out"), "--mode", "hard", "--quiet"]) == 0
    )
    assert "1 mask of 1 video" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"v/one/0.png": (1,)}, "not named by an object's id"),
        ({"v/0/0.png": (1,)}, "not named by an object's id"),
        ({"v/1/0.png": (1,), "v/2/0.png": (1, 2)}, "in one size"),
        ({"v/1/0.txt": (1,)}, "holds no masks"),
    ],
)
def test_what_cannot_be_merged_is_named(tmp_path, files, told):
    for name, values in files.items():
        path = tmp_path / "in" / name
        if path.suffix == ".png":
            write(path, *values)
        else:
            path.parent.mkdir(parents=True)
            path.write_text("no mask")
    with pytest.raises(UserError, match=told):
        merge_folders(tmp_path / "in", tmp_path / "out", quiet=True)


def test_a_damaged_or_coloured_mask_is_named(tmp_path):
    write(tmp_path / "in" / "v" / "1" / "0.png", 1)
    Image.new("RGB", (2, 2)).save(tmp_path / "in" / "v" / "1" / "0.png")
    with pytest.raises(UserError, match="pixel format RGB"):
        merge_folders(tmp_path / "in", tmp_path / "out", quiet=True)
    (tmp_path / "in" / "v" / "1" / "0.png").write_bytes(b"none")
    with pytest.raises(UserError, match=r"0\.png is damaged or no image"):
        merge_folders(tmp_path / "in", tmp_path / "out", quiet=True)
