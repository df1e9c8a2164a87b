"""What can be opened without a restart: the projects of earlier times, and an example clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from mamp.core.errors import UserError
from mamp.core.files import make_folder
from mamp.core.texts import read_json

MOST = 12  # projects that are listed
EXAMPLE = {"seed": 7, "frames": 60, "size": (240, 426), "objects": 2}


def recent(home: Path, *others: Path) -> list[dict[str, Any]]:
    """List the projects in a folder, and others by their own, whose videos are there; the newest first.

    Each is {"folder", "video", "name", "frames", "at"}; what cannot be read is left out.
    """
    folders = {p.parent.resolve() for p in home.glob("*/project.json")} | {
        other.resolve() for other in others
    }
    found = [stored for folder in sorted(folders) if (stored := _stored_in(folder)) is not None]
    return sorted(found, key=lambda stored: -stored["at"])[:MOST]


def _stored_in(folder: Path) -> dict[str, Any] | None:
    file = folder / "project.json"
    try:
        stored = read_json(file)
        video, count = Path(stored["video"]), stored["count"]
        at = file.stat().st_mtime
    except (UserError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(count) is not int or not video.exists():
        return None
    return {"folder": str(folder), "video": str(video), "name": video.stem, "frames": count, "at": at}


def example(home: Path) -> Path:
    """Return a folder of frames that are rendered the first time: two things that move over a ground."""
    from mamp.video.synthetic import render_clip

    folder = home / "example" / "clip"
    names = [folder / f"{index:05d}.jpg" for index in range(EXAMPLE["frames"])]  # type: ignore[call-overload]
    if not names[-1].exists():
        make_folder(folder)
        rest = {key: value for key, value in EXAMPLE.items() if key != "seed"}
        clip = render_clip(EXAMPLE["seed"], **rest)  # type: ignore[arg-type]
        for name, frame in zip(names, clip.frames, strict=True):
            Image.fromarray(frame).save(name, quality=92)
    return folder
