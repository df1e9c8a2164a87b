"""Every program in examples/ runs as its first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mamp.video import camera
from mamp.video.film import Film
from mamp.video.masks import write_mask
from mamp.video.synthetic import render_clip

FRAMES = 4
EXAMPLES = sorted(path.stem for path in (Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """frames/*.png, frames.mp4, mask.png; corrected/*.jpg with two masks among them."""
    root = tmp_path_factory.mktemp("world")
    clip = render_clip(5, frames=FRAMES, size=(48, 64), objects=2)
    for folder, suffix in (("frames", "png"), ("corrected", "jpg")):
        (root / folder).mkdir()
        for t, frame in enumerate(clip.frames):
            Image.fromarray(frame).save(root / folder / f"{t:05d}.{suffix}")
    with Film(root / "frames.mp4", fps=10) as film:
        for frame in clip.frames:
            film.write(frame)
    write_mask(root / "mask.png", clip.labels[0])
    write_mask(root / "corrected" / "00000.png", (clip.labels[0] == 1).astype("uint8"))
    write_mask(root / "corrected" / "00002.png", clip.labels[2])
    return root


def run(repository: Path, name: str, *words: object, before: str = "") -> str:
    """What examples/NAME.py prints; `before` is run first."""
    code = (
        f"{before}\nimport runpy; runpy.run_path({str(repository / 'examples' / name)!r} + '.py',"
        " run_name='__main__')"
    )
    env = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_there_are_eight_and_each_is_short(repository: Path):
    lengths = {
        name: len((repository / "examples" / f"{name}.py").read_text().splitlines()) for name in EXAMPLES
    }
    assert len(lengths) == 8 and max(lengths.values()) < 40


def test_one_video(repository: Path, world: Path, tmp_path: Path):
    run(repository, "one_video", world / "frames.mp4", world / "mask.png", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == FRAMES


def test_a_camera(repository: Path, world: Path):
    stand_in = (
        "import sys; from mamp.video import camera;"
        f" camera.FORMATS[sys.platform] = (None, {str(world / 'frames.mp4')!r})"
    )
    assert camera.camera_number("camera:0") == 0
    lines = run(repository, "camera", 0, world / "mask.png", before=stand_in).splitlines()
    assert len(lines) == FRAMES and lines[0].startswith("frame 0: ")


def test_two_videos_in_threads(repository: Path, world: Path):
    pair = [world / "frames", world / "mask.png"]
    lines = run(repository, "threads", *pair, world / "frames.mp4", world / "mask.png").splitlines()
    assert [f"{FRAMES} frames" in line for line in lines] == [True, True]


def test_corrections(repository: Path, world: Path, tmp_path: Path):
    printed = run(repository, "corrections", world / "corrected", tmp_path / "out")
    assert "objects [1, 2]" in printed
    assert len(list((tmp_path / "out").glob("*.png"))) == FRAMES


def test_backward(repository: Path, world: Path, tmp_path: Path):
    run(repository, "backward", world / "frames", world / "mask.png", FRAMES - 1, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == FRAMES


def test_masks_without_torch(repository: Path, world: Path, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra onnx")
    made = [sys.executable, "-m", "mamp", "weights", "onnx", "mamp-small", str(tmp_path / "graphs")]
    subprocess.run(made, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(repository)})
    run(repository, "onnx_masks", tmp_path / "graphs", world / "frames", world / "mask.png", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.png"))) == FRAMES


def test_an_encoder_of_ones_own(repository: Path, world: Path, tmp_path: Path):
    place = [world / "frames", "--mask", world / "mask.png", "--out", tmp_path / "out", "--device", "cpu"]
    words = [
        "segment",
        *place,
        "method=probe",
        f"method.encoder={repository / 'examples/own_encoder.py'}:make",
    ]
    subprocess.run(
        [sys.executable, "-m", "mamp", *map(str, words)], check=True, capture_output=True, cwd=repository
    )
    assert len(list((tmp_path / "out").glob("*.png"))) == FRAMES


def test_coco_files_are_read(repository: Path, world: Path, tmp_path: Path):
    place = [world / "frames", "--mask", world / "mask.png", "--out", tmp_path / "masks", "--device", "cpu"]
    words = ["segment", *place, "--save", "coco"]
    subprocess.run(
        [sys.executable, "-m", "mamp", *map(str, words)], check=True, capture_output=True, cwd=repository
    )
    assert "object 1, " in run(repository, "coco_export", tmp_path / "masks-coco.json")
