from __future__ import annotations

import contextlib
import errno
import gc
import multiprocessing
import os
import pickle
import re
import signal
import time
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from mamp.config import DataConfig, Root
from mamp.config.pack import PackConfig
from mamp.core.errors import UserError
from mamp.datasets.sequences import Sequence as Video
from mamp.datasets.sequences import training_sequences
from mamp.loading import limits
from mamp.loading import loader as loading
from mamp.loading.census import take_census
from mamp.loading.clips import Clip, ClipPlan
from mamp.loading.loader import OPEN_VIDEOS, ClipDataset, ClipLoader, Sample, fit_square
from mamp.tools.pack import pack
from mamp.video.frames import FrameFolder, read_image, read_scaled


@pytest.fixture
def videos(tmp_path):
    """Twelve folders of ten noisy frames, 40x48."""
    rng = np.random.default_rng(0)
    for video in range(12):
        folder = tmp_path / f"video{video:02d}"
        folder.mkdir()
        for frame in range(10):
            pixels = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((48, 40)).save(folder / f"{frame:05d}.jpg")
    return tmp_path


def loader(root, *, batch=4, **data):
    knobs = DataConfig(**{"root": [str(root)], "size": 32, "sampling": "random", "workers": 0, **data})
    sequences = training_sequences(knobs.root)
    census = take_census(sequences, bad_frame=knobs.bad_frame)
    return ClipLoader(sequences, ClipPlan(census, knobs, frames=2, batch=batch, seed=3), knobs)


def first(batches, count):
    with contextlib.closing(batches):
        return list(islice(batches, count))


def same(one, other):
    return all(torch.equal(a[0], b[0]) and a[2] == b[2] for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_the_number_of_workers_changes_nothing(videos, fit):
    alone = first(loader(videos, fit=fit).batches(), 5)
    helped = first(loader(videos, fit=fit, workers=2).batches(), 5)
    assert same(alone, helped)
    assert alone[0][0].shape == (4, 2, 3, 32, 32) and alone[0][0].dtype == torch.uint8


def test_batches_from_a_later_step_are_those_of_an_undisturbed_run(videos):
    whole = first(loader(videos, fit="crop").batches(), 8)  # three steps an epoch
    assert same(whole[4:], first(loader(videos, fit="crop").batches(4), 4))


def test_a_batch_says_what_it_is_made_of(videos):
    frames, labels, clips = first(loader(videos, fit="stretch").batches(), 1)[0]
    assert labels is None and len(clips) == 4
    read = np.asarray(Image.open(videos / clips[2]["sequence"] / f"{clips[2]['frames'][1]}.jpg"))
    expected = fit_square(read, 32, place=None).transpose(2, 0, 1)
    np.testing.assert_array_equal(frames[2, 1].numpy(), expected)


def test_a_crop_is_one_square_for_all_frames_of_a_clip(videos):
    still = videos / "still"
    for video in range(4):
        (still / f"{video}").mkdir(parents=True)
        for frame in range(10):
            (still / f"{video}" / f"{frame}.jpg").write_bytes(
                (videos / f"video{video:02d}" / "00000.jpg").read_bytes()
            )
    frames = first(loader(still, fit="crop").batches(), 1)[0][0]
    assert torch.equal(frames[:, 0], frames[:, 1])
    again = first(loader(still, fit="crop").batches(1), 1)[0]
    assert not torch.equal(frames.sort(0).values, again[0].sort(0).values), "another step takes other squares"


def test_the_place_of_a_crop_runs_from_one_side_to_the_other():
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 40, axis=0).repeat(
        3, axis=2
    )  # 40x100
    assert fit_square(ramp, 40, place=(0, 0))[0, :, 0].tolist() == list(range(0, 80, 2))
    assert fit_square(ramp, 40, place=(1, 1))[0, :, 0].tolist() == list(range(120, 200, 2))


def test_a_frame_of_the_right_size_is_left_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_square(frame, 32, place=None), frame)
    np.testing.assert_array_equal(fit_square(frame, 32, place=(0.3, 0.9)), frame)


def test_workers_read_video_files_after_this_process_has_used_decord(tmp_path):
    pytest.importorskip("decord")
    noise = np.random.default_rng(0)
    for number in range(4):
        with av.open(str(tmp_path / f"{number}.mp4"), "w") as file:
            stream = file.add_stream("libx264", rate=24)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(8):
                pixels = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode(None))
    alone = loader(tmp_path)
    for number in range(4):  # reading in order from the first frame is decord's work
        list(alone.dataset.videos[number].open().stream())
    assert same(first(alone.batches(), 3), first(loader(tmp_path, workers=1).batches(), 3))


def test_load_size_is_what_the_workers_hand_over(videos):
    assert first(loader(videos, load_size=40).batches(), 1)[0][0].shape[-2:] == (40, 40)


# ---------------------------------------------------------------- JPEG decoded smaller


@pytest.fixture
def large(tmp_path):
    """Smooth frames of 400x300, in JPEG but for one."""
    folder = tmp_path / "large" / "video"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for frame in range(8):
        pixels = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        pixels.resize((400, 300), Image.Resampling.BICUBIC).save(
            folder / f"{frame:05d}.{'png' if frame == 5 else 'jpg'}", quality=95
        )
    return tmp_path / "large"


def test_jpeg_is_decoded_as_small_as_the_crop_allows(large, monkeypatch):
    shapes = set()
    honest = loading.fit_square
    monkeypatch.setattr(
        loading, "fit_square", lambda f, *a, **k: shapes.add(f.shape[:2]) or honest(f, *a, **k)
    )
    knobs = {"fit": "crop", "load_size": 64, "batch": 1}
    scaled = first(loader(large, **knobs).batches(), 6)
    assert shapes == {(75, 100), (300, 400)}, "a PNG has one size only"
    full = first(loader(large, scaled_jpeg=False, **knobs).batches(), 6)
    for one, other in zip(scaled, full, strict=True):
        assert one[2] == other[2]
        assert (one[0].float() - other[0].float()).abs().mean() < 4


def test_stretched_frames_are_decoded_in_full(large):
    knobs = {"fit": "stretch", "load_size": 64, "batch": 1}
    assert same(
        first(loader(large, **knobs).batches(), 4),
        first(loader(large, scaled_jpeg=False, **knobs).batches(), 4),
    )


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_scaled_frames_are_upright_and_of_the_size_their_files_tell(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    ramp = np.add.outer(np.arange(300), np.arange(400)).astype(np.float32) * 255 / 700
    Image.fromarray(ramp.astype(np.uint8)).convert("RGB").save(tmp_path / "1.jpg", exif=exif, quality=95)
    frame, size = read_scaled(tmp_path / "1.jpg", 100)
    full = read_image(tmp_path / "1.jpg")
    assert size == full.shape[:2] and frame.shape[:2] == tuple(side // 2 for side in size)
    assert np.abs(full[::2, ::2].astype(int) - frame).mean() < 4


# ---------------------------------------------------------------- bad frames


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_frame_is_told_in_the_reader_s_one_sentence(videos, workers):
    for frame in (videos / "video03").iterdir():
        cut(frame)
    with pytest.raises(UserError) as caught:
        first(loader(videos, workers=workers).batches(), 6)
    assert "video03" in str(caught.value) and "\n" not in str(caught.value)


def test_skip_takes_another_clip_for_one_with_a_bad_frame(videos):
    for frame in (videos / "video03").iterdir():
        cut(frame)
    batches = first(loader(videos, bad_frame="skip").batches(), 6)
    assert all(clip["sequence"] != "video03" for _, _, clips in batches for clip in clips)
    helped = first(loader(videos, bad_frame="skip", workers=2).batches(), 6)
    assert same(batches, helped)


def test_skip_gives_up_when_nothing_can_be_read(videos):
    for frame in videos.glob("video*/*.jpg"):
        cut(frame)
    with pytest.raises(UserError, match="cut short"):
        first(loader(videos, bad_frame="skip").batches(), 1)


def test_repeat_gives_the_good_frame_before_a_bad_one(videos):
    for video in videos.iterdir():
        for frame in range(1, 10):
            cut(video / f"{frame:05d}.jpg")
    frames = first(loader(videos, bad_frame="repeat").batches(), 1)[0][0]
    assert torch.equal(frames[:, 0], frames[:, 1])


# ---------------------------------------------------------------- time


class Odd(Video):
    """A video whose reading is no reading."""

    def open(self, *, bad_frame="error", at_least=None):
        if self.name == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})  # as a decoder that never comes back
        time.sleep(600)


class DeadDisk(FrameFolder):
    def _decode(self, index):
        time.sleep(600)


class Waiting(Video):
    """A video on a disk that does not answer."""

    def open(self, *, bad_frame="error", at_least=None):
        return DeadDisk(self.source, bad_frame=bad_frame)


def waiting(there):
    """The loader, with a video that does not answer among its videos."""
    there.dataset.videos = [
        Waiting(name=v.name, source=v.source) if v.name == "video03" else v for v in there.dataset.videos
    ]
    return there


needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")


@needs_timers
@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_does_not_answer_is_named(videos, workers):
    there = loader(videos, workers=workers, sample_seconds=0.5)
    with pytest.raises(UserError) as caught:
        first(waiting(there).batches(), 6)
    assert re.fullmatch(
        r".*video03/0000\d.jpg takes more than 0.5 s to read; see that its disk answers and the file is"
        r" sound, "
        "or raise data.sample_seconds",
        str(caught.value),
    )


@needs_timers
def test_skip_takes_another_clip_for_one_that_takes_too_long(videos):
    before = signal.getsignal(signal.SIGALRM)
    batches = first(waiting(loader(videos, bad_frame="skip", sample_seconds=0.3)).batches(), 3)
    assert all(clip["sequence"] != "video03" for _, _, clips in batches for clip in clips)
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL)[0] == 0


@needs_timers
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stuck", "stuck/source takes more than 0.5 s to read"),
        ("dies", "a loader process died while it read .*dies/source; see that the file is sound"),
    ],
)
def test_a_worker_that_never_comes_back_is_given_up_and_its_file_named(videos, monkeypatch, name, message):
    monkeypatch.setattr(limits, "GRACE", 0.2)
    there = loader(videos, workers=2, sample_seconds=0.5)
    odd = Odd(name=name, source=videos / name / "source")
    there.dataset.videos = [odd if video.name == "video03" else video for video in there.dataset.videos]
    began = time.monotonic()
    with pytest.raises(UserError, match=message):
        first(there.batches(), 6)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("DataLoader worker (pid 999999) is killed by signal: Killed.", "a loader process was killed, as"),
        ("DataLoader worker (pid(s) 999999) exited unexpectedly", "lower data.workers or data.load_size"),
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible", "out of shared memory"),
    ],
)
def test_a_worker_killed_between_two_files_is_said_plainly(message, said):
    def broken():
        raise RuntimeError(message)
        yield

    with pytest.raises(UserError, match=said):
        list(limits.watched(broken(), limits.Board(1, multiprocessing.get_context()), 5.0))


class Greedy(Video):
    """A video that takes all memory, or whose disk fails."""

    def open(self, *, bad_frame="error", at_least=None):
        if self.name == "greedy":
            raise MemoryError
        raise OSError(errno.EIO, "Input/output error", str(self.source))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("name", "said"), [("greedy", "memory .* is full"), ("disk", "disk answers")])
def test_what_the_system_refuses_a_worker_is_one_sentence(videos, workers, name, said):
    there = loader(videos, workers=workers)
    odd = Greedy(name=name, source=videos / name)
    there.dataset.videos = [odd if video.name == "video03" else video for video in there.dataset.videos]
    with pytest.raises(UserError, match=said) as caught:
        first(there.batches(), 6)
    assert name in str(caught.value) and "Traceback" not in str(caught.value)


# ---------------------------------------------------------------- what is held


def held():
    """Open files and resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["frames", "video", "packed"])
def test_a_long_run_holds_no_more_than_a_short_one(videos, tmp_path_factory, kind):
    root = videos
    if kind != "frames":
        root = tmp_path_factory.mktemp("more") / "packed"
        pack(Root(path=videos), root, PackConfig(size=32), quiet=True)
    if kind == "video":
        (root / "pack.json").unlink()
    with contextlib.closing(loader(root, batch=2, clips_per_video=3).batches()) as batches:
        for _ in islice(batches, 150):
            pass
        files, memory = held()
        for _ in islice(batches, 450):
            pass
        assert held()[0] <= files
        assert held()[1] - memory < (30e6 if kind == "video" else 6e6), "FFmpeg's arenas settle slowly"


def test_workers_give_batch_after_batch_and_leave_nothing_open(videos):
    def files():
        return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0

    def settled(most):
        """Whether no more than so many files are open; queues of workers that ended close a moment later."""
        end = time.monotonic() + 20
        while (gc.collect(), files())[1] > most and time.monotonic() < end:
            time.sleep(0.1)
        return files() <= most

    first(loader(videos, workers=2).batches(), 2)
    gc.collect()
    before = files()
    assert len(first(loader(videos, workers=2, batch=2).batches(), 200)) == 200
    assert settled(before)


def test_only_the_last_few_videos_stay_open(videos, monkeypatch):
    sequences = training_sequences([Root(path=videos)])
    dataset = ClipDataset(sequences, size=(32, 32), fit="stretch", bad_frame="error")
    closed, look_up = [], type(sequences[0]).open

    def noted(sequence, *args, **kwargs):
        source = look_up(sequence, *args, **kwargs)
        source.close = lambda: closed.append(sequences.index(sequence))
        return source

    monkeypatch.setattr(type(sequences[0]), "open", noted)
    for number in range(12):
        dataset[Sample(Clip(number, (0, 5)), (0, 0, number))]
    assert closed == list(range(12 - OPEN_VIDEOS))
    assert len(pickle.dumps(dataset)) < 2 * len(pickle.dumps(sequences))


def test_a_video_that_was_closed_is_read_again_without_being_looked_up(videos, monkeypatch):
    sequences = training_sequences([Root(path=videos)])
    dataset = ClipDataset(sequences, size=(32, 32), fit="stretch", bad_frame="error")
    samples = [Sample(Clip(number, (0, 5)), (0, 0, number)) for number in range(12)]
    before = [dataset[sample][0] for sample in samples]
    monkeypatch.setattr(type(sequences[0]), "open", lambda *_, **__: pytest.fail("looked up twice"))
    np.testing.assert_array_equal([dataset[sample][0] for sample in samples], before)


def test_the_census_changes_with_the_videos(videos):
    sequences = training_sequences([Root(path=videos)])
    census = take_census(sequences)
    assert census.counts == (10,) * 12 and census.frames == 120
    (videos / "video05" / "00009.jpg").unlink()
    assert take_census(training_sequences([Root(path=videos)])).digest != census.digest


def test_stretching_is_the_published_resize():
    cv2 = pytest.importorskip("cv2", reason="the extra opencv is not installed")
    frame = np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    published = cv2.resize(frame.astype(np.float32), (32, 32))
    assert np.abs(fit_square(frame, 32, place=None) - published).max() <= 0.51
