"""Files of others: encodings, JSON and YAML within bounds, no pipes."""

from __future__ import annotations

import os
import time

import pytest

from mamp.core.errors import Malformed
from mamp.core.texts import parse_json, parse_yaml, read_text

TEXT = "añt\nbee\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_in_the_encodings_that_say_what_they_are(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "list.txt") == TEXT


@pytest.mark.parametrize(
    ("encoding", "said"), [("latin-1", "no UTF-8 text from byte 1"), ("utf-16-le", "zero bytes|no UTF-8")]
)
def test_text_in_another_encoding_is_refused_by_its_cause(tmp_path, encoding, said):
    (tmp_path / "list.txt").write_bytes(TEXT.encode(encoding))
    with pytest.raises(Malformed, match=said):
        read_text(tmp_path / "list.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe, socket or device"):
        read_text(tmp_path / "pipe")


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 15))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 2001-99-99", "cannot be read: month must be in 1..12"),
        ("a: !!int abc", "cannot be read"),
        ("a: " + "9" * 5000, "cannot be read: Exceeds the limit|more than 19 digits"),
        ("a: " + "9" * 40, "more than 19 digits"),
        ("{a: " * 2000 + "1" + "}" * 2000, "more than 64 levels"),
        ("&a [*a]", "the anchor &a holds itself"),
        ("a: &b {c: *b}", "the anchor &b holds itself"),
        (BOMB, "more than 20,000 values"),
        ("a: {" + "<<: [*x]}", "undefined alias"),
        ("a: " + "x" * 200_000, "letters, where settings have"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_odd_yaml_is_refused_at_once_in_one_kind_of_error(text, said):
    began = time.process_time()
    with pytest.raises(Malformed, match=said):
        parse_yaml(text)
    assert time.process_time() - began < 2


def test_aliases_and_merges_within_bounds_are_read():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: [*a, *a]}") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": [{"x": 1}, {"x": 1}]},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100 + "]" * 100, "64 levels"),
        ('{"a":' * 200_000, "64 levels|no JSON"),
        ("9" * 5000, "a number of 5000 digits"),
        ("9" * 30, "a number of 30 digits"),
        ("{", "no JSON"),
    ],
)
def test_odd_json_is_refused_in_one_kind_of_error(text, said):
    with pytest.raises(Malformed, match=said):
        parse_json(text)


def test_json_within_bounds_is_read():
    value = {"a": [1, -(2**63), 0.5, None, {"b": [[["x"]]]}]}
    import json

    assert parse_json(json.dumps(value)) == value


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs /dev/fd")
def test_what_the_shell_has_opened_is_read(tmp_path):
    reader, writer = os.pipe()
    os.write(writer, b"ant\n")
    os.close(writer)
    assert read_text(f"/dev/fd/{reader}") == "ant\n" and read_text(os.devnull) == ""
    os.close(reader)
