"""Nothing of a root is lost in silence: what is not taken is counted and named, with the reason."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from layouts import numbers, write_frames, write_masks, write_text, write_video

from mamp.cli import main
from mamp.config import DataConfig, Root
from mamp.config.pack import PackConfig
from mamp.datasets.sequences import training_sequences
from mamp.datasets.untaken import lines, untaken_of
from mamp.loading.census import survey
from mamp.tools.pack import pack


def names_of(root: Path) -> dict[str, str]:
    """Name -> reason of what is not taken."""
    videos = training_sequences([Root(path=root)])
    found = untaken_of(Root(path=root), [video.source for video in videos])
    return {str(one.path.relative_to(root)): one.why for one in found}


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """root/cam1/day2/*.jpg and root/cam2/*.jpg."""
    write_frames(tmp_path / "root/cam1/day2", numbers(3))
    write_frames(tmp_path / "root/cam2", numbers(3))
    return tmp_path / "root"


def test_folders_nested_unevenly_are_named_by_check_train_and_pack(uneven: Path, capsys):
    said = "cam1: 1 video in it, deeper than the others; give it as a root of its own"
    assert main(["data", "check", str(uneven), "--quiet"]) == 2
    out = capsys.readouterr().out
    assert "frames and video that are not taken (1):" in out and said in out
    _, census = survey(DataConfig(root=[str(uneven)]))
    assert [said in line for line in census.untaken] == [False, True]
    pack(Root(path=uneven), uneven.parent / "packed", PackConfig(size=32), quiet=True)
    assert said in capsys.readouterr().err


def test_each_thing_has_its_reason(uneven: Path):
    write_frames(uneven / "cam2/inner", numbers(2))
    write_video(uneven / "cam2/film.mp4")
    (uneven / "cam2/00001.raw").touch()
    (uneven / "stray.png").touch()
    (uneven / "empty").mkdir()
    write_text(uneven / "notes/a.bin", "x")
    (uneven / "gone").symlink_to(uneven / "nothing")
    (uneven / ".hidden").mkdir()
    (uneven / "README.md").touch()
    write_masks(uneven / "Annotations/cam2", {"00000": [1]})
    found = names_of(uneven)
    assert {name: why.split(";")[0] for name, why in found.items()} == {
        "cam1": "1 video in it, deeper than the others",
        "cam2/inner": "1 video in it, deeper than the others",
        "cam2/film.mp4": "a video file beside what is taken",
        "stray.png": "an image beside the videos",
        "cam2/00001.raw": "neither image nor video file",
        "empty": "an empty folder",
        "notes": "a folder without frames or video",
        "gone": "a link to nothing",
        ".hidden": "hidden",
    }
    assert list(found)[:4] == ["cam1", "cam2/film.mp4", "cam2/inner", "stray.png"], (
        "what holds video is first"
    )


def test_data_sets_as_their_authors_pack_them_lose_nothing(davis2017: Path, youtube: Path):
    assert names_of(davis2017) == {}
    write_frames(youtube / "train_all_frames/JPEGImages/aa", numbers(11))
    assert not any("root of its own" in why for why in names_of(youtube).values())
    write_frames(youtube / "more/bb", numbers(3))
    assert "1 video in it" in names_of(youtube)["more"]


def test_ten_are_named_and_the_others_counted(tmp_path: Path):
    write_frames(tmp_path / "v", numbers(2))
    for number in range(14):
        write_frames(tmp_path / f"deep{number}/inside", numbers(1))
    videos = training_sequences([Root(path=tmp_path)])
    told = lines(tmp_path, untaken_of(Root(path=tmp_path), [video.source for video in videos]))
    assert told[0].endswith("14 things are not taken:") and told[-1] == "  and 4 more" and len(told) == 12


@pytest.mark.parametrize("seed", range(200))
def test_of_any_tree_every_folder_of_frames_is_taken_or_named(tmp_path: Path, seed: int):
    rng = Random(seed)
    places = {"v"}
    for _ in range(rng.randrange(1, 8)):
        depth = rng.choice((1, 1, 2, 3, 4))
        places.add(
            "/".join(rng.choice(("a", "b", "cam 1", "x.y", "é", "480p", "train")) for _ in range(depth))
        )
    for place in places:
        write_frames(tmp_path / place, ["00000"])
    videos = training_sequences([Root(path=tmp_path)])
    taken = {video.source for video in videos}
    named = [one.path for one in untaken_of(Root(path=tmp_path), taken)]
    for place in places:
        folder = tmp_path / place
        assert folder in taken or any(path in (folder, *folder.parents) for path in named), place
