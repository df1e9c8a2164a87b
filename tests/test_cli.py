"""The command line as a person meets it: results, one sentence for a mistake, exit status."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mamp import config, weights
from mamp.cli import main
from mamp.methods.mamp.encoder import build_model
from mamp.segmentation.model import checksum, load
from mamp.video.masks import read_mask, write_mask

SMALL = {"name": "mamp", "encoder": {"width": 0.125, "features": 8}}
FRAMES = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """frames/ (five JPEGs), mask.png (objects 3 and 7), small.safetensors."""
    root = tmp_path_factory.mktemp("world")
    generator = np.random.default_rng(0)
    (root / "frames").mkdir()
    still = generator.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    for i in range(FRAMES):
        Image.fromarray(np.roll(still, i, axis=1)).save(root / "frames" / f"{i:05d}.jpg")
    mask = np.zeros((40, 56), np.uint8)
    mask[5:20, 5:25], mask[22:38, 30:50] = 3, 7
    write_mask(root / "mask.png", mask)
    torch.manual_seed(0)
    model = build_model(config.load(None, base={"method": SMALL}).method)
    weights.save(root / "small.safetensors", model.state_dict(), method=SMALL, provenance={})
    return root


def segment(world: Path, out: Path, *more: str, video: Path | None = None, mask: Path | None = None) -> int:
    source, first = str(video or world / "frames"), str(mask or world / "mask.png")
    tail = ["--out", str(out), "--weights", str(world / "small.safetensors"), "--device", "cpu", "--quiet"]
    return main(["segment", source, "--mask", first, *tail, *more])


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """Standard error holds one sentence with these words."""
    text = capsys.readouterr().err
    lines = [line for line in text.splitlines() if line.startswith("mamp: ")]
    assert len(lines) == 1 and "Traceback" not in text
    assert all(word in lines[0] for word in words), lines[0]


def test_a_video_is_segmented_with_the_users_own_ids(world, tmp_path, capsys):
    assert segment(world, tmp_path / "out", "--overlay", str(tmp_path / "o.mp4")) == 0
    masks = sorted((tmp_path / "out").iterdir())
    assert [m.name for m in masks] == [f"{i:05d}.png" for i in range(FRAMES)]
    assert all(set(np.unique(read_mask(m))) <= {0, 3, 7} for m in masks)
    assert (read_mask(masks[0]) == read_mask(world / "mask.png")).all()
    assert (tmp_path / "o.mp4").stat().st_size > 0
    assert "5 masks" in capsys.readouterr().out


def test_a_command_that_is_terminated_leaves_nothing_half_written(world, tmp_path, capsys, monkeypatch):
    from mamp.segmentation.segmenter import Segmenter

    step, steps = Segmenter.step, []

    def and_end(self, *given, **more):
        steps.append(1)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGTERM)
        return step(self, *given, **more)

    monkeypatch.setattr(Segmenter, "step", and_end)
    assert segment(world, tmp_path / "out", "--overlay", str(tmp_path / "o.mp4")) == 130
    assert "interrupted; finished work is kept" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_model_is_printed_in_a_line(world):
    assert len(repr(load(world / "small.safetensors", device="cpu"))) < 500


def test_settings_may_stand_anywhere(world, tmp_path):
    assert (
        segment(
            world,
            tmp_path / "a",
            "method.propagation.top_k=3",
            "--overlay",
            str(tmp_path / "o.mp4"),
            "method.propagation.radius=2",
        )
        == 0
    )


def test_a_style_without_a_film_is_refused(world, tmp_path, capsys):
    assert segment(world, tmp_path / "a", "--overlay-style", "contour") == 2
    refused(capsys, "--overlay-style contour", "add --overlay FILE.mp4")
    assert not (tmp_path / "a").exists()


def test_a_missing_video_is_named(world, tmp_path, capsys):
    assert segment(world, tmp_path / "out", video=tmp_path / "nowhere") == 2
    refused(capsys, "nowhere", "does not exist")


def test_an_empty_folder_is_named(world, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert segment(world, tmp_path / "out", video=tmp_path / "empty") == 2
    refused(capsys, str(tmp_path / "empty"), "no images")


def test_a_cut_short_frame_stops_with_finished_masks_kept(world, tmp_path, capsys):
    (tmp_path / "cut").mkdir()
    for frame in (world / "frames").iterdir():
        data = frame.read_bytes()
        (tmp_path / "cut" / frame.name).write_bytes(data[: len(data) // 3] if frame.stem == "00003" else data)
    assert segment(world, tmp_path / "out", video=tmp_path / "cut") == 2
    refused(capsys, "cut/00003.jpg is cut short", "bad_frame")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["00000.png", "00001.png", "00002.png"]
    assert segment(world, tmp_path / "more", "evaluate.bad_frame=repeat", video=tmp_path / "cut") == 0
    assert len(list((tmp_path / "more").iterdir())) == FRAMES


def test_a_mask_of_another_size_is_refused(world, tmp_path, capsys):
    write_mask(tmp_path / "m.png", np.ones((10, 12), np.uint8))
    assert segment(world, tmp_path / "out", mask=tmp_path / "m.png") == 2
    refused(capsys, "m.png", "12", "56")


def test_a_mask_without_objects_is_refused(world, tmp_path, capsys):
    write_mask(tmp_path / "m.png", np.zeros((40, 56), np.uint8))
    assert segment(world, tmp_path / "out", mask=tmp_path / "m.png") == 2
    refused(capsys, "m.png", "no object")


def test_a_photo_given_as_a_mask_is_refused(world, tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    assert segment(world, tmp_path / "out", mask=tmp_path / "photo.png") == 2
    refused(capsys, "photo.png", "photograph")


def test_a_misspelt_key_names_the_nearest(world, tmp_path, capsys):
    assert segment(world, tmp_path / "out", "method.propagation.topk=3") == 2
    refused(capsys, "method.propagation.topk", "method.propagation.top_k")


def test_weights_of_another_width_are_refused(world, tmp_path, capsys):
    assert segment(world, tmp_path / "out", "method.encoder.width=0.5") == 2
    refused(capsys, "small.safetensors", "0.125")


def test_a_folder_that_cannot_be_written_is_refused(world, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert segment(world, tmp_path / "file" / "out") == 2
    refused(capsys, f"{tmp_path / 'file'} is a file where a folder should be")


def test_masks_are_never_written_over_the_frames_or_the_given_masks(world, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in (world / "frames").iterdir()}
    assert segment(world, world / "frames") == 2
    refused(capsys, "is or holds the video, whose files would be replaced")
    assert segment(world, world) == 2
    refused(capsys, "is or holds the masks, whose files would be replaced")
    assert {path.name: path.read_bytes() for path in (world / "frames").iterdir()} == before


def test_a_text_file_is_no_checkpoint(tmp_path, capsys):
    (tmp_path / "notes.pt").write_text("hello\n")
    assert main(["weights", "info", str(tmp_path / "notes.pt")]) == 2
    refused(capsys, "notes.pt", "not a readable checkpoint")
    assert main(["weights", "convert", str(tmp_path / "notes.pt"), str(tmp_path / "w.safetensors")]) == 2
    refused(capsys, "notes.pt", "not a readable checkpoint")


def test_a_missing_recipe_is_named(capsys):
    assert main(["train", "configs/nothing.yaml"]) == 2
    refused(capsys, "configs/nothing.yaml", "does not exist")


def test_training_without_video_says_how_to_give_it(capsys, repository, tmp_path):
    assert main(["train", str(repository / "configs" / "mamp_cpu.yaml"), "--run", str(tmp_path / "run")]) == 2
    refused(capsys, "data.root=")


def test_youtube_is_evaluated_and_scored_alike_with_seen_and_unseen(world, tmp_path, capsys):
    frames = [f"{i:05d}" for i in range(FRAMES)]
    objects = {"3": {"category": "dog", "frames": frames}, "7": {"category": "okapi", "frames": frames}}
    for split in ("train", "held"):
        (tmp_path / split / "Annotations" / "a1").mkdir(parents=True)
        wanted = {number: o for number, o in objects.items() if split == "held" or o["category"] == "dog"}
        meta = {"videos": {"a1": {"objects": wanted}}}
        (tmp_path / split / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "held" / "JPEGImages").mkdir()
    (tmp_path / "held" / "JPEGImages" / "a1").symlink_to(world / "frames")
    mask = read_mask(world / "mask.png")
    for i, name in enumerate(frames):
        write_mask(tmp_path / "held" / "Annotations" / "a1" / f"{name}.png", np.roll(mask, i, axis=1))
    root, out = str(tmp_path), str(tmp_path / "out")
    command = ["evaluate", "youtubevos", root, "--split", "held", "--out", out]
    assert main([*command, "--baseline", "copy", "--device", "cpu", "--quiet"]) == 0
    evaluated = capsys.readouterr().out
    assert "J-Seen 0." in evaluated and "J-Unseen 0." in evaluated
    assert main(["score", root, out, "--split", "held", "--processes", "1", "--decay", "official"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == evaluated.splitlines()[-3:-1]


def test_an_unknown_option_ends_with_status_2(capsys):
    assert main(["score", "a", "b", "--jsonn", "x"]) == 2
    refused(capsys, "mamp score does not take --jsonn x; see")
    assert main(["train", "configs/mamp_cpu.yaml", "--quiet", "data.workers"]) == 2
    refused(capsys, "mamp train does not take data.workers (settings are key=value); see")


def test_config_lists_every_knob(capsys):
    assert main(["config", "mamp"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{key} = " in shown for key, _, _ in config.method_knobs("mamp"))


def told(text: str) -> dict[str, str]:
    """Lines `name  value`, two blanks or more between them."""
    return {name: value.strip() for name, _, value in (line.partition("  ") for line in text.splitlines())}


def test_weights_info_tells_method_numbers_checksum_and_provenance(world, tmp_path, capsys):
    small = weights.read(world / "small.safetensors")
    default = config.load().model_dump(mode="json")
    recipe = {"train": {**default["train"], "batch": 7}, "data": default["data"]}
    made = {
        "mamp": "0.1.0",
        "commit": "c0ffee",
        "changed": True,
        "data": {"videos": 3, "frames": 99, "digest": "ab12"},
        "recipe": recipe,
        "init": {"weights": "before.pt", "provenance": {"changed": False, "recipe": recipe}},
        "licence": "word " * 20,
    }
    weights.save(tmp_path / "w.safetensors", small.state, method=SMALL, provenance=made)
    assert main(["weights", "info", str(tmp_path / "w.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines() if "word" in line) < 100
    lines = told(printed)
    assert lines.pop("licence").count("word") + lines.pop("").count("word") == 20
    numbers = sum(value.numel() for value in small.state.values() if value.is_floating_point())
    assert lines.pop("numbers") == f"{numbers:,} in {len(small.state)} tensors"
    assert lines == {
        "weights": str(tmp_path / "w.safetensors"),
        "method": "mamp",
        "method.encoder.width": "0.125",
        "method.encoder.features": "8",
        "sha256": checksum(small.state),
        "mamp": "0.1.0",
        "commit": "c0ffee, changed since",
        "data": "videos 3, frames 99, digest ab12",
        "recipe train.batch": "7",
        "init weights": "before.pt",
        "init recipe train.batch": "7",
    }


def test_help_and_version_do_not_import_torch():
    code = (
        "import sys\nfrom mamp.cli import main\n"
        "for flag in ('--help', '--version'):\n"
        "    try: main([flag])\n    except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_published_weights_convert_from_the_command_line(tmp_path, golden, capsys):
    shapes = json.loads((golden / "mamp_state_dict.json").read_text())
    torch.save(
        {"state_dict": {name: torch.zeros(shape) for name, shape in shapes.items()}}, tmp_path / "mamp.pt"
    )
    assert main(["weights", "convert", str(tmp_path / "mamp.pt"), str(tmp_path / "w.safetensors")]) == 0
    assert "116 entries" in capsys.readouterr().out
    assert (
        main(
            [
                "weights",
                "convert",
                str(tmp_path / "mamp.pt"),
                str(tmp_path / "w.safetensors"),
                "--method",
                "stm",
            ]
        )
        == 2
    )


def test_two_processes_evaluate_as_one_does(tmp_path, capsys):
    for name in ("ant", "bee", "cat"):
        images, masks = tmp_path / "data" / "JPEGImages" / name, tmp_path / "data" / "Annotations" / name
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (24, 16), (60, 10 * i, 90)).save(images / f"{i:05d}.jpg")
            labels = np.zeros((16, 24), np.uint8)
            labels[4:10, 2 + i : 12 + i] = 1
            write_mask(masks / f"{i:05d}.png", labels)
    command = ["evaluate", "folder", str(tmp_path / "data"), "--baseline", "copy", "--quiet"]
    for processes in ("1", "2"):
        assert main([*command, "--processes", processes, "--out", str(tmp_path / processes)]) == 0
        told_where = capsys.readouterr().out.splitlines()[-1]
        assert str(tmp_path / processes / "masks") in told_where and "scores.json" in told_where
    one, two = ((tmp_path / n / "scores.json").read_text() for n in "12")
    assert one == two and len(list((tmp_path / "2" / "masks").rglob("*.png"))) == 12
    assert main([*command, "--processes", "0", "--out", str(tmp_path / "0")]) == 2
    refused(capsys, "--processes is 0")


def test_an_evaluation_is_not_continued_with_other_videos(tmp_path, capsys):
    for name, size in (("one", 24), ("two", 32)):
        frames, masks = (tmp_path / name / part / "a" for part in ("JPEGImages", "Annotations"))
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((size, size, 3), 9, np.uint8)).save(frames / f"{i}.png")
        write_mask(masks / "0.png", np.eye(size, dtype=np.uint8))
    command = ["--out", str(tmp_path / "out"), "--baseline", "copy", "--quiet"]
    assert main(["evaluate", "folder", str(tmp_path / "one"), *command]) == 0
    assert main(["evaluate", "folder", str(tmp_path / "two"), *command]) == 2
    refused(capsys, "run.json", "videos")


@pytest.mark.parametrize("missing", ["pycocotools", "scipy", "starlette", "uvicorn"])
def test_the_page_names_the_package_that_it_lacks(monkeypatch, capsys, missing: str):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["app", "--no-browser"]) != 0
    told = capsys.readouterr().err
    assert f"mamp app needs {missing}" in told and "pip install 'mamp[app]'" in told


def test_config_shows_what_a_preset_sets(capsys):
    assert main(["config", "mamp", "method.preset=published"]) == 0
    assert "method.propagation.top_k = 36\n" in capsys.readouterr().out
