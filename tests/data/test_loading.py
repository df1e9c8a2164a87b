from __future__ import annotations

import contextlib
import pickle
from itertools import islice

import av
import numpy as np
import pytest
import torch
from PIL import Image

from mamp.config import DataConfig, Root
from mamp.data.census import take_census
from mamp.data.clips import Clip, ClipPlan
from mamp.data.datasets import training_sequences
from mamp.data.loading import OPEN_VIDEOS, ClipDataset, ClipLoader, Sample, fit_square
from mamp.errors import UserError


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


def test_only_the_last_few_videos_stay_open(videos):
    sequences = training_sequences([Root(path=videos)])
    dataset = ClipDataset(sequences, size=32, fit="stretch", bad_frame="error")
    closed = []
    for number in range(12):
        source = dataset._source(number)
        source.close = lambda number=number: closed.append(number)
    assert closed == list(range(12 - OPEN_VIDEOS))
    assert len(pickle.dumps(dataset)) < 2 * len(pickle.dumps(sequences))


def test_a_video_that_was_closed_is_read_again_without_being_looked_up(videos, monkeypatch):
    sequences = training_sequences([Root(path=videos)])
    dataset = ClipDataset(sequences, size=32, fit="stretch", bad_frame="error")
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
