import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scenes import scene, write_video

from mamp.core.errors import UserError
from mamp.datasets.sequences import open_dataset
from mamp.segmentation.baseline import CopySegmenter
from mamp.segmentation.evaluate import evaluate
from mamp.video.masks import read_mask, write_mask

INFO = {"weights_sha256": "abc", "config": {"method": {"name": "colour"}}}


@pytest.fixture
def root(tmp_path):
    """Three sequences of six frames with truth."""
    for name in ("ant", "bee", "cat"):
        write_video(tmp_path / "data", name=name)
    return tmp_path / "data"


def run(root: Path, make, **options):
    options = {"protocol": "folder", "run_info": INFO, "quiet": True, **options}
    return evaluate(open_dataset("folder", root), make, root.parent / "out", **options)


def test_masks_scores_and_the_run_are_written(root, make_segmenter):
    scores = run(root, make_segmenter)
    out = root.parent / "out"
    assert scores.means()["J-Mean"] == pytest.approx(1.0)
    for name in ("ant", "bee", "cat"):
        for t in range(6):
            file = out / "masks" / name / f"{t:05d}.png"
            assert Image.open(file).mode == "P"
            np.testing.assert_array_equal(read_mask(file), scene(t)[1])
    written = json.loads((out / "scores.json").read_text())
    assert written["J&F-Mean"] == pytest.approx(1.0)
    assert list(written["sequences"]) == ["ant", "bee", "cat"]
    assert (out / "scores.csv").read_text()
    record = json.loads((out / "run.json").read_text())
    assert (
        record["weights_sha256"] == "abc"
        and record["config"] == INFO["config"]
        and record["protocol"] == "folder"
    )
    assert record["frames"] == 18 and record["sequences"]["bee"]["frames"] == 6
    assert record["frames_per_second"] == pytest.approx(18 / record["seconds"])
    assert {"decode_seconds", "write_seconds", "peak_memory_mb", "peak_device_memory_mb"} <= record.keys()
    assert record["sizes"] == ["32x24"] and record["sequences"]["bee"]["size"] == "32x24"


def test_the_copied_mask_scores_less(root, make_segmenter):
    scores = run(root, CopySegmenter)
    assert 0.1 < scores.means()["J-Mean"] < 0.8


def test_each_frame_is_stepped_once_by_a_segmenter_of_its_own_sequence(root, make_segmenter, calls):
    run(root, make_segmenter)
    assert calls == ["build", "start", *["step"] * 5] * 3


def test_a_second_run_redoes_only_what_is_not_finished_and_says_what_is(root, make_segmenter, calls, capsys):
    run(root, make_segmenter)
    out = root.parent / "out"
    kept = {path: path.stat().st_mtime_ns for path in (out / "masks" / "ant").iterdir()}
    (out / "masks" / "bee" / "00004.png").unlink()
    (out / "sequences" / "cat.json").unlink()
    calls.clear()
    scores = run(root, make_segmenter, quiet=False)
    assert "1 of 3 sequences were finished before and are left as they are: ant\n" in capsys.readouterr().err
    assert calls == ["build", "start", *["step"] * 5] * 2
    assert kept == {path: path.stat().st_mtime_ns for path in (out / "masks" / "ant").iterdir()}
    assert scores.means()["J-Mean"] == pytest.approx(1.0)
    assert json.loads((out / "run.json").read_text())["frames"] == 18


def test_the_code_that_made_the_masks_is_told(root, make_segmenter):
    run(root, make_segmenter)
    record = json.loads((root.parent / "out" / "run.json").read_text())
    code = record["code"]
    assert code.keys() == {"mamp", "commit", "changed", "versions", "hardware"}
    assert code["versions"]["torch"] and code["hardware"]["device"] == "cpu"
    ant = record["sequences"]["ant"]
    assert (ant["commit"], ant["changed"]) == (code["commit"], code["changed"])


def test_masks_of_different_code_are_told_beside_the_scores(root, make_segmenter):
    run(root, make_segmenter)
    ant = root.parent / "out" / "sequences" / "ant.json"
    ant.write_text(json.dumps({**json.loads(ant.read_text()), "commit": "c0ffee" * 7, "changed": True}))
    assert any("different code, commits c0ffeec0ffee+, " in note for note in run(root, make_segmenter).notes)


def test_a_run_that_is_finished_is_said_to_be_and_its_record_stays(root, make_segmenter, calls, capsys):
    run(root, make_segmenter)
    record = root.parent / "out" / "run.json"
    before = record.read_bytes(), record.stat().st_mtime_ns
    calls.clear()
    scores = run(root, make_segmenter, quiet=False)
    assert calls == [] and scores.means()["J-Mean"] == pytest.approx(1.0)
    assert (record.read_bytes(), record.stat().st_mtime_ns) == before
    assert "all 3 sequences were finished before" in capsys.readouterr().err


def test_objects_may_come_after_an_empty_first_mask(tmp_path, make_segmenter):
    write_video(tmp_path / "data")
    masks = tmp_path / "data" / "Annotations" / "clip"
    for t in (0, 1):
        write_mask(masks / f"{t:05d}.png", np.zeros((24, 32), np.uint8))
    scores = run(tmp_path / "data", make_segmenter)
    assert scores.sequences["clip"][2].frames == ("00003", "00004", "00005")
    assert scores.means()["J-Mean"] == pytest.approx(1.0)


def test_masks_that_are_all_empty_are_refused(tmp_path, make_segmenter):
    write_video(tmp_path / "data", truth=False)
    write_mask(tmp_path / "data" / "Annotations" / "clip" / "00000.png", np.zeros((24, 32), np.uint8))
    with pytest.raises(UserError, match="clip/00000.png has no object: all its pixels are 0"):
        run(tmp_path / "data", make_segmenter)


@pytest.mark.parametrize("now", [5, None])
def test_another_config_must_go_to_another_folder(root, make_segmenter, now):
    run(root, make_segmenter)
    other = {**INFO, "config": {"method": {"name": "colour", "top_k": now}}}
    words = rf"config.method.top_k \(absent there, {now} now\); choose another --out"
    with pytest.raises(UserError, match=words):
        run(root, make_segmenter, run_info=other)


def test_masks_of_unknown_origin_are_left_alone(root, make_segmenter):
    (root.parent / "out" / "masks").mkdir(parents=True)
    with pytest.raises(UserError, match="has masks but no run.json.*choose another --out"):
        run(root, make_segmenter)


def test_a_split_without_truth_gives_masks_and_says_that_there_are_no_scores(
    tmp_path, make_segmenter, capsys
):
    write_video(tmp_path / "data", truth=False)
    assert run(tmp_path / "data", make_segmenter) is None
    assert len(list((tmp_path / "out" / "masks" / "clip").iterdir())) == 6
    assert not (tmp_path / "out" / "scores.json").exists()


def test_sequences_without_truth_are_told_beside_the_scores_of_the_others(root, make_segmenter):
    write_video(root, name="dog", truth=False)
    scores = run(root, make_segmenter)
    assert list(scores.sequences) == ["ant", "bee", "cat"]
    assert any("dog" in note for note in scores.notes)
    assert (root.parent / "out" / "masks" / "dog" / "00005.png").exists()


def test_a_frame_cut_short_keeps_finished_masks_and_leaves_no_partial_file(root, make_segmenter):
    bad = root / "JPEGImages" / "bee" / "00003.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:300])
    with pytest.raises(UserError, match="bee/00003.jpg is cut short"):
        run(root, make_segmenter)
    out = root.parent / "out"
    files = sorted(str(p.relative_to(out / "masks")) for p in (out / "masks").rglob("*") if p.is_file())
    assert files == [f"ant/{t:05d}.png" for t in range(6)] + [f"bee/{t:05d}.png" for t in range(3)]
    bad.write_bytes(whole)
    assert run(root, make_segmenter).means()["J-Mean"] == pytest.approx(1.0)


def test_a_skipped_frame_has_no_mask_and_is_told_beside_the_scores(root, make_segmenter):
    (root / "JPEGImages" / "bee" / "00003.jpg").write_bytes(b"")
    scores = run(root, make_segmenter, bad_frame="skip")
    assert not (root.parent / "out" / "masks" / "bee" / "00003.png").exists()
    assert any("bee" in note and "00003" in note for note in scores.notes)
    assert len(scores.sequences["bee"][1].j) == 4


@pytest.mark.parametrize("policy", ["skip", "repeat"])
def test_a_video_file_that_is_cut_short_goes_by_policy(tmp_path, policy):
    root = tmp_path / "data"
    root.mkdir()
    file = root / "clip.mp4"
    with av.open(str(file), "w", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=6, options={"g": "1"})
        stream.height, stream.width, stream.pix_fmt = 24, 32, "yuv420p"
        for t in range(6):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(scene(t)[0], format="rgb24")))
        film.mux(stream.encode())
    with av.open(str(file)) as film:
        position = sorted(packet.pos for packet in film.demux(video=0) if packet.size)[4]
    file.write_bytes(file.read_bytes()[:position])
    write_mask(root / "clip.png", scene(0)[1])
    with pytest.raises(UserError, match="clip.mp4 is cut short"):
        run(root, CopySegmenter)
    sequences = open_dataset("folder", root, bad_frame=policy)
    options = {"protocol": "folder", "run_info": INFO, "quiet": True, "bad_frame": policy}
    assert evaluate(sequences, CopySegmenter, tmp_path / "out", **options) is None
    assert len(list((tmp_path / "out" / "masks" / "clip").iterdir())) == 4


def test_a_mask_of_another_size_is_named(root, make_segmenter):
    Image.new("P", (10, 10), 1).save(root / "Annotations" / "bee" / "00000.png")
    with pytest.raises(UserError, match="bee/00000.png is 10x10 pixels and its frame 32x24"):
        run(root, make_segmenter)


def test_an_out_that_cannot_be_written_is_refused_before_any_work(root, make_segmenter, calls):
    (root.parent / "out").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="out is a file where a folder should be; choose another"):
        run(root, make_segmenter)
    assert calls == []


def test_youtube_tells_seen_from_unseen_categories(tmp_path):
    class LosesObject2(CopySegmenter):
        def step(self, frame, mask=None):
            labels = super().step(frame, mask)
            return np.where(labels == 2, 0, labels)

    split = write_video(tmp_path / "youtube" / "held", name="a1").parents[1]
    frames = [f"{t:05d}" for t in range(6)]
    objects = {str(k): {"category": name, "frames": frames} for k, name in ((1, "dog"), (2, "okapi"))}
    (split / "meta.json").write_text(json.dumps({"videos": {"a1": {"objects": objects}}}))
    sequences = open_dataset("youtubevos", tmp_path / "youtube", "held")
    options = {"protocol": "youtubevos", "run_info": INFO, "quiet": True}
    scores = evaluate(sequences, LosesObject2, tmp_path / "out", **options)
    assert "J-Seen" not in scores.means()
    assert any("seen and unseen are one mean" in note for note in scores.notes)
    evaluate(sequences, LosesObject2, tmp_path / "out", **options, seen=({"dog"}, tmp_path / "meta.json"))
    told = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert told["J-Seen"] == told["sequences"]["a1"]["1"]["J-Mean"] > 0
    assert told["J-Unseen"] == 0 and told["J-Mean"] == told["J-Seen"] / 2


def test_no_sequences_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no sequence"):
        evaluate([], CopySegmenter, tmp_path / "out", protocol="folder", run_info=INFO)


# arguments: the data, OUT, the folder of scenes.py, a file to which it adds the name of each sequence it
# begins, seconds a frame
SLOW = """
import sys, time
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from mamp.datasets.sequences import open_dataset
from mamp.segmentation.baseline import CopySegmenter
from mamp.segmentation.evaluate import evaluate

class Slow(CopySegmenter):
    def __init__(self):
        super().__init__()
        with open(sys.argv[4], "a") as log:
            log.write("begun\\n")

    def step(self, frame, mask=None):
        time.sleep(float(sys.argv[5]))
        return super().step(frame, mask)

info = {"weights_sha256": "abc", "config": {"method": {"name": "colour"}}}
sequences = open_dataset("folder", Path(sys.argv[1]))
scores = evaluate(sequences, Slow, Path(sys.argv[2]), protocol="folder", run_info=info, quiet=True)
print("left" if scores is None else "scored")
"""

needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
needs_locks = pytest.mark.skipif(sys.platform == "win32", reason="needs record locks")


@pytest.fixture
def start(root, repository):
    """Begins an evaluation of `root` in another process: start(seconds a frame)."""
    started = []

    def begin(seconds: float) -> subprocess.Popen:
        words = [root, root.parent / "out", Path(__file__).parent, root.parent / "begun", seconds]
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW, *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(repository)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 400
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


def begun(root: Path) -> int:
    """How often a sequence was begun by another process."""
    return len((root.parent / "begun").read_text().split())


@needs_sigkill
def test_a_killed_run_leaves_whole_files_and_goes_on_where_it_was(root, start):
    out = root.parent / "out"
    process = start(0.05)
    wait_for(out / "masks" / "bee" / "00002.png", process)
    process.kill()
    process.wait()
    for file in (out / "masks").rglob("*.png"):
        Image.open(file).load()
    assert len(list((out / "masks" / "bee").glob("*.png"))) < 6
    stepped = []

    class Counting(CopySegmenter):
        def step(self, frame, mask=None):
            stepped.append(mask is not None)
            return super().step(frame, mask)

    assert run(root, Counting) is not None
    assert stepped == [True, *[False] * 5] * 2
    assert not [p for p in (out / "masks").rglob("*") if p.is_file() and p.suffix != ".png"]


@needs_locks
def test_processes_share_the_sequences_and_the_last_one_scores(root, start):
    out = root.parent / "out"
    processes = [start(0.1), start(0.1)]
    told = [process.communicate(timeout=400)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert begun(root) == 3
    assert "scored" in told
    assert json.loads((out / "run.json").read_text())["frames"] == 18
    assert list(json.loads((out / "scores.json").read_text())["sequences"]) == ["ant", "bee", "cat"]


@needs_locks
def test_a_sequence_held_by_another_process_is_left_to_it(root, start, make_segmenter, calls):
    process = start(0.5)
    wait_for(root.parent / "out" / "masks" / "ant" / "00000.png", process)
    assert run(root, make_segmenter) is None
    assert calls == ["build", "start", *["step"] * 5] * 2
    assert not (root.parent / "out" / "scores.json").exists()
    assert process.communicate(timeout=400)[0] == "scored\n"
    assert begun(root) == 1


@needs_sigkill
def test_what_a_killed_process_held_is_taken_up_by_another(root, start):
    doomed = start(10)
    wait_for(root.parent / "out" / "masks" / "ant" / "00000.png", doomed)
    other = start(0.2)
    wait_for(root.parent / "out" / "masks" / "bee" / "00002.png", other)
    doomed.kill()
    assert other.communicate(timeout=400)[0] == "scored\n"
    assert begun(root) == 4  # ant twice
    assert len(list((root.parent / "out" / "masks").rglob("*.png"))) == 18


@needs_locks
def test_who_started_others_waits_for_them_and_scores(root, start, make_segmenter):
    process = start(0.3)
    wait_for(root.parent / "out" / "masks" / "ant" / "00000.png", process)
    assert run(root, make_segmenter, join=lambda: process.wait(400)).means()["J-Mean"] < 1
    assert process.communicate()[0] == "left\n"


def test_a_list_may_name_folders_in_folders(root, make_segmenter):
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "zoo").mkdir()
        (root / kind / "ant").rename(root / kind / "zoo" / "ant")
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("zoo/ant\nbee\n")
    out = root.parent / "out"
    scores = evaluate(
        open_dataset("davis2017", root), make_segmenter, out, protocol="davis2017", run_info=INFO, quiet=True
    )
    assert list(scores.sequences) == ["zoo/ant", "bee"]
    assert (out / "masks" / "zoo" / "ant" / "00005.png").exists()


def test_a_finished_sequence_that_another_process_only_looks_at_is_no_work_in_progress(
    root, make_segmenter, monkeypatch
):
    """Else processes that finish at one time all leave, each for the others, and nobody scores."""
    from mamp.core.files import Locks

    run(root, make_segmenter)
    take = Locks.take
    monkeypatch.setattr(Locks, "take", lambda self, number: number < 2 and take(self, number))
    assert run(root, make_segmenter) is not None


def test_sequences_shared_by_many_processes_are_scored_once_all_are_done(root, tmp_path):
    context = multiprocessing.get_context("fork")
    for trial in range(2):
        out = tmp_path / f"out{trial}"
        workers = [context.Process(target=share, args=(root, out)) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [worker.exitcode for worker in workers] == [0] * 8
        assert (out / "scores.json").exists()


def share(root, out):
    evaluate(open_dataset("folder", root), CopySegmenter, out, protocol="folder", run_info=INFO, quiet=True)
