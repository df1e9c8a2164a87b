"""What a folder is, and what is broken in it."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mamp.cli import main
from mamp.config import Root
from mamp.config.pack import PackConfig
from mamp.core.errors import UserError
from mamp.tools.check import Report, check
from mamp.tools.examine import KINDS, numbering
from mamp.tools.pack import pack
from mamp.video.masks import write_mask

H, W = 24, 32


def frames(folder: Path, numbers: range, size: tuple[int, int] = (W, H)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    for number in numbers:
        Image.fromarray(pixels).save(folder / f"{number:05d}.jpg")


def masks(folder: Path, numbers: range, ids: tuple[int, ...] = (1,), size: tuple[int, int] = (W, H)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.zeros((size[1], size[0]), np.uint8)
    for place, number in enumerate(ids):
        labels[2:8, 6 * place : 6 * place + 4] = number
    for number in numbers:
        write_mask(folder / f"{number:05d}.png", labels)


def video(path: Path, count: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = H, W, "yuv420p"
        for _ in range(count):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        file.mux(stream.encode())


def text(file: Path, words: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(words)


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    root = tmp_path / "DAVIS"
    for name in ("bear", "dog"):
        frames(root / "JPEGImages/480p" / name, range(4))
        masks(root / "Annotations/480p" / name, range(4))
    text(root / "ImageSets/2017/train.txt", "bear\n")
    text(root / "ImageSets/2017/val.txt", "dog\n")
    return root


@pytest.fixture
def youtube(tmp_path: Path) -> Path:
    """train (every fifth frame), train_all_frames and valid, each with one video."""
    root = tmp_path / "YT"
    for split in ("train", "valid"):
        listed = [f"{n:05d}" for n in range(0, 20, 5)]
        late = {"category": "dog", "frames": listed[2:]}
        objects = {"1": {"category": "cat", "frames": listed}, "2": late}
        text(root / split / "meta.json", json.dumps({"videos": {"0a": {"objects": objects}}}))
        frames(root / split / "JPEGImages/0a", range(0, 20, 5))
    masks(root / "train/Annotations/0a", range(0, 20, 5), (1, 2))
    masks(root / "valid/Annotations/0a", range(0, 20, 10), (1, 2))
    frames(root / "train_all_frames/JPEGImages/0a", range(20))
    return root


def look(root: Path, level: str = "normal") -> Report:
    return check(root, level=level, processes=1, quiet=True)  # type: ignore[arg-type]


def only(report: Report, kind: str) -> str:
    """The one problem, which is of this kind."""
    assert list(report.problems) == [kind], report.text()
    assert len(report.problems[kind]) == 1
    return report.problems[kind][0]


# ---------------------------------------------------------------- what it is


def test_davis2017_is_known_with_its_lists(davis: Path) -> None:
    report = look(davis)
    assert report.lines == [
        (
            f"{davis}: DAVIS-2017 at 480p, train (1 of 60 published), val (1 of 30 published), every frame,"
            " 32x24"
        ),
        "  2 videos, 8 frames, 8 masks",
    ]
    assert report.text().endswith("\n\nnothing is broken")


def test_davis2016_is_known_by_its_lists_of_frames(davis: Path) -> None:
    (davis / "ImageSets/2017").rename(davis / "ImageSets/480p")
    text(davis / "ImageSets/480p/val.txt", "/JPEGImages/480p/dog/00000.jpg /Annotations/480p/dog/00000.png\n")
    assert "DAVIS-2016 at 480p, train (1 of 30 published), val (1 of 20 published)" in look(davis).lines[0]


def test_davis_has_a_part_for_each_size(davis: Path) -> None:
    for name in ("bear", "dog"):
        frames(davis / "JPEGImages/1080p" / name, range(4), (64, 48))
        masks(davis / "Annotations/1080p" / name, range(4), size=(64, 48))
    lines = look(davis).lines
    assert "at 480p" in lines[0] and "32x24" in lines[0] and "at 1080p" in lines[2] and "64x48" in lines[2]


def test_test_dev_wants_first_masks_only(davis: Path) -> None:
    for file in (davis / "ImageSets/2017").iterdir():
        file.unlink()
    text(davis / "ImageSets/2017/test-dev.txt", "bear\ndog\n")
    for name in ("bear", "dog"):
        for number in (1, 2, 3):
            (davis / "Annotations/480p" / name / f"{number:05d}.png").unlink()
    report = look(davis)
    assert "DAVIS-2017 at 480p, test-dev (2 of 30 published)" in report.lines[0] and not report.count


def test_youtubevos_tells_every_frame_from_every_fifth(youtube: Path) -> None:
    report = look(youtube)
    assert [line.partition(": ")[2] for line in report.lines[::2]] == [
        "YouTube-VOS train (1 of 3471 published), every fifth frame, 32x24",
        "YouTube-VOS train (1 of 3471 published), every frame, 32x24",
        "YouTube-VOS valid (1 of 474 or 507 published), every fifth frame, 32x24",
    ]
    assert report.lines[1::2] == [
        "  1 video, 4 frames, 4 masks",
        "  1 video, 20 frames, no masks",
        "  1 video, 4 frames, 2 masks",
    ]
    assert not report.count
    assert look(youtube / "valid").lines[0].startswith(f"{youtube / 'valid'}: YouTube-VOS valid")


def test_long_videos_have_truth_here_and_there(tmp_path: Path) -> None:
    for name in ("blueboy", "rat"):
        frames(tmp_path / "JPEGImages" / name, range(9))
        masks(tmp_path / "Annotations" / name, range(0, 9, 4))
    report = look(tmp_path)
    assert "Long Videos, every frame" in report.lines[0] and not report.count


def test_plain_folders_and_videos_are_known(tmp_path: Path) -> None:
    frames(tmp_path / "a/one", range(3))
    video(tmp_path / "a/two.mp4")
    masks(tmp_path / "a/Annotations/one", range(1))
    report = look(tmp_path / "a")
    assert "a folder of video files and frame folders" in report.lines[0]
    assert report.lines[1] == "  2 videos, 15 frames, 1 mask" and not report.count
    assert "a folder of frames" in look(tmp_path / "a/one").lines[0]
    assert "a video file, 32x24" in look(tmp_path / "a/two.mp4").lines[0]


def test_a_packed_folder_is_compared_with_its_index(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        frames(tmp_path / "frames" / name, range(4))
    root = tmp_path / "packed"
    pack(Root(path=tmp_path / "frames"), root, PackConfig(size=32), quiet=True)
    report = look(root, "deep")
    assert "a packed folder" in report.lines[0] and not report.count
    assert report.lines[1].startswith("  3 videos, 12 frames")
    content = (root / "a.mp4").read_bytes()
    (root / "a.mp4").write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert not look(root).count
    assert "another checksum" in only(look(root, "deep"), "packed")
    (root / "a.mp4").write_bytes(content + b"x")
    (root / "b.mp4").unlink()
    video(root / "new.mp4")
    report = look(root)
    assert list(report.problems) == ["absent", "packed"] and "b.mp4" in report.problems["absent"][0]
    assert "1 video file is not in pack.json: new.mp4" in report.text()
    text(root / "pack.json", "{")
    assert "is no index of packed video" in only(look(root), "list")


def test_a_folder_of_nothing_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    text(tmp_path / "a/readme.txt", "x")
    with pytest.raises(UserError, match=r"a is no data set, .*\(it holds b\)"):
        check(tmp_path / "a")
    with pytest.raises(UserError, match="nowhere does not exist"):
        check(tmp_path / "nowhere")


# ---------------------------------------------------------------- what is broken


def test_a_frame_cut_short_is_found_without_decoding_it(davis: Path) -> None:
    file = davis / "JPEGImages/480p/dog/00002.jpg"
    file.write_bytes(file.read_bytes()[:-40])
    assert only(look(davis), "frame").startswith(f"{file} is cut short after")
    assert not look(davis, "fast").count


def test_a_frame_damaged_inside_is_found_by_decoding_it(davis: Path) -> None:
    file = davis / "JPEGImages/480p/dog/00002.png"
    Image.open(file.with_suffix(".jpg")).save(file)
    file.with_suffix(".jpg").unlink()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    assert not look(davis).count
    assert str(file) in only(look(davis, "deep"), "frame")


def test_an_image_with_bytes_behind_its_end_is_whole(davis: Path) -> None:
    file = davis / "JPEGImages/480p/dog/00002.jpg"
    file.write_bytes(file.read_bytes() + bytes(1000))
    assert not look(davis).count and not look(davis, "deep").count


@pytest.mark.parametrize("level", ["fast", "normal", "deep"])
def test_an_empty_file_is_always_found(davis: Path, level: str) -> None:
    (davis / "JPEGImages/480p/dog/00002.jpg").write_bytes(b"")
    assert "00002.jpg is empty" in only(look(davis, level), "frame")


def test_a_gap_in_the_numbering_is_told(davis: Path) -> None:
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
        (davis / kind / "480p/dog" / f"00002.{suffix}").unlink()
    assert "dog: from 00001 to 00003 (elsewhere in steps of 1)" in only(look(davis), "gap")


@pytest.mark.parametrize(
    ("names", "step", "gaps"),
    [
        (["00000", "00005", "00010"], 5, []),
        (["f1", "f2", "f4", "f5"], 1, [("f2", "f4")]),
        (["a1", "b2"], None, []),
        (["x", "y"], None, []),
        (["7"], None, []),
    ],
)
def test_numbering(names: list[str], step: int | None, gaps: list[tuple[str, str]]) -> None:
    assert numbering(names) == (step, gaps)


def test_frames_that_lists_call_for_are_missed(davis: Path, youtube: Path) -> None:
    (davis / "ImageSets/2017/val.txt").unlink()
    text(davis / "ImageSets/480p/val.txt", "JPEGImages/480p/dog/00007.jpg Annotations/480p/dog/00007.png\n")
    assert "dog: 00007 (1 of 1 listed)" in only(look(davis), "missing")
    (youtube / "train/JPEGImages/0a/00010.jpg").unlink()
    report = look(youtube)
    assert list(report.problems) == ["missing", "orphan"]
    assert "train/JPEGImages/0a: 00010 (1 of 4 listed)" in report.problems["missing"][0]


def test_all_frames_that_are_every_fifth_are_told(youtube: Path) -> None:
    for file in (youtube / "train_all_frames/JPEGImages/0a").iterdir():
        if int(file.stem) % 5:
            file.unlink()
    assert "is called all frames and holds every fifth frame" in only(look(youtube), "missing")


def test_sequences_that_lists_name_are_missed(davis: Path, youtube: Path) -> None:
    text(davis / "ImageSets/2017/val.txt", "dog\nwolf\n")
    assert only(look(davis), "absent").endswith("JPEGImages/480p/wolf")
    (youtube / "valid/meta.json").write_text('{"videos": {"0a": {"objects": {}}, "0b": {"objects": {}}}}')
    assert look(youtube / "valid").problems["absent"] == [str(youtube / "valid/JPEGImages/0b")]


def test_lists_that_cannot_be_read_are_told(davis: Path, youtube: Path) -> None:
    text(davis / "ImageSets/2017/val.txt", "../dog\n")
    text(davis / "ImageSets/2017/train.txt", "")
    report = look(davis)
    assert list(report.problems) == ["list"] and len(report.problems["list"]) == 2
    (youtube / "valid/meta.json").write_text("[]")
    assert "is not a meta.json of YouTube-VOS" in only(look(youtube), "list")


def test_an_empty_folder_is_told(davis: Path, tmp_path: Path) -> None:
    for file in (davis / "JPEGImages/480p/dog").iterdir():
        file.unlink()
    assert only(look(davis), "empty").endswith("JPEGImages/480p/dog")
    frames(tmp_path / "plain/one", range(2))
    (tmp_path / "plain/two").mkdir()
    assert only(look(tmp_path / "plain"), "empty").endswith("plain/two")


def test_frames_of_another_size_are_told(davis: Path) -> None:
    frames(davis / "JPEGImages/480p/dog", range(1, 2), (40, 24))
    report = look(davis)
    assert "dog: 00001.jpg is 40x24, and the others 32x24" in report.problems["size"][0]
    assert "00001.png is 32x24, its frame 40x24" in report.problems["mask size"][0]


def test_a_turned_photograph_has_the_size_it_is_shown_in(davis: Path) -> None:
    folder = davis / "JPEGImages/480p/dog"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (H, W)).save(folder / "00001.jpg", exif=exif)
    assert not look(davis).count


def test_masks_are_missed_by_the_rule_of_the_data_set(davis: Path, youtube: Path) -> None:
    (davis / "Annotations/480p/dog/00003.png").unlink()
    assert "dog: 00003 (1 of 4)" in only(look(davis), "no mask")
    (youtube / "valid/Annotations/0a/00010.png").unlink()  # where object 2 begins
    (youtube / "train/Annotations/0a/00015.png").unlink()
    report = look(youtube)
    assert [line.partition("YT/")[2] for line in report.problems["no mask"]] == [
        "train/Annotations/0a: 00015 (1 of 4)",
        "valid/Annotations/0a: 00010 (1 of 2)",
    ]


def test_masks_that_are_damaged_or_no_masks_are_told(davis: Path) -> None:
    file = davis / "Annotations/480p/dog/00001.png"
    file.write_bytes(file.read_bytes()[:60])
    assert str(file) in only(look(davis), "mask")


def test_objects_that_meta_does_not_list_are_told(youtube: Path) -> None:
    masks(youtube / "train/Annotations/0a", range(5, 10, 5), (1, 2, 9))
    assert "0a/00005.png shows 9, not in meta.json" in only(look(youtube), "ids")
    masks(youtube / "train/Annotations/0a", range(5, 10, 5), (1, 2))
    masks(youtube / "valid/Annotations/0a", range(1), ())
    assert "0a/00000.png, the first mask, shows no object" in only(look(youtube), "ids")


def test_what_a_mac_left_behind_is_told(davis: Path) -> None:
    (davis / "JPEGImages/480p/dog/._00000.jpg").write_bytes(b"x")
    (davis / "Annotations/480p/dog/.DS_Store").write_bytes(b"x")
    (davis / "ImageSets/2017/._val.txt").write_bytes(b"x")
    report = look(davis)
    assert list(report.problems) == ["droppings"] and len(report.problems["droppings"]) == 3


def test_two_files_of_one_name_are_told(davis: Path, tmp_path: Path) -> None:
    Image.new("RGB", (W, H)).save(davis / "JPEGImages/480p/dog/00001.png")
    assert "holds both" in only(look(davis), "twice")
    video(tmp_path / "v/a.mp4")
    video(tmp_path / "v/a.avi")
    assert "are both called a" in only(look(tmp_path / "v"), "twice")


def test_a_video_cut_short_is_told(tmp_path: Path) -> None:
    video(tmp_path / "v/a.mp4", 60)
    video(tmp_path / "v/b.avi", 60)
    (tmp_path / "v/c.mp4").write_bytes(b"")
    for name in ("a.mp4", "b.avi"):
        data = (tmp_path / "v" / name).read_bytes()
        (tmp_path / "v" / name).write_bytes(data[: len(data) // 2])
    report = look(tmp_path / "v")
    assert list(report.problems) == ["video"]
    assert [Path(line.split()[0]).name for line in report.problems["video"]] == ["a.mp4", "b.avi", "c.mp4"]


def test_a_video_damaged_inside_is_found_by_decoding_it(tmp_path: Path) -> None:
    video(tmp_path / "v/a.mp4", 60)
    data = bytearray((tmp_path / "v/a.mp4").read_bytes())
    data[len(data) // 3 : len(data) // 3 + 3000] = bytes(3000)
    (tmp_path / "v/a.mp4").write_bytes(data)
    assert {"frame", "video"} & look(tmp_path / "v", "deep").problems.keys()


# ---------------------------------------------------------------- all of it, and the command


def test_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        frames(tmp_path / f"v{number}", range(3))
    (tmp_path / "v2/00001.jpg").unlink()
    alone = look(tmp_path)
    monkeypatch.setattr("mamp.tools.check._FEW", 0)
    together = check(tmp_path, processes=2, quiet=True)
    assert together == alone


def test_problems_of_a_kind_are_told_up_to_a_number(tmp_path: Path, capsys) -> None:
    frames(tmp_path / "v", range(15))
    for file in (tmp_path / "v").iterdir():
        file.write_bytes(b"")
    assert main(["data", "check", str(tmp_path), "--quiet", "--most", "3"]) == 2
    out, err = capsys.readouterr()
    assert out.count("is empty") == 3 and "frames that cannot be read (15):" in out and "  and 12 more" in out
    assert (
        err
        == f"mamp: {tmp_path}: 15 things broken, as listed; repair them, or fetch or pack the data again\n"
    )


def test_a_clean_folder_gives_status_0(davis: Path, capsys) -> None:
    assert main(["data", "check", str(davis), "--deep"]) == 0
    assert "nothing is broken" in capsys.readouterr().out
    assert main(["data", "check", str(davis), "--processes", "0"]) == 2


def test_every_kind_of_problem_has_a_heading(davis: Path, youtube: Path) -> None:
    import re

    import mamp.tools.check
    import mamp.tools.examine
    import mamp.tools.recognise

    modules = (mamp.tools.check, mamp.tools.examine, mamp.tools.recognise)
    source = "".join(Path(module.__file__).read_text() for module in modules)
    used = set(re.findall(r'(?:found\.add|append|\[)\(+\s*"([a-z ]+)",', source)) | {"twice"}
    assert used <= KINDS.keys() and KINDS.keys() <= used | {"twice"}
