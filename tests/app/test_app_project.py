"""What is kept of one's work, and that nothing of it is lost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from app_world import FRAMES, SIZE
from PIL import Image

from mamp.app.project import Project
from mamp.core.errors import UserError
from mamp.video.frames import open_frames
from mamp.video.masks import PALETTE, read_mask


def reopened(project: Project, video) -> Project:
    project.close()
    return Project(project.folder, open_frames(video))


def test_a_drawn_mask_is_a_palette_png_of_its_frames_name(project, drawn):
    project.draw(3, drawn)
    for folder in ("drawn", "masks"):
        path = project.folder / folder / "00003.png"
        np.testing.assert_array_equal(read_mask(path), drawn)
        with Image.open(path) as image:
            assert image.mode == "P" and image.getpalette()[:6] == PALETTE[:2].flatten().tolist()


def test_reopening_goes_on_with_everything(project, drawn, video):
    project.draw(0, drawn)
    project.write(1, drawn, kind="forward", unsure={1: 0.25})
    project.lock([1], locked=True)
    project.rename(2, "right one")
    before = project.frames(), project.objects
    again = reopened(project, video)
    assert (again.frames(), again.objects) == before
    np.testing.assert_array_equal(again.mask(1), drawn)
    again.close()


def test_a_computed_mask_takes_no_place_of_a_drawn_or_locked_one(project, drawn):
    project.draw(0, drawn)
    project.write(1, drawn, kind="forward", unsure={1: 0.1})
    project.lock([1], locked=True)
    for index in (0, 1):
        assert not project.write(index, np.zeros(SIZE, np.uint8), kind="forward", unsure={1: 0.1})
        np.testing.assert_array_equal(project.mask(index), drawn)


def test_frames_after_a_changed_drawing_are_told_to_be_older_than_it(project, drawn):
    project.draw(2, drawn)
    for index in (3, 4, 5):
        project.write(index, drawn, kind="forward", unsure={1: 0.1})
    project.write(1, drawn, kind="backward", unsure={1: 0.1})
    project.draw(4, drawn)
    assert [frame.stale for frame in project.frames()] == [False, True, False, False, False, True, False]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((3, 3), np.uint8), "give uint8"),
        (np.full(SIZE, 9, np.uint8), "id 9"),
        (np.zeros(SIZE, np.int64), "give uint8"),
    ],
)
def test_a_drawing_of_another_kind_is_refused(project, labels, words):
    with pytest.raises(UserError, match=words):
        project.draw(0, labels)
    assert project.frame(0).kind == "" and not list((project.folder / "drawn").iterdir())


def test_a_locked_frame_is_not_drawn_on(project, drawn):
    project.draw(0, drawn)
    project.lock([0, 1], locked=True)
    assert not project.frame(1).locked, "a frame without a mask has nothing to lock"
    with pytest.raises(UserError, match="unlock"):
        project.draw(0, drawn)


def test_a_removed_object_is_gone_from_every_mask_and_its_number_is_free(project, drawn):
    project.draw(0, drawn)
    project.write(1, drawn, kind="forward", unsure={1: 0.1})
    project.remove_object(1)
    for index in (0, 1):
        assert np.unique(project.mask(index)).tolist() == [0, 2]
    assert np.unique(project.given(0)).tolist() == [0, 2]
    assert project.add_object("new").id == 1


def test_a_forgotten_drawing_guides_no_more_but_is_not_lost(project, drawn):
    project.draw(0, drawn)
    project.forget(0)
    assert project.given(0) is None and project.frame(0).stale
    np.testing.assert_array_equal(project.mask(0), drawn)


def test_names_are_one_short_line(project):
    project.rename(1, "  a\n\x1b[31mb" + 100 * "c")
    assert project.objects[0].name == ("a[31mb" + 100 * "c")[:60]
    with pytest.raises(UserError, match="needs a name"):
        project.rename(1, " \n ")


def test_in_a_long_video_what_is_known_of_frames_is_not_written_for_each(project, drawn, video, monkeypatch):
    clock = itertools.count(0, 1000).__next__  # whatever is done takes long
    monkeypatch.setattr("mamp.app.project.time", SimpleNamespace(monotonic=clock))
    project.save()
    project.write(1, drawn, kind="forward", unsure={1: 0.5})
    assert "00001" not in (project.folder / "project.json").read_text()
    project.save()
    again = reopened(project, video)
    assert again.frame(1).unsure == 0.5
    again.close()


def test_one_process_at_a_time(project, video):
    code = (
        "import sys; from pathlib import Path\nfrom mamp.app.project import Project\nfrom mamp.video.frames"
        " import open_frames\nProject(Path(sys.argv[1]), open_frames(sys.argv[2]))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, project.folder, video], capture_output=True, text=True
    )
    assert "is open in another `mamp app`" in found.stderr


def test_another_videos_folder_is_refused(project, video, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGB", SIZE[::-1]).save(other / "a.png")
    project.close()
    with pytest.raises(UserError, match="another video"):
        Project(project.folder, open_frames(other))


@pytest.mark.parametrize("text", ["", "[]", '{"frames": 3}', '{"size": [40, 56], "count"'])
def test_a_damaged_file_is_named_and_the_masks_outlive_it(project, drawn, video, text):
    project.draw(0, drawn)
    project.close()
    (project.folder / "project.json").write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        Project(project.folder, open_frames(video))
    (project.folder / "project.json").unlink()
    again = Project(project.folder, open_frames(video))
    assert [o.id for o in again.objects] == [1, 2] and again.frame(0).kind == "drawn"
    again.close()


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("frames", {"00000": 3}),
        ("frames", {"00000": ["drawn"]}),
        ("frames", {"00000": {"kind": "drawn", "locked": "no"}}),
        ("frames", {"00000": {"kind": ["drawn"]}}),
        ("frames", {"00000": {"kind": "forward", "unsure": float("nan")}}),
        ("frames", {"00000": {"kind": "forward", "unsure": "0.5"}}),
        ("frames", {"00000": {"colour": "red"}}),
        ("frames", []),
        ("objects", [{"id": "1", "name": "left"}]),
        ("objects", [{"id": 1.0, "name": "left"}]),
        ("objects", [{"id": True, "name": "left"}]),
        ("objects", [{"id": 1, "name": "left"}, {"id": 1, "name": "right"}]),
        ("objects", [{"id": 255, "name": "left"}]),
        ("objects", [{"id": 0, "name": "left"}]),
        ("objects", [{"id": 1, "name": ["left"]}]),
        ("objects", [1]),
        ("objects", {"id": 1}),
        ("size", "40"),
        ("size", [40.0, 56.0]),
        ("count", "7"),
        ("version", "1"),
    ],
)
def test_what_cannot_have_been_written_is_damage_and_the_masks_are_untouched(
    project, drawn, video, part, value
):
    project.draw(0, drawn)
    project.write(1, drawn, kind="forward", unsure={1: 0.5})
    project.close()
    path = project.folder / "project.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {part: value}))
    text, masks = path.read_text(), {p: p.read_bytes() for p in project.folder.glob("*/*.png")}
    with pytest.raises(UserError, match="project.json is damaged; move it away"):
        Project(project.folder, open_frames(video))
    assert path.read_text() == text and {p: p.read_bytes() for p in masks} == masks and len(masks) == 3
    path.rename(path.with_name("away.json"))
    again = Project(project.folder, open_frames(video))
    assert [o.id for o in again.objects] == [1, 2]
    assert [frame.kind for frame in again.frames()][:2] == ["drawn", "forward"]
    again.close()


def test_the_work_of_a_later_version_is_no_damage(project, video):
    project.close()
    path = project.folder / "project.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2, "frames": "in some other way"}))
    with pytest.raises(UserError, match="written by a later mamp; update mamp"):
        Project(project.folder, open_frames(video))


def test_a_damaged_file_is_found_without_assertions_too(project, video):
    project.close()
    path = project.folder / "project.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"objects": [{"id": 999, "name": "left"}]}))
    code = (
        "import sys; from pathlib import Path\nfrom mamp.app.project import Project\nfrom mamp.video.frames"
        " import open_frames\nProject(Path(sys.argv[1]), open_frames(sys.argv[2]))"
    )
    found = subprocess.run(
        [sys.executable, "-O", "-c", code, project.folder, video], capture_output=True, text=True
    )
    assert "UserError" in found.stderr and "is damaged" in found.stderr


def test_a_killed_process_loses_nothing(video, tmp_path, drawn):
    code = (
        "import sys, numpy as np; from pathlib import Path\nfrom mamp.app.project import Project\nfrom"
        " mamp.video.frames import open_frames\np = Project(Path(sys.argv[1]), open_frames(sys.argv[2]));"
        f" p.add_object(); i = 0\nwhile True:\n    labels = np.zeros({SIZE}, np.uint8); labels[:, i % 50:] ="
        f" 1; i += 1\n    p.draw(i % {FRAMES}, labels) if i % 2 else p.write(i % {FRAMES}, labels,"
        " kind='forward', unsure={1: 0.5})\n    print(i, flush=True)\n"
    )
    work = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, work, video], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 20:
        pass
    time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    project = Project(work, open_frames(video))
    assert {frame.kind for frame in project.frames()} == {"drawn"}
    for index in range(FRAMES):
        np.testing.assert_array_equal(project.mask(index), project.given(index))
    assert not list(work.rglob("*.partial")) and json.loads((work / "project.json").read_text())["objects"]
    project.close()


def test_which_objects_a_frame_shows_is_known_after_each_change_and_found_out_later(project, video, drawn):
    assert project.present() == [None] * FRAMES
    project.draw(0, drawn)
    project.write(1, np.where(drawn == 2, 0, drawn), kind="forward", unsure={1: 0.1})
    assert project.present()[:3] == [(1, 2), (1,), None]
    project.remove_object(1)
    assert project.present()[:2] == [(2,), ()]
    project.close()
    with open_frames(video) as source:
        again = Project(project.folder, source)
    for index in range(FRAMES):
        again.look(index)
    assert again.present() == [(2,), *[()] * (FRAMES - 1)]
    again.close()


def test_a_mask_that_a_person_put_into_the_folder_is_read_as_any_other(project, drawn, video):
    project.draw(0, drawn)
    soft = Image.fromarray(np.uint8(255) * (drawn > 0)).convert("RGB")
    soft.save(project.folder / "drawn" / "00003.png")
    again = reopened(project, video)
    np.testing.assert_array_equal(again.given(3), drawn > 0)
    np.testing.assert_array_equal(again.mask(3), drawn > 0)
    again.close()
