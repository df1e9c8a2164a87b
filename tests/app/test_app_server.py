"""The routes as a browser asks them, and who may ask."""

from __future__ import annotations

import threading
import time
from importlib.resources import files

import numpy as np
import pytest
from app_world import FRAMES, SIZE
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette, of the extra app")
pytest.importorskip("httpx2", reason="needs httpx2, of the extra test")

from starlette.testclient import TestClient  # noqa: E402

from mamp.app import engine, server, studio  # noqa: E402
from mamp.app.studio import Studio  # noqa: E402

KEY = "a key"
HOST = "127.0.0.1:8000"
BYTES = SIZE[0] * SIZE[1]


def browser(at: Studio, *, tab: str = "one", key: str = KEY, **headers: str) -> TestClient:
    told = {"host": HOST, "x-mamp-key": key, "x-mamp-tab": tab, **headers}
    return TestClient(server.build(at, key=KEY, hosts={HOST}), base_url=f"http://{HOST}", headers=told)


@pytest.fixture
def empty(model, tmp_path):
    made = Studio(model, out=tmp_path / "work")
    yield made
    made.close()


@pytest.fixture
def opened(empty, video) -> Studio:
    empty.open(video)
    return empty


@pytest.fixture
def page(opened) -> TestClient:
    return browser(opened)


def state(page: TestClient) -> dict:
    return page.get("/api/state?tab=one").json()


def finished(page: TestClient) -> dict:
    deadline = time.monotonic() + 60
    while (now := state(page))["run"]["running"] or now["export"].get("running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return now


def test_the_whole_loop(page, opened, drawn):
    assert state(page)["objects"] == [{"id": 1, "name": "object 1", "colour": [128, 0, 0]}]
    assert page.post("/api/objects", json={"name": "dog"}).json() == {"id": 2}
    assert page.put("/api/masks/0", content=drawn.tobytes()).json() == {"made": 1}
    assert page.post("/api/run", json={"frame": 0, "direction": "forward"}).status_code == 200
    now = finished(page)
    assert [frame[0] for frame in now["frames"]] == ["d", *"ffffff"] and now["run"]["done"] == FRAMES
    assert all(0 < frame[3] <= 1 for frame in now["frames"][1:])
    shown = np.frombuffer(page.get("/api/masks/3").content, np.uint8).reshape(SIZE)
    np.testing.assert_array_equal(shown, opened.project.mask(3))
    page.post("/api/lock", json={"from": 1, "to": 3, "locked": True})
    assert [frame[1] for frame in state(page)["frames"]] == [0, 1, 1, 1, 0, 0, 0]
    answer = page.put("/api/masks/2", content=bytes(BYTES))
    assert answer.status_code == 400 and "unlock" in answer.json()["error"]
    page.request("DELETE", "/api/objects/2")
    assert page.patch("/api/objects/1", json={"name": "cat"}).status_code == 200
    assert [o["name"] for o in state(page)["objects"]] == ["cat"]


def test_an_object_stays_where_a_run_does_not_end(page, opened, drawn, monkeypatch):
    from mamp.segmentation.segmenter import Segmenter

    let_go, step = threading.Event(), Segmenter.step
    monkeypatch.setattr(Segmenter, "step", lambda self, *a, **k: let_go.wait(60) and step(self, *a, **k))
    monkeypatch.setattr(engine, "PATIENCE", 0.05)
    page.post("/api/objects", json={})
    page.put("/api/masks/0", content=drawn.tobytes())
    page.post("/api/run", json={"frame": 0, "direction": "forward"})
    answer = page.request("DELETE", "/api/objects/2")
    assert answer.status_code == 400 and "nothing was removed" in answer.json()["error"]
    assert [o["id"] for o in state(page)["objects"]] == [1, 2]
    let_go.set()
    finished(page)
    assert page.request("DELETE", "/api/objects/2").status_code == 200


def test_pictures_of_frames(page):
    import io

    for path, width in (("frames", 56), ("thumbs", 56)):
        answer = page.get(f"/api/{path}/6")
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format == "JPEG" and image.width == width


def test_a_mask_from_clicks_is_told_and_not_yet_kept(page):
    answer = page.post("/api/propose/0", json={"inside": [[12, 12]], "outside": [[50, 4]]})
    mask = np.frombuffer(answer.content, np.uint8).reshape(SIZE)
    assert mask[12, 12] == 1 and mask[4, 50] == 0 and mask.max() == 1
    assert state(page)["frames"][0][0] == ""
    assert page.post("/api/propose/0", json={}).status_code == 400


def test_an_object_stays_while_an_export_reads_the_masks(page, drawn, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(kind, project, source, progress):
        begun.set()
        assert go_on.wait(30)
        return project.folder

    monkeypatch.setattr("mamp.app.studio.export", slow)
    page.post("/api/export", json={"kind": "davis"})
    assert begun.wait(30)
    refused = page.delete("/api/objects/1")
    assert refused.status_code == 400 and "an export is being written" in refused.json()["error"]
    assert page.post("/api/export", json={"kind": "coco"}).status_code == 400
    go_on.set()
    finished(page)
    assert 1 in [o["id"] for o in state(page)["objects"]]
    assert page.delete("/api/objects/1").status_code == 200
    assert 1 not in [o["id"] for o in state(page)["objects"]]


def test_exports_are_written_and_handed_out(page, drawn):
    page.post("/api/objects", json={})
    assert page.get("/api/export/coco").status_code == 404
    page.put("/api/masks/0", content=drawn.tobytes())
    page.post("/api/export", json={"kind": "coco"})
    assert finished(page)["export"]["path"].endswith("clip.json")
    assert len(page.get("/api/export/coco").json()["annotations"]) == 2
    assert page.post("/api/export", json={"kind": "../x"}).status_code == 400
    assert page.get("/api/export/davis").status_code == 404


def test_news_are_waited_for(page, opened):
    version = state(page)["version"]
    began = time.monotonic()
    assert page.get(f"/api/state?tab=one&since={version}&wait=1").json()["version"] == version
    assert time.monotonic() - began >= 1
    opened.changed()
    assert page.get(f"/api/state?tab=one&since={version}&wait=20").json()["version"] == version + 1


def test_the_page_asks_nobody_else(page):
    answer = page.get(f"/?key={KEY}")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for name in ("", *(f"page/{name}" for name in server.PAGE)):
        text = page.get(f"/{name}?key={KEY}").text
        assert "//" not in text.replace("http://www.w3.org", "").replace("// ", "").replace('"/api', ""), name


def test_every_file_of_the_page_is_served():
    there = {file.name for file in files("mamp.app").joinpath("page").iterdir()}
    assert there == {"index.html", *server.PAGE}


# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1:9", "127.0.0.1"])
def test_another_name_for_this_machine_is_refused(opened, host):
    assert browser(opened, host=host).get("/api/state").status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9"])
def test_other_pages_are_refused(opened, origin):
    assert browser(opened, origin=origin).post("/api/stop").status_code == 403
    assert browser(opened, origin=f"http://{HOST}").post("/api/stop").status_code == 200
    assert browser(opened, **{"sec-fetch-site": "cross-site"}).get("/api/state").status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/state", "/api/frames/0", "/api/masks/0"])
def test_without_this_runs_key_there_is_nothing(opened, path):
    answer = browser(opened, key="").get(path)
    assert answer.status_code == 403 and "address" in answer.text
    assert browser(opened, key="another").get(path).status_code == 403


@pytest.mark.parametrize(
    "path", ["/api/frames/7", "/api/frames/-1", "/api/frames/..%2f..%2fx", "/page/..%2fserver.py", "/page/x"]
)
def test_only_what_is_listed_is_handed_out(page, path):
    assert page.get(path).status_code == 404


# ---------------------------------------------------------------- what may be asked


@pytest.mark.parametrize("size", [0, BYTES - 1, BYTES + 1, 10 * BYTES])
def test_a_mask_of_another_size_is_refused(page, opened, size):
    assert page.put("/api/masks/0", content=bytes(size)).status_code in (400, 413)
    assert not opened.project.drawn()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/run", "{}"),
        ("/api/run", '{"frame": 99, "direction": "forward"}'),
        ("/api/run", '{"frame": true, "direction": "forward"}'),
        ("/api/run", '{"frame": 0, "direction": "up"}'),
        ("/api/run", '{"frame": 0, "direction": "forward"}'),  # nothing is drawn
        ("/api/run", "[1]"),
        ("/api/run", "nonsense"),
        ("/api/run", "[" * 50000),
        ("/api/objects", " " * 70000),
        ("/api/lock", '{"from": 0, "to": 99, "locked": true}'),
        ("/api/propose/0", '{"inside": [[1, 1e300]]}'),
        ("/api/propose/0", '{"inside": [[1, NaN]]}'),
        ("/api/propose/0", '{"box": [1, 2, 3]}'),
        ("/api/propose/0", '{"inside": 3}'),
        ("/api/propose/99", "{}"),
    ],
)
def test_nonsense_gets_one_sentence(page, path, body):
    answer = page.post(path, content=body)
    assert answer.status_code in (400, 404, 413) and 5 < len(answer.json()["error"]) < 200


def test_a_second_tab_looks_and_may_take_over(opened, drawn, monkeypatch):
    one, two = browser(opened), browser(opened, tab="two")
    assert one.get("/api/state?tab=one").json()["yours"]
    assert not two.get("/api/state?tab=two").json()["yours"]
    answer = two.put("/api/masks/0", content=drawn.tobytes())
    assert answer.status_code == 423 and "another tab" in answer.json()["error"]
    assert two.get("/api/masks/0").status_code == 200
    two.post("/api/take")
    assert two.put("/api/masks/0", content=bytes(BYTES)).status_code == 200
    assert one.put("/api/masks/0", content=bytes(BYTES)).status_code == 423
    two.post("/api/leave")
    assert one.put("/api/masks/0", content=bytes(BYTES)).status_code == 200
    three = browser(opened, tab="three")
    assert not three.get("/api/state?tab=three").json()["yours"]
    monkeypatch.setattr(studio, "ABSENT", 0.0)  # the first one says nothing any more
    assert three.get("/api/state?tab=three").json()["yours"]
    monkeypatch.setattr(studio, "ABSENT", 8.0)
    three.post("/api/leave")
    assert one.put("/api/masks/0", content=bytes(BYTES)).status_code == 200


# ---------------------------------------------------------------- a video that is dropped on the page


@pytest.fixture
def film(tmp_path) -> bytes:
    from mamp.video.overlay import Film

    with Film(tmp_path / "a.mp4") as film:
        for i in range(3):
            film.write(np.full((40, 56, 3), 40 * i, np.uint8))
    return (tmp_path / "a.mp4").read_bytes()


@pytest.mark.parametrize("second", ["the same", "broken", "too large", "of another kind"])
def test_a_later_drop_leaves_the_first_video_and_its_project_alone(model, empty, film, second, monkeypatch):
    assert browser(empty).put("/api/video?name=a.mp4", content=film).status_code == 200
    empty.close()  # and the app is started again with the same --out
    work = {path: path.read_bytes() for path in empty.out.rglob("*") if path.is_file()}
    if second == "too large":
        monkeypatch.setattr(server, "LARGEST_VIDEO", 50)
    name = "b.mkv" if second == "of another kind" else "b.mp4"
    content = b"x" * 100 if second == "broken" else film
    answer = browser(empty).put(f"/api/video?name={name}", content=content)
    assert answer.status_code == 400 and "has a video's project already" in answer.json()["error"]
    assert f"mamp app {empty.out / 'a.mp4'} --out" in answer.json()["error"]
    assert {path: path.read_bytes() for path in empty.out.rglob("*") if path.is_file()} == work
    empty.open(empty.out / "a.mp4")
    assert empty.project.names == ["00000", "00001", "00002"]


@pytest.mark.parametrize("content", ["whole", "broken"])
def test_a_file_of_the_same_name_that_came_in_between_is_left_alone(empty, film, content, monkeypatch):
    video, dropped = empty.out / "a.mp4", empty.dropped

    def from_elsewhere(name):
        place = dropped(name)
        place.parent.mkdir()
        video.write_bytes(b"of another process")
        return place

    monkeypatch.setattr(empty, "dropped", from_elsewhere)
    answer = browser(empty).put("/api/video?name=a.mp4", content=film if content == "whole" else b"x")
    assert answer.status_code == 400 and "is there already" in answer.json()["error"]
    assert [path.read_bytes() for path in empty.out.iterdir()] == [b"of another process"]


def test_one_video_is_received_at_a_time(empty, film):
    page, answers = browser(empty), []

    def parts():
        yield film[:50]
        answers.append(page.put("/api/video?name=b.mp4", content=b"x"))
        yield film[50:]

    assert page.put("/api/video?name=a.mp4", content=parts()).status_code == 200
    assert [answer.status_code for answer in answers] == [409]
    assert (empty.out / "a.mp4").read_bytes() == film


def test_a_dropped_video_is_opened(empty, film):
    page = browser(empty)
    assert state(page)["video"] is None
    assert page.post("/api/run", json={}).status_code in (400, 409)
    answer = page.put("/api/video?name=../../my%20film.MP4", content=film)
    assert answer.status_code == 200
    assert state(page)["names"] == ["00000", "00001", "00002"]
    assert [p.name for p in empty.out.glob("*.*") if p.suffix == ".MP4"] == ["my film.MP4"]
    assert state(page)["video"].endswith("my film.MP4")
    assert page.put("/api/video?name=b.mp4", content=b"").status_code == 409


def test_a_wrong_or_huge_file_is_refused_and_leaves_nothing(empty, monkeypatch):
    page = browser(empty)
    for name, words in (("a.exe", "a.exe is no video file"), ("my.mp4", "my.mp4 cannot be read as a video")):
        answer = page.put(f"/api/video?name={name}", content=b"MZ" * 100)
        assert answer.status_code == 400 and answer.json()["error"].startswith(words)
    monkeypatch.setattr(server, "LARGEST_VIDEO", 50)
    assert page.put("/api/video?name=a.mkv", content=b"x" * 100).status_code == 413
    assert not empty.out.exists()
    assert state(page)["video"] is None


def test_an_uploaded_video_has_a_folder_of_its_name_and_its_exports_too(model, film, monkeypatch, tmp_path):
    monkeypatch.setattr(studio, "HOME", tmp_path / "app")
    (tmp_path / "app" / "dogs 1").mkdir(parents=True)
    made = Studio(model)
    page = browser(made)
    assert page.put("/api/video?name=dogs%201.mp4", content=film).status_code == 200
    assert made.project.folder == tmp_path / "app" / "dogs 1-2"
    page.put("/api/masks/0", content=np.ones(SIZE, np.uint8).tobytes())
    page.post("/api/export", json={"kind": "coco"})
    assert finished(page)["export"]["path"].endswith("dogs-1.json")
    made.close()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../a/b.mp4", "b.mp4"),
        ("c:\\films\\b.mp4", "b.mp4"),
        ("what? a <film>.mkv", "what- a -film-.mkv"),
        ("..mp4", "video.mp4"),
        ("\x00\n.mp4", "--.mp4"),
        ("x" * 300 + ".webm", "x" * 80 + ".webm"),
        ("", "video"),
    ],
)
def test_a_name_becomes_one_that_any_system_takes(given, kept):
    assert studio.file_name(given) == kept


def test_a_video_that_is_gone_is_told(empty, film):
    page = browser(empty)
    page.put("/api/video?name=a.mp4", content=film)
    assert not state(page)["missing"]
    (empty.out / "a.mp4").unlink()
    assert state(page)["missing"]


def test_an_export_is_told_with_whether_masks_changed_since(page, drawn):
    page.post("/api/objects", json={})
    page.post("/api/export", json={"kind": "coco"})
    told = finished(page)["export"]
    assert "draw one first" in told["error"] and not told["changed"] and told["at"] > 0
    page.put("/api/masks/0", content=drawn.tobytes())
    assert state(page)["export"]["changed"]
    page.post("/api/export", json={"kind": "coco"})
    assert not finished(page)["export"]["changed"]


def test_a_mask_from_a_file_becomes_the_frames_mask(page, drawn):
    import io

    file = io.BytesIO()
    red = np.array([(255, 255, 255), (255, 0, 0), (0, 0, 255)], np.uint8)[drawn]
    Image.fromarray(red).resize((2 * SIZE[1], 2 * SIZE[0]), Image.Resampling.NEAREST).save(file, "PNG")
    told = page.post("/api/import/2?name=my mask.png", content=file.getvalue())
    assert told.status_code == 200 and told.json()["line"].startswith("my mask.png: objects 1 (")
    assert "resized" in told.json()["line"]
    shown = np.frombuffer(page.get("/api/masks/2").content, np.uint8).reshape(SIZE)
    np.testing.assert_array_equal(shown, drawn)
    assert [o["id"] for o in state(page)["objects"]] == [1, 2] and state(page)["frames"][2][0] == "d"


@pytest.mark.parametrize("content", [b"", b"text", b"{}"])
def test_a_file_that_is_no_mask_is_refused_by_its_name(page, content):
    before = state(page)["objects"]
    told = page.post("/api/import/0?name=../x/a.png", content=content)
    assert told.status_code == 400 and told.json()["error"].startswith("mask a.png is ")
    assert state(page)["objects"] == before
