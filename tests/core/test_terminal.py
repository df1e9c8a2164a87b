"""Names that would steer a terminal are shown, not obeyed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mamp.cli import main
from mamp.core.errors import UserError, first_ten
from mamp.core.terminal import printable, short


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 😀\n  \t", "plain é 😀\n  \t"),
        ("\x1b[31mred\x07\x7f", "\\x1b[31mred\\x07\\x7f"),
        ("a\rb\x9b", "a\\x0db\\x9b"),
        ("\u202eright", "\\u202eright"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
    ],
)
def test_control_characters_and_broken_bytes_are_escapes(text, shown):
    assert printable(text) == shown
    assert str(UserError(text)) == shown


def test_a_name_in_an_error_makes_no_line_but_a_list_does():
    assert (
        str(UserError("new\nline is bad:\n  one\n  two\nthree")) == "new\\nline is bad:\n  one\n  two\\nthree"
    )
    assert first_ten(["a\nb", "c\td"]) == "a\\nb, c\\td"


def test_a_long_value_is_shown_in_short():
    deep: list = []
    for _ in range(5000):
        deep = [deep, deep]
    assert len(short(deep)) < 2000 and len(short("x" * 10_000)) < 100


def test_names_on_the_screen_cannot_steer_it(tmp_path: Path, capsys, write_clip):
    write_clip(tmp_path, "\x1b[31mred", seed=0, frames=2, size=(24, 32))
    (tmp_path / "Annotations" / "\x1b[31mred" / "00001.png").write_bytes(b"x")
    assert main(["data", "check", str(tmp_path)]) == 2
    told = "".join(capsys.readouterr())
    assert "\\x1b[31mred" in told and "\x1b" not in told
    if os.name == "posix" and os.sys.platform == "linux":
        (tmp_path / "JPEGImages" / os.fsdecode(b"caf\xe9")).mkdir()
        assert main(["data", "check", str(tmp_path)]) == 2
        assert "caf\\xe9" in capsys.readouterr().out


def test_a_name_that_no_file_can_have_is_a_sentence(tmp_path: Path, capsys):
    assert main(["data", "check", str(tmp_path / ("x" * 300))]) == 2
    assert "File name too long; give a name of at most 255 bytes" in capsys.readouterr().err
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert main(["segment", str(tmp_path / "loop"), "--mask", "m.png", "--out", str(tmp_path / "out")]) == 2
