"""Small datasets in the published layouts."""

import json
from pathlib import Path

import pytest
from layouts import numbers, write_frames, write_masks, write_text


@pytest.fixture
def davis2017(tmp_path: Path) -> Path:
    root = tmp_path / "DAVIS"
    for name, count in (("bear", 4), ("dog", 5), ("goat", 3)):
        write_frames(root / "JPEGImages/480p" / name, numbers(count))
    write_masks(root / "Annotations/480p/bear", dict.fromkeys(numbers(4), (1,)))
    write_masks(root / "Annotations/480p/dog", dict.fromkeys(numbers(5), (1, 2, 255)))
    write_masks(root / "Annotations/480p/goat", {"00000": (1, 2, 3)})
    write_text(root / "ImageSets/2017/train.txt", "bear\n")
    write_text(root / "ImageSets/2017/val.txt", "dog\r\ngoat\r\n\r\n")
    write_text(root / "ImageSets/2017/test-dev.txt", "goat\n")
    return root


@pytest.fixture
def davis2016(tmp_path: Path) -> Path:
    root = tmp_path / "DAVIS2016"
    lines = []
    for name in ("bear", "dog"):
        write_frames(root / "JPEGImages/480p" / name, numbers(4))
        write_masks(root / "Annotations/480p" / name, dict.fromkeys(numbers(4), (255,)))
        lines += [f"/JPEGImages/480p/{name}/{n}.jpg /Annotations/480p/{name}/{n}.png" for n in numbers(3)]
    write_text(root / "ImageSets/480p/val.txt", "\n".join(lines[3:] + lines[:3]))
    write_text(root / "ImageSets/480p/tune.txt", "\n".join(lines[:3]))
    return root


@pytest.fixture
def youtube(tmp_path: Path) -> Path:
    """Object 1 begins at the first listed frame, object 2 at the third; frame 00002 is listed for none."""
    root = tmp_path / "YouTubeVOS"
    objects = {
        "1": {"category": "cat", "frames": ["00005", "00010", "00015", "00020"]},
        "2": {"category": "dog", "frames": ["00020", "00015"]},
    }
    write_text(root / "valid/meta.json", json.dumps({"videos": {"0a1b": {"objects": objects}}}))
    write_frames(root / "valid/JPEGImages/0a1b", ["00002", *numbers(4, 5, 5)])
    write_frames(root / "valid_all_frames/JPEGImages/0a1b", numbers(23))
    write_masks(root / "valid/Annotations/0a1b", {"00005": (1,), "00015": (1, 2)})
    return root
