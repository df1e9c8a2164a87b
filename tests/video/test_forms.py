"""The forms that people take away, read back by plain parsers and by the programs they are for."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from scenes import scene, write_video

from mamp.cli import main
from mamp.core.errors import UserError
from mamp.segmentation.segment import segment
from mamp.video.export import KINDS, Clip, Shot, Wish, open_saver, wishes
from mamp.video.export.folder import export_folder
from mamp.video.export.shapes import polygons
from mamp.video.film import TICKS, Film
from mamp.video.frames import open_frames
from mamp.video.masks import read_mask, write_mask
from mamp.video.overlay import Look, distinct, read_colours

SIZE, COUNT = (40, 56), 6


def blob(t: int) -> np.ndarray:
    """Object 1 with a hole, 2 in two parts, 30 of one pixel; frame 4 shows none."""
    labels = np.zeros(SIZE, np.uint8)
    if t != 4:
        labels[4 + t : 20 + t, 6:24] = 1
        labels[9 + t : 13 + t, 12:16] = 0
        labels[30:36, 30:40] = labels[2:8, 44:50] = 2
        labels[38, 2 + t] = 30
    return labels


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    folder = tmp_path / "masks"
    folder.mkdir()
    for t in range(COUNT):
        write_mask(folder / f"{t:05d}.png", blob(t))
    return folder


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for t in range(COUNT):
        Image.fromarray(picture(t)).save(folder / f"{t:05d}.png")
    return folder


def picture(t: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([4 * x, 6 * y, np.full_like(x, 20 * t)], -1).astype(np.uint8)


def filled(shapes: list[list[tuple[float, float]]], size: tuple[int, int] = SIZE) -> np.ndarray:
    image = Image.new("1", size[::-1])
    for shape in shapes:
        ImageDraw.Draw(image).polygon(shape, fill=1, outline=1)
    return np.asarray(image)


# ---------------------------------------------------------------- polygons


@settings(max_examples=100, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))))
def test_polygons_fill_the_mask_they_were_made_of(mask: np.ndarray) -> None:
    shapes = polygons(mask)
    assert all(len(shape) >= 3 for shape in shapes)
    np.testing.assert_array_equal(filled(shapes, mask.shape), mask)


def test_opencv_fills_them_alike() -> None:
    cv2 = pytest.importorskip("cv2")
    for t in range(COUNT):
        for number in (1, 2, 30):
            canvas = np.zeros(SIZE, np.uint8)
            for shape in polygons(blob(t) == number):
                cv2.fillPoly(canvas, [np.array(shape, np.int32)], 1)
            np.testing.assert_array_equal(canvas, blob(t) == number)


def test_a_part_without_holes_is_one_polygon_with_few_corners() -> None:
    mask = np.zeros((30, 30), bool)
    mask[3:20, 5:25] = True
    assert polygons(mask) == [[(5, 3), (24, 3), (24, 19), (5, 19)]]


# ---------------------------------------------------------------- annotation files


def test_coco_is_read_back_by_pycocotools_and_equals_the_masks(masks: Path, frames: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    path = masks.parent / "coco.json"
    export_folder(Wish("coco", path), masks, video=frames, quiet=True)
    found = coco.COCO(str(path))
    for t in range(COUNT):
        (image,) = found.loadImgs([t + 1])
        assert image["file_name"] == f"{t:05d}.png"
        labels = np.zeros(SIZE, np.uint8)
        for one in found.loadAnns(found.getAnnIds(imgIds=[t + 1])):
            labels[found.annToMask(one) > 0] = one["category_id"]
            assert one["area"] == (blob(t) == one["category_id"]).sum()
        np.testing.assert_array_equal(labels, blob(t))


@pytest.mark.parametrize("cut", [round, int], ids=["rounded", "cut off"])
def test_yolo_is_read_back_by_a_plain_parser_and_equals_the_masks(masks: Path, frames: Path, cut) -> None:
    root = masks.parent / "yolo"
    export_folder(Wish("yolo", root), masks, video=frames, quiet=True)
    height, width = SIZE
    told = [line.split("# object ") for line in (root / "data.yaml").read_text().splitlines() if "#" in line]
    ids = {int(left.split(":")[0]): int(right) for left, right in told}
    for t in range(COUNT):
        labels = np.zeros(SIZE, np.uint8)
        for line in (root / "labels" / f"{t:05d}.txt").read_text().splitlines():
            number, *places = line.split()
            values = [float(v) for v in places]
            assert all(0 <= v <= 1 for v in values) and len(values) >= 6
            shape = [
                (cut(x * width), cut(y * height)) for x, y in zip(values[::2], values[1::2], strict=True)
            ]
            labels[filled([shape])] = ids[int(number)]
        np.testing.assert_array_equal(labels, blob(t))
        assert Image.open(root / "images" / f"{t:05d}.jpg").size == (width, height)


def test_labelme_is_read_back_and_equals_the_masks(masks: Path) -> None:
    root = masks.parent / "labelme"
    export_folder(Wish("labelme", root), masks, quiet=True)
    for t in range(COUNT):
        told = json.loads((root / f"{t:05d}.json").read_text())
        labels = np.zeros(SIZE, np.uint8)
        for shape in told["shapes"]:
            assert shape["label"] == f"object {shape['group_id']}" and shape["shape_type"] == "polygon"
            labels[filled([[tuple(p) for p in shape["points"]]])] = shape["group_id"]
        np.testing.assert_array_equal(labels, blob(t))
        assert (told["imageHeight"], told["imageWidth"]) == SIZE and told["imageData"] is None


def test_the_table_has_area_box_and_centre_of_each_object_and_frame(masks: Path, frames: Path) -> None:
    export_folder(Wish("csv", masks.parent / "t.csv"), masks, video=frames, quiet=True)
    rows = list(csv.DictReader((masks.parent / "t.csv").open()))
    assert len(rows) == 3 * (COUNT - 1)
    for row in rows:
        mask = blob(int(row["frame"])) == int(row["object"])
        y, x = np.nonzero(mask)
        assert int(row["area"]) == mask.sum() and row["confidence"] == ""
        assert [int(row[k]) for k in ("left", "top", "width", "height")] == [
            x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1,
        ]  # fmt: skip
        assert float(row["centre_x"]) == pytest.approx(x.mean(), abs=0.01)
        assert float(row["share"]) == pytest.approx(mask.mean(), abs=1e-6)


# ---------------------------------------------------------------- pictures


def test_cut_outs_are_the_frames_where_objects_are(masks: Path, frames: Path) -> None:
    export_folder(Wish("cutout", masks.parent / "cut"), masks, video=frames, quiet=True)
    for t in range(COUNT):
        found = np.asarray(Image.open(masks.parent / "cut" / f"{t:05d}.png"))
        np.testing.assert_array_equal(found[..., 3], np.where(blob(t) > 0, 255, 0))
        np.testing.assert_array_equal(found[blob(t) > 0, :3], picture(t)[blob(t) > 0])


@pytest.mark.parametrize(("suffix", "codec"), [(".mov", "prores"), (".webm", "libvpx-vp9")])
def test_cut_outs_are_films_with_transparency(masks: Path, frames: Path, suffix: str, codec: str) -> None:
    path = masks.parent / f"cut{suffix}"
    export_folder(Wish("cutout", path), masks, video=frames, quiet=True)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.name in (codec, "vp9")
        decoder = av.CodecContext.create(codec, "r")  # libvpx knows VP9's alpha, libav's own decoder does not
        decoder.extradata = stream.codec_context.extradata
        packets = [packet for packet in film.demux(stream) if packet.size]
        pictures = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    assert len(pictures) == COUNT
    for t, frame in enumerate(pictures):
        if "a" in frame.format.name.replace("gray", ""):
            alpha = frame.to_ndarray(format="rgba")[..., 3]
            assert ((alpha > 127) == (blob(t) > 0)).mean() > 0.98
        else:
            assert suffix == ".webm"  # this build's decoder leaves the alpha out


def test_a_gif_keeps_the_time_and_a_sheet_has_twelve_pictures(tmp_path: Path) -> None:
    seconds = [0.0, 0.1, 0.2, 0.5, 0.6, 0.7, 0.72, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    clip = Clip("clip", [f"{t:05d}" for t in range(15)], fps=10, seconds=seconds, aspect=Fraction(2))
    for kind in ("gif", "sheet"):
        wish = Wish(kind, tmp_path / f"a.{'gif' if kind == 'gif' else 'png'}")
        with open_saver(wish, clip) as saver:
            for t in range(15):
                saver.write(Shot(t, f"{t:05d}", blob(t % 4), picture(t % 6)))
    gif = Image.open(tmp_path / "a.gif")
    assert gif.size == (2 * SIZE[1], SIZE[0]) and gif.n_frames == 14  # one of them is too near
    shown = []
    for t in range(gif.n_frames):
        gif.seek(t)
        shown.append(gif.info["duration"])
    assert shown[:4] == [100, 100, 300, 100] and abs(sum(shown) - 1820) <= 30
    sheet = Image.open(tmp_path / "a.png")
    assert sheet.size == (4 * 320 + 3 * 4, 3 * round(320 * SIZE[0] / (2 * SIZE[1])) + 2 * 4)


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv", ".webm"])
def test_masks_make_a_film_in_every_container(masks: Path, suffix: str) -> None:
    path = masks.parent / f"masks{suffix}"
    export_folder(Wish("mask-video", path), masks, quiet=True)
    with av.open(str(path)) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(pictures) == COUNT
    assert np.abs(pictures[4].astype(int)).max() < 12  # no object
    assert pictures[0][33, 35].argmax() == 1  # object 2 is green


# ---------------------------------------------------------------- times, aspect, sound


TIMES = [0.0, 0.033, 0.066, 0.2, 0.7, 0.733]


def recording(path: Path, *, sound: str | None = "aac") -> Path:
    """A video of variable rate, with wide pixels and sound."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        heard = file.add_stream(sound, rate=48000, layout="mono") if sound else None
        for t, time in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(picture(t), format="rgb24")
            frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        for start in range(0, 48000, 960) if heard else ():
            tone = np.sin((start + np.arange(960)) / 20).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
            file.mux(heard.encode(samples))
        if heard:
            file.mux(heard.encode())
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_film_has_the_times_the_pixel_aspect_and_the_sound_of_its_video(masks: Path, suffix: str) -> None:
    video = recording(masks.parent / "phone.mp4")
    path = masks.parent / f"film{suffix}"
    assert export_folder(Wish("film", path), masks, video=video, quiet=True) == []
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        shown = [float(frame.pts * stream.time_base) for frame in film.decode(stream)]
    np.testing.assert_allclose(np.array(shown) - shown[0], TIMES, atol=0.002)
    with av.open(str(path)) as film, av.open(str(video)) as source:
        copied = [bytes(packet) for packet in film.demux(audio=0) if packet.size]
        known = [bytes(packet) for packet in source.demux(audio=0) if packet.size]
    assert len(copied) > 30 and copied == known[known.index(copied[0]) :][: len(copied)]


def test_a_part_has_its_part_of_the_sound(masks: Path) -> None:
    video = recording(masks.parent / "phone.mp4")
    for name in ("00000", "00001", "00002"):
        (masks / f"{name}.png").unlink()
    path = masks.parent / "film.mkv"
    export_folder(Wish("film", path), masks, video=video, quiet=True)
    with av.open(str(path)) as film:
        shown = [float(f.pts * film.streams.video[0].time_base) for f in film.decode(video=0)]
    with av.open(str(path)) as film:
        audio = film.streams.audio[0]
        heard = [float(p.pts * audio.time_base) for p in film.demux(audio) if p.pts is not None]
    np.testing.assert_allclose(np.array(shown) - shown[0], np.array(TIMES[3:]) - TIMES[3], atol=0.002)
    assert abs(heard[0] - shown[0]) < 0.03 and 0.5 < heard[-1] < 0.8


def test_sound_that_a_container_cannot_hold_is_said_to_be_left_out(masks: Path) -> None:
    video = recording(masks.parent / "phone.mp4")
    (note,) = export_folder(Wish("film", masks.parent / "film.webm"), masks, video=video, quiet=True)
    assert note == "the sound (aac) is left out, as a .webm film cannot hold it; .mkv holds any"
    silent = recording(masks.parent / "silent.mp4", sound=None)
    assert export_folder(Wish("film", masks.parent / "s.mp4"), masks, video=silent, quiet=True) == []


def test_a_film_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"film.avi is not an .mp4, .m4v, .mov, .mkv or .webm; name it so"):
        Film(tmp_path / "film.avi")
    with pytest.raises(UserError, match=r"a .mp4 film has no transparency; name it .mov"):
        Film(tmp_path / "film.mp4", alpha=True)


# ---------------------------------------------------------------- colours


def test_many_objects_have_colours_that_differ() -> None:
    table = distinct().astype(int)
    apart = np.abs(table[1:81, None] - table[None, 1:81]).sum(-1) + 999 * np.eye(80, dtype=int)
    assert apart.min() >= 60 and table[1:].sum(1).min() > 40
    np.testing.assert_array_equal(table[1:4], [[128, 0, 0], [0, 128, 0], [128, 128, 0]])


def test_colours_and_opacity_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"1": "#0000ff", "2": "white"}')
    for text in ("1=#0000ff,2=white", str(tmp_path / "c.json")):
        drawn = Look("blend", 1.0, read_colours(text)).draw(picture(0), blob(0))
        assert drawn[6, 8].tolist() == [0, 0, 255] and drawn[33, 35].tolist() == [255, 255, 255]
        np.testing.assert_array_equal(drawn[0, 0], picture(0)[0, 0])
    shown = Look("mask").draw(picture(0), blob(0))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 4  # background and all three objects


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Look("neon"), "neon is not known; use one of blend, contour, mask"),
        (lambda: Look("blend", 2.0), "opacity 2.0 is not known; give a number from 0 to 1"),
        (lambda: Look("contour", 0.5), "overlay style contour has no opacity to choose"),
        (lambda: read_colours("1=purplish"), "colour 1=purplish is not known; give 1=red"),
        (lambda: read_colours("255=red"), "colour 255=red is not known"),
        (lambda: read_colours("red"), "colour red= is not known"),
    ],
)
def test_a_look_that_is_none_is_refused(make, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# ---------------------------------------------------------------- what is asked for


def test_forms_are_named_after_the_masks_or_go_where_one_says() -> None:
    found = wishes(["gif,cutout=a/film.mov", "csv", " coco = x.json".replace(" ", "")], Path("out/masks"))
    assert [(wish.kind, str(wish.path)) for wish in found] == [
        ("gif", "out/masks-gif.gif"),
        ("cutout", "a/film.mov"),
        ("csv", "out/masks-csv.csv"),
        ("coco", "x.json"),
    ]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("png", "save png is not known; use one of cutout, film"),
        ("gif=a.mp4", "save gif goes to .gif, not to a.mp4; name it so"),
        ("cutout=a.mp4", "save cutout goes to a folder or .mov or .webm, not to a.mp4"),
        ("gif=a.gif,gif=a.gif", "a.gif is asked for twice"),
    ],
)
def test_a_form_that_cannot_be_made_is_refused(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        wishes([word], Path("masks"))


def test_a_folder_without_masks_or_of_another_video_is_refused(masks: Path, frames: Path) -> None:
    with pytest.raises(UserError, match=r"holds no masks; give one of its folders, such as .*frames"):
        export_folder(Wish("coco", masks.parent / "a.json"), masks.parent, quiet=True)
    with pytest.raises(UserError, match="gif shows the frames; give the video with --video"):
        export_folder(Wish("gif", masks.parent / "a.gif"), masks, quiet=True)
    (frames / "00003.png").unlink()
    with pytest.raises(UserError, match=r"1 mask in .* is of no frame of .*, first 00003.png"):
        export_folder(Wish("gif", masks.parent / "a.gif"), masks, video=frames, quiet=True)
    assert not (masks.parent / "a.gif").exists()


# ---------------------------------------------------------------- the commands


def test_segment_saves_what_export_makes_of_its_masks(tmp_path: Path, make_segmenter) -> None:
    video = write_video(tmp_path)
    mask, out = tmp_path / "Annotations" / "clip" / "00000.png", tmp_path / "out"
    kinds = [kind for kind in KINDS if kind != "csv"]
    segment(video, mask, out, make_segmenter, save=wishes(kinds, out), quiet=True)
    for wish in wishes(kinds, tmp_path / "again"):
        assert (
            main(["export", wish.kind, str(out), "--out", str(wish.path), "--video", str(video), "--quiet"])
            == 0
        )
        (first,) = wishes([wish.kind], out)
        assert first.path.exists()
        if wish.kind == "coco":
            told, known = (json.loads(w.path.read_text()) for w in (first, wish))
            assert [one["score"] for one in told["annotations"][:2]] == [1.0, 1.0]
            for one in told["annotations"]:
                assert 0.5 < one.pop("score") <= 1
            assert told == known
        elif wish.path.is_file():
            assert first.path.read_bytes() == wish.path.read_bytes()
        else:
            for file in (path for path in first.path.rglob("*") if path.is_file()):
                assert file.read_bytes() == (wish.path / file.relative_to(first.path)).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == [f"{t:05d}.png" for t in range(6)]


def test_the_table_of_segment_tells_how_sure_each_object_is(tmp_path: Path, make_segmenter) -> None:
    video, out = write_video(tmp_path), tmp_path / "out"
    (tmp_path / "given").mkdir()
    write_mask(tmp_path / "given" / "00003.png", scene(3)[1])
    segment(video, tmp_path / "given", out, make_segmenter, save=wishes(["csv"], out), quiet=True)
    rows = list(csv.DictReader((tmp_path / "out-csv.csv").open()))
    assert len(rows) == 12 and all(0.5 < float(row["confidence"]) <= 1 for row in rows)
    assert [row["confidence"] for row in rows if row["frame"] == "00003"] == ["1.0000", "1.0000"]
    np.testing.assert_array_equal(read_mask(out / "00000.png"), scene(0)[1])


def test_a_form_in_the_place_of_the_video_is_refused(tmp_path: Path, make_segmenter) -> None:
    video = write_video(tmp_path)
    mask, out = tmp_path / "Annotations" / "clip" / "00000.png", tmp_path / "out"
    for place in (video, out):
        with pytest.raises(UserError, match=r"--save cutout .* itself, which would be replaced"):
            segment(video, mask, out, make_segmenter, save=[Wish("cutout", place)], quiet=True)
    assert len(open_frames(video)) == 6 and not out.exists()
