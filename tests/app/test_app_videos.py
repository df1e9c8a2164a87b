"""Another video without a restart, settings, what comes next and what was before, as the page asks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from app_world import QUICK, SIZE

pytest.importorskip("starlette", reason="needs starlette, of the extra app")
pytest.importorskip("httpx2", reason="needs httpx2, of the extra test")

from test_app_server import browser, finished, state  # noqa: E402

from mamp.app.export import file_names, zipped  # noqa: E402
from mamp.app.shelf import recent  # noqa: E402
from mamp.app.studio import Studio  # noqa: E402
from mamp.segmentation.model import load  # noqa: E402


@pytest.fixture
def studio(model, tmp_path, monkeypatch, small_weights):
    monkeypatch.setattr("mamp.app.studio.HOME", tmp_path / "home")
    reload = lambda preset, device: load(  # noqa: E731
        small_weights, device=device, overrides=[*QUICK, f"method.preset={preset}"]
    )
    made = Studio(model, out=tmp_path / "work", reload=reload)
    yield made
    made.close()


@pytest.fixture
def page(studio, video):
    studio.open(video)
    return browser(studio)


def test_a_closed_video_is_among_the_recent_ones_and_opens_again(page, studio, drawn, video, tmp_path):
    page.post("/api/objects", json={})
    page.put("/api/masks/0", content=drawn.tobytes())
    (tmp_path / "home").mkdir()
    studio.project.folder.rename(tmp_path / "home" / "clip")
    assert page.post("/api/open", json={"recent": 0}).status_code == 409
    assert page.post("/api/close", content="{}").status_code == 200
    now = state(page)
    assert now["video"] is None and [told["name"] for told in now["recent"]] == ["clip"]
    assert page.post("/api/open", json={"recent": 7}).status_code == 400
    assert page.post("/api/open", json={"recent": 0}).status_code == 200
    now = state(page)
    assert now["video"] == str(video.resolve()) and now["frames"][0][0] == "d"


def test_the_example_opens_and_its_project_goes_on(page, studio, tmp_path):
    page.post("/api/close", content="{}")
    for _ in range(2):
        assert page.post("/api/open", json={"example": True}).status_code == 200
        assert state(page)["folder"] == str(tmp_path / "home" / "example")
        page.post("/api/close", content="{}")


def test_a_video_is_not_closed_while_it_is_segmented(page, studio, drawn, monkeypatch):
    page.post("/api/objects", json={})
    page.put("/api/masks/0", content=drawn.tobytes())
    studio.engine.status.running = True
    for path, told in (("/api/close", {}), ("/api/settings", {"preset": "fast", "device": "cpu"})):
        answer = page.post(path, json=told)
        assert answer.status_code == 400 and "stop that first" in answer.json()["error"]
    studio.engine.status.running = False


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"video": 3, "count": 1}', '{"video": "/nowhere", "count": 2}']
)
def test_projects_that_cannot_be_opened_are_not_listed(tmp_path, text):
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "project.json").write_text(text)
    assert recent(tmp_path) == []


def test_projects_are_listed_newest_first_and_once(tmp_path, video):
    import os

    for age, name in enumerate(("old", "new")):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "project.json"
        file.write_text(json.dumps({"video": str(video), "count": 7}))
        os.utime(file, (age, age))
    assert [told["folder"] for told in recent(tmp_path, tmp_path / "old")] == [
        str(tmp_path / name) for name in ("new", "old")
    ]


def test_a_preset_is_used_from_the_next_run_on(page, studio, drawn):
    settings = state(page)["settings"]
    assert settings["preset"] == "tuned" and "fast" in settings["presets"] and "cpu" in settings["devices"]
    page.post("/api/objects", json={})
    page.put("/api/masks/0", content=drawn.tobytes())
    assert page.post("/api/settings", json={"preset": "fast", "device": "cpu"}).status_code == 200
    assert state(page)["settings"]["preset"] == "fast"
    page.post("/api/run", json={"frame": 0, "direction": "forward"})
    assert not finished(page)["run"]["error"]
    assert page.post("/api/propose/0", json={"inside": [[9, 9]]}).status_code == 200


@pytest.mark.parametrize(
    "told", [{}, {"preset": "none", "device": "cpu"}, {"preset": "fast", "device": "tpu"}, {"preset": 3}]
)
def test_unknown_settings_are_refused(page, told):
    answer = page.post("/api/settings", json=told)
    assert answer.status_code == 400 and "cannot be chosen" in answer.json()["error"]


def test_what_comes_next_leaves_out_what_was_seen(page, studio, drawn):
    assert page.post("/api/uncertain", json={}).json() == {"frame": None}
    page.post("/api/objects", json={})
    page.put("/api/masks/0", content=drawn.tobytes())
    page.post("/api/run", json={"frame": 0, "direction": "forward"})
    finished(page)
    place = page.post("/api/uncertain", json={}).json()
    assert place["frame"] > 0 and place["object"] in (1, 2) and 0 < place["unsure"] <= 1
    again = page.post("/api/uncertain", json={"seen": [place["frame"]]}).json()
    assert again["frame"] is None or abs(again["frame"] - place["frame"]) > 2
    for seen in (3, [99], ["a"], [None]):
        assert page.post("/api/uncertain", json={"seen": seen}).status_code in (400, 404)


def test_the_mask_before_the_last_change_is_kept(page, studio, drawn):
    def before(index: int) -> np.ndarray:
        return np.frombuffer(page.get(f"/api/before/{index}").content, np.uint8).reshape(SIZE)

    page.post("/api/objects", json={})
    assert not before(0).any()
    page.put("/api/masks/0", content=drawn.tobytes())
    assert not before(0).any()
    page.put("/api/masks/0", content=bytes(drawn.size))
    np.testing.assert_array_equal(before(0), drawn)
    page.delete("/api/objects/2")
    assert not before(0).any()  # it would show an object that is gone


def test_a_folder_is_downloaded_as_a_zip_and_nothing_is_left(page, studio, drawn, tmp_path):
    import io
    import zipfile

    page.post("/api/objects", json={"name": "a/b"})
    page.put("/api/masks/0", content=drawn.tobytes())
    for kind, name in (
        ("davis", "davis/Annotations/480p/clip/00000.png"),
        ("objects", "objects/a-b/00000.png"),
    ):
        page.post("/api/export", json={"kind": kind})
        finished(page)
        answer = page.get(f"/api/export/{kind}")
        assert "zip" in answer.headers["content-disposition"]
        assert name in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert not list((tmp_path / "work" / "export").glob(".*"))


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["dog", "Dog"], ["dog-1", "Dog-2"]),
        (["a b", "a/b"], ["a-b-1", "a-b-2"]),
        (["..", "ä"], ["--", "ä"]),
    ],
)
def test_objects_have_folders_of_their_own(project, names, files):
    for number, name in enumerate(names, start=1):
        project.rename(number, name)
    assert list(file_names(project).values()) == files


def test_a_zip_has_its_folders_name_first(tmp_path):
    import zipfile

    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "z").write_text("1")
    zipped(tmp_path / "x", tmp_path / "x.zip")
    assert zipfile.ZipFile(tmp_path / "x.zip").namelist() == ["x/y/z"]


@pytest.mark.parametrize("told", [{"object": "a"}, {"series": 0.5}, {"object": 1e300}, {"series": [1]}])
def test_numbers_of_a_suggestion_are_checked(page, told):
    answer = page.post("/api/propose/0", json={"inside": [[9, 9]], **told})
    assert answer.status_code == 400 and "whole numbers" in answer.json()["error"]
