"""What a person sees of long work."""

from __future__ import annotations

import io
import sys

import pytest

from mamp.core import progress
from mamp.core.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in its one entry."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_tell_what_is_done_the_speed_and_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(100, unit="frames") as shown:
        shown.skip(60)
        shown.begin("bear")
        for _ in range(24):
            clock[0] += 0.5
            shown.advance()
    assert capsys.readouterr().err == "bear: 80 of 100 frames, 2.00 frames/s, 0:00:10 left\n"


def test_the_last_line_comes_at_once_with_the_note(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(8, unit="steps", done=7) as shown:
        shown.begin("training")
        shown.note("loss 0.5")
        clock[0] += 4
        shown.advance()
    assert capsys.readouterr().err == "training: 8 of 8 steps, 0.25 steps/s, 0:00:00 left, loss 0.5\n"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1, unit="frames", quiet=True) as shown:
        shown.begin("bear")
        shown.advance()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(4, unit="frames", done=1) as shown:
        shown.begin("bear")
        shown.note("fine")
        shown.skip(2)
        shown.advance()
    last = terminal.getvalue().split("\r")[-1]
    assert "bear" in last and "4/4" in last and "fine" in last


def test_the_time_left_follows_the_present_speed(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(200, unit="frames") as shown:
        shown.begin("bear")
        for _ in range(100):
            clock[0] += 0.1
            shown.advance()
        assert shown.left.seconds == 10
        for _ in range(20):  # another program takes the processor
            clock[0] += 4.0
            shown.advance()
        assert shown.seconds_each == pytest.approx(4.0)
        assert shown.left.seconds == 320
    assert capsys.readouterr().err.splitlines()[-1].endswith("0.25 frames/s, 0:05:24 left")
