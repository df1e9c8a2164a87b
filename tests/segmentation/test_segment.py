import re

import av
import numpy as np
import pytest
from PIL import Image
from scenes import scene, write_video

from mamp.core.errors import UserError
from mamp.segmentation.segment import segment
from mamp.video.masks import read_mask, write_mask
from mamp.video.parts import Part


@pytest.fixture
def clip(tmp_path):
    """Six frames with masks, and a place for results."""
    frames = write_video(tmp_path)
    return frames, tmp_path / "Annotations" / "clip", tmp_path / "out"


def test_every_frame_gets_a_mask_of_its_name_and_size(clip, make_segmenter):
    frames, masks, out = clip
    timing = segment(frames, masks / "00000.png", out, make_segmenter, quiet=True)
    assert timing.frames == 6
    assert sorted(p.name for p in out.iterdir()) == [f"{t:05d}.png" for t in range(6)]
    for t in range(6):
        np.testing.assert_array_equal(read_mask(out / f"{t:05d}.png"), scene(t)[1])


def test_ids_above_254_are_kept_in_16_bit_files(tmp_path, make_segmenter):
    frames = write_video(tmp_path, ids=(7, 300))
    segment(
        frames, tmp_path / "Annotations" / "clip" / "00000.png", tmp_path / "out", make_segmenter, quiet=True
    )
    last = read_mask(tmp_path / "out" / "00005.png")
    assert last.dtype == np.uint16
    np.testing.assert_array_equal(last, scene(5, (7, 300))[1])


def test_a_folder_of_masks_gives_late_objects_and_frames_before_the_first_mask_are_background(
    clip, make_segmenter, calls
):
    frames, masks, out = clip
    for t in (0, 1, 3, 5):
        (masks / f"{t:05d}.png").unlink()
    truth = scene(2)[1]
    write_mask(masks / "00002.png", np.where(truth == 1, 1, 0))
    segment(frames, masks, out, make_segmenter, direction="forward", quiet=True)
    assert not read_mask(out / "00001.png").any()
    assert np.unique(read_mask(out / "00003.png")).tolist() == [0, 1]
    np.testing.assert_array_equal(read_mask(out / "00005.png"), scene(5)[1])
    assert calls == ["build", "start", "step", "step", "correct [0]", "add 1", "step"]


def test_each_frame_is_decoded_once(clip, make_segmenter, calls, monkeypatch):
    from mamp.video import frames as module

    decoded = []
    read = module.read_image
    monkeypatch.setattr(module, "read_image", lambda path: decoded.append(path.name) or read(path))
    frames, masks, out = clip
    segment(frames, masks / "00000.png", out, make_segmenter, quiet=True)
    assert decoded == [f"{t:05d}.jpg" for t in range(6)]
    assert calls == ["build", "start", *["step"] * 5]


@pytest.mark.parametrize("style", ["blend", "contour"])
def test_the_overlay_has_every_frame(clip, make_segmenter, style):
    frames, masks, out = clip
    film = out.parent / "films" / "clip.mp4"
    segment(frames, masks / "00000.png", out, make_segmenter, overlay=film, overlay_style=style, quiet=True)
    with av.open(str(film)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert sum(1 for _ in container.decode(video=0)) == 6
    assert [p.name for p in film.parent.iterdir()] == ["clip.mp4"]


def test_a_video_file_is_segmented_under_its_frames_numbers(clip, make_segmenter):
    from mamp.video.overlay import Film

    _, masks, out = clip
    video = out.parent / "clip.mp4"
    with Film(video, fps=12.5) as film:
        for t in range(6):
            film.write(scene(t)[0])
    overlay = out.parent / "overlay.mp4"
    segment(video, masks / "00000.png", out, make_segmenter, overlay=overlay, quiet=True)
    assert sorted(p.stem for p in out.iterdir()) == [f"{t:05d}" for t in range(6)]
    assert (read_mask(out / "00005.png") == scene(5)[1]).mean() > 0.95
    with av.open(str(overlay)) as container:
        assert container.streams.video[0].average_rate == 12.5


def test_a_frame_cut_short_keeps_the_finished_masks_and_leaves_no_partial_file(clip, make_segmenter):
    frames, masks, out = clip
    bad = frames / "00004.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(UserError, match="00004.jpg is cut short"):
        segment(frames, masks / "00000.png", out, make_segmenter, overlay=out / "film.mp4", quiet=True)
    assert sorted(p.name for p in out.iterdir()) == [f"{t:05d}.png" for t in range(4)]
    np.testing.assert_array_equal(read_mask(out / "00003.png"), scene(3)[1])


def test_what_a_killed_run_left_half_written_is_removed(clip, make_segmenter):
    frames, masks, out = clip
    out.mkdir()
    (out / ".00003.png.77.partial").write_bytes(b"half")
    segment(frames, masks / "00000.png", out, make_segmenter, quiet=True)
    assert sorted(p.name for p in out.iterdir()) == [f"{t:05d}.png" for t in range(6)]


def test_a_bad_frame_may_be_repeated_or_skipped(clip, make_segmenter):
    frames, masks, out = clip
    (frames / "00003.jpg").write_bytes(b"")
    segment(frames, masks / "00000.png", out, make_segmenter, bad_frame="skip", quiet=True)
    assert not (out / "00003.png").exists() and (out / "00005.png").exists()
    segment(frames, masks / "00000.png", out, make_segmenter, bad_frame="repeat", quiet=True)
    np.testing.assert_array_equal(read_mask(out / "00003.png"), scene(2)[1])


def test_a_mask_of_another_size_is_refused(clip, make_segmenter):
    frames, masks, out = clip
    write_mask(masks / "00000.png", np.ones((10, 10), np.uint8))
    with pytest.raises(UserError, match="00000.png is 10x10 pixels and its frame 32x24"):
        segment(frames, masks / "00000.png", out, make_segmenter, quiet=True)
    assert not out.exists()


def test_a_mask_without_objects_is_refused(clip, make_segmenter):
    frames, masks, out = clip
    write_mask(masks / "00000.png", np.zeros((24, 32), np.uint8))
    with pytest.raises(UserError, match="00000.png has no object"):
        segment(frames, masks / "00000.png", out / "below", make_segmenter, quiet=True)
    assert not out.exists()


def test_a_mask_named_like_no_frame_is_refused_with_the_nearest_names(clip, make_segmenter):
    frames, masks, out = clip
    (masks / "00003.png").rename(masks / "00033.png")
    with pytest.raises(
        UserError,
        match=r"00033.png has no frame of its name; frames are named 00000 to \d+, the nearest are 0000\d, ",
    ):
        segment(frames, masks, out, make_segmenter, quiet=True)


def test_an_out_that_cannot_be_written_is_refused_before_a_frame_is_read(clip, make_segmenter, calls):
    frames, masks, out = clip
    out.write_text("a file where the folder should be")
    for place in (out, out / "below"):
        with pytest.raises(
            UserError,
            match="out.*(cannot be written to|is a file where a folder should be).*; choose another",
        ):
            segment(frames, masks / "00000.png", place, make_segmenter, quiet=True)
    assert calls == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlay_style": "neon"}, "neon is not known; use one of blend, contour"),
        ({"overlay": "film.avi"}, "not an .mp4"),
    ],
)
def test_an_overlay_that_cannot_be_made_is_refused(clip, make_segmenter, options, message):
    frames, masks, out = clip
    if "overlay" in options:
        options = {"overlay": out / options["overlay"]}
    with pytest.raises(UserError, match=message):
        segment(frames, masks / "00000.png", out, make_segmenter, quiet=True, **options)


def test_progress_goes_to_standard_error_with_speed_and_time_left(clip, make_segmenter, capsys):
    frames, masks, out = clip
    segment(frames, masks / "00000.png", out, make_segmenter)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "6 of 6 frames" in captured.err and "frames/s, 0:00:00 left" in captured.err


def test_frames_of_both_ways_are_counted_as_steps(clip, make_segmenter, capsys):
    frames, masks, out = clip
    segment(frames, masks / "00000.png", out, make_segmenter, at=3)
    captured = capsys.readouterr().err
    assert "clip: 6 frames, 7 steps both ways," in captured and "7 of 7 steps" in captured


class _Slowing:
    """A clock whose steps take longer and longer."""

    def __init__(self):
        self.now, self.step = 0.0, 1.0

    def monotonic(self):
        self.now, self.step = self.now + self.step, self.step * 4
        return self.now


def test_a_run_that_becomes_slower_says_what_it_will_cost_now(clip, make_segmenter, capsys, monkeypatch):
    frames, masks, out = clip
    monkeypatch.setattr("mamp.core.progress.time", _Slowing())
    segment(frames, masks / "00000.png", out, make_segmenter)
    captured = capsys.readouterr().err
    assert captured.count("s a frame, about") > captured.count("slower now,") >= 1


def test_a_photograph_given_as_a_mask_is_refused(clip, make_segmenter):
    frames, masks, out = clip
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(masks / "00000.png")
    with pytest.raises(UserError, match="photograph"):
        segment(frames, masks / "00000.png", out, make_segmenter, quiet=True)


def test_masks_of_another_video_in_out_are_not_left_to_pass_for_this_one(clip, make_segmenter):
    frames, masks, out = clip
    out.mkdir()
    write_mask(out / "00099.png", scene(0)[1])
    with pytest.raises(
        UserError, match=r"holds 1 mask of no frame of this video, first 00099\.png; remove them"
    ):
        segment(frames, masks / "00000.png", out, make_segmenter, quiet=True)
    assert [p.name for p in out.iterdir()] == ["00099.png"]


@pytest.mark.parametrize("part", [Part(max_frames=3), Part(every=2), Part(start=2), Part(end=1)])
def test_masks_of_a_longer_run_are_named_as_such(clip, make_segmenter, part):
    frames, masks, out = clip
    segment(frames, masks / "00000.png", out, make_segmenter, quiet=True)
    with pytest.raises(UserError, match=r"holds \d masks? of frames that this run leaves out, first 0000\d"):
        segment(frames, masks / "00000.png", out, make_segmenter, part=part, quiet=True)
    assert len(list(out.glob("*.png"))) == 6


@pytest.mark.parametrize(
    ("part", "at"),
    [
        (Part(max_frames=3), "4"),
        (Part(every=2), "00003"),
        (Part(start=2), 1),
        (Part(end=1), "00002"),
    ],
)
def test_a_mask_of_a_frame_outside_the_part_is_refused(clip, make_segmenter, part, at):
    frames, masks, out = clip
    with pytest.raises(UserError, match=r"--at \S+ is frame 0000\d, which this run leaves out: it uses"):
        segment(frames, masks / "00000.png", out, make_segmenter, part=part, at=at, quiet=True)
    assert not out.exists()


def test_the_same_video_again_replaces_its_masks_and_says_so(clip, make_segmenter, capsys):
    frames, masks, out = clip
    for _ in range(2):
        timing = segment(frames, masks / "00000.png", out, make_segmenter)
        assert timing.frames == len(list(out.iterdir())) == 6
    assert capsys.readouterr().err.count(f"{out} holds 6 masks of an earlier run") == 1


def test_the_cost_is_said_after_two_frames(clip, make_segmenter, capsys):
    frames, masks, out = clip
    segment(frames, masks / "00000.png", out, make_segmenter)
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "a frame" in x]
    assert re.fullmatch(
        rf"clip: 6 frames, \S+ s a frame, about 0:00:0\d left, [\d,]+ MB of memory; masks go to {out}", line
    )
