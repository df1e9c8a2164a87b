from __future__ import annotations

from pathlib import Path

from launch import journal


def test_events_come_back_in_order_and_a_line_cut_short_is_left_out(tmp_path: Path):
    journal.add(tmp_path, "submitted", token="a")
    journal.add(tmp_path, "started", token="a", job="1", progress=0)
    with (tmp_path / journal.NAME).open("a") as file:
        file.write('{"event": "fini')
    assert [event["event"] for event in journal.read(tmp_path)] == ["submitted", "started"]


def test_a_folder_without_a_journal_has_no_events(tmp_path: Path):
    assert journal.read(tmp_path / "none") == []
    assert journal.submission([]) is None
    assert journal.reason(tmp_path) == ""


def test_the_newest_submission_owns_the_run_and_knows_its_jobs(tmp_path: Path):
    journal.add(tmp_path, "submitted", token="a")
    journal.add(tmp_path, "queued", token="a", jobs=["1"])
    journal.add(tmp_path, "failed", token="a", reason="of old")
    journal.add(tmp_path, "submitted", token="b")
    journal.add(tmp_path, "queued", token="b", jobs=["2_0"])
    journal.add(tmp_path, "queued", token="a", jobs=["3"])
    owner = journal.submission(journal.read(tmp_path))
    assert owner is not None
    assert (owner["token"], owner["jobs"]) == ("b", ["2_0"])
    assert journal.reason(tmp_path) == ""


def test_starts_that_brought_nothing_are_counted_from_the_last():
    def starts(*progress: int) -> list[journal.Event]:
        return [{"event": "started", "job": "1", "progress": done} for done in progress]

    assert journal.stalled(starts(), "1", progress=0) == 0
    assert journal.stalled(starts(0), "1", progress=0) == 1
    assert journal.stalled(starts(0, 0), "1", progress=5) == 0
    assert journal.stalled(starts(0, 5, 5), "1", progress=5) == 2
    assert journal.stalled(starts(0, 0), "2", progress=0) == 0
