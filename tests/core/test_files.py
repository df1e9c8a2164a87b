"""Files that are whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mamp.core.errors import UserError
from mamp.core.files import Locks, make_folder, remove_leftovers, whole, write_json


def test_a_file_appears_when_its_block_ends_well(tmp_path: Path) -> None:
    with whole(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "new"


def test_the_old_file_stays_when_the_block_fails(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_a_file_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent/a.json cannot be written \(No such file"):
        write_json(tmp_path / "absent" / "a.json", {})


def test_numbers_keep_all_their_digits_and_nan_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"third": 1 / 3, "path": tmp_path})
    assert json.loads((tmp_path / "a.json").read_text()) == {"third": 1 / 3, "path": str(tmp_path)}
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", float("nan"))
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file where a folder should be; choose another folder"):
        make_folder(tmp_path / "file" / "inner")


def test_only_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for name in (".00000.png.123.partial", ".hidden", "mine.partial", ".mine.partial"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")
    assert sorted(os.listdir(tmp_path)) == [".hidden", ".mine.partial", "mine.partial"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs record locks")
def test_a_lock_is_held_against_other_processes_until_it_is_dropped_or_they_end(tmp_path):
    code = (
        "import sys; from pathlib import Path; from mamp.core.files import Locks\nwith"
        " Locks(Path(sys.argv[1])) as locks: print(locks.take(3), locks.take(4))"
    )
    ask = [sys.executable, "-c", code, str(tmp_path / "lock")]

    def others() -> str:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()

    with Locks(tmp_path / "lock") as locks:
        assert locks.take(3) and locks.take(3)
        assert others() == "False True"
        locks.drop(3)
        assert others() == "True True"
        locks.wait(4)
        assert others() == "True False"
