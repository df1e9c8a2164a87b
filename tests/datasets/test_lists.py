"""Lists as other machines write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mamp.cli import main
from mamp.core.errors import UserError
from mamp.datasets.lists import read_list


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "line",
    [
        "{name}",
        "{name}/",
        "./{name}",
        "/home/somebody/DAVIS/JPEGImages/480p/{name}",
        "C:\\data\\DAVIS\\JPEGImages\\480p\\{name}",
        "C:/DAVIS/JPEGImages/{name}",
    ],
)
def test_names_and_paths_of_other_machines_are_read(tmp_path: Path, line: str, end: str, encoding: str):
    text = "".join(line.format(name=name) + end for name in ("ant", "bee"))
    (tmp_path / "val.txt").write_bytes(text.encode(encoding))
    assert read_list(tmp_path / "val.txt") == {"ant": (), "bee": ()}


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_frames_and_masks_are_read_with_either_slash_and_once(tmp_path: Path, slash: str):
    rows = [f"/JPEGImages/480p/ant/{t:05d}.jpg /Annotations/480p/ant/{t:05d}.png\n" for t in (0, 1, 1)]
    (tmp_path / "val.txt").write_text("".join(rows).replace("/", slash))
    assert read_list(tmp_path / "val.txt") == {"ant": ("00000", "00001")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"/home/somebody/videos/ant\n", "line 1 has /home/somebody/videos/ant, a path of some machine"),
        (b"D:\\videos\\ant\n", "a path of some machine"),
        (b"../ant\n", "not the name of a folder"),
        ("ant\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        (b"caf\xe9\n", "no UTF-8 text from byte 3"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_cause(tmp_path: Path, content: bytes, said: str):
    (tmp_path / "val.txt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_list(tmp_path / "val.txt")
    assert said in str(caught.value)


def test_the_unsupervised_task_is_recognised_and_not_served(davis2017: Path, capsys):
    (davis2017 / "Annotations").rename(davis2017 / "Annotations_unsupervised")
    out = str(davis2017.parent / "out")
    for words in (
        ["evaluate", "davis2017", str(davis2017), "--baseline", "copy", "--out", out],
        ["score", str(davis2017), str(davis2017 / "JPEGImages")],
        ["score", str(davis2017 / "Annotations_unsupervised" / "480p"), str(davis2017 / "JPEGImages")],
    ):
        assert main(words) == 2
        assert (
            "unsupervised task, where no first mask is given; that task is not served"
            in capsys.readouterr().err
        )
    main(["data", "check", str(davis2017), "--quiet"])
    assert "unsupervised task, which is not served" in capsys.readouterr().out
