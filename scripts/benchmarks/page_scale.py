"""What the page's server takes for long and large videos: time and memory.

    python scripts/benchmarks/page_scale.py [--frames 10000] [--size 480 854] [--json FILE]

A film is written (a gradient that moves), opened in the `Studio` that the page asks, and its masks are filled
in. Then: milliseconds to open it, of a state for the page and its bytes, of thumbnails and frames at places
far apart, of the next uncertain frame; and the memory of the process, at the start and at its most.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import options, peak, processor, status_bytes, write

from mamp.app.studio import Studio
from mamp.segmentation.model import load
from mamp.video.film import Film

PLACES = 12  # that are asked for


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 854), metavar=("H", "W"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "film.mp4"
        film_of(video, args.frames, tuple(args.size))
        figures = {"processor": processor(), "frames": args.frames, "size": list(args.size)}
        figures |= measure(video, Path(folder) / "work")
    print("\n".join(f"{name}: {value}" for name, value in figures.items()))
    write(figures, args.json)


def film_of(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Write a film of a gradient that moves."""
    height, width = size
    still = np.empty((height, width + 256, 3), np.uint8)
    still[..., 0] = np.arange(width + 256) % 256
    still[..., 1] = np.arange(height)[:, None] * 255 // height
    still[..., 2] = 128
    with Film(path, fps=24) as film:
        for index in range(frames):
            start = 2 * index % 256
            film.write(np.ascontiguousarray(still[:, start : start + width]))


def measure(video: Path, out: Path) -> dict[str, Any]:
    """The figures."""
    model = load(None, device="cpu", overrides=["method.preset=fast"])
    before = status_bytes("VmRSS")
    studio = Studio(model, out=out)
    opened = timed(lambda: studio.open(video))
    project, view = studio.project, studio.view
    assert project is not None and view is not None
    mask = np.zeros(project.size, np.uint8)
    mask[project.size[0] // 4 : project.size[0] // 2, project.size[1] // 4 : project.size[1] // 2] = 1
    project.draw(0, mask)
    count = len(project.names)
    written = [
        timed(lambda i=i: project.write(i, mask, kind="forward", unsure={1: 0.1 + 0.5 * i / count}))
        for i in range(1, min(count, 400))
    ]
    places = [int(i) for i in np.linspace(0, count - 1, PLACES)]
    figures = {
        "ms to open": opened,
        "ms of a mask that is written": statistics.median(written),
        "ms of a state": statistics.median(timed(lambda: json.dumps(studio.state("one"))) for _ in range(5)),
        "kB of a state": len(json.dumps({**studio.state("one"), "names": None})) / 1e3,
        "ms of a thumbnail": statistics.median(timed(lambda i=i: view.jpeg(i, thumb=True)) for i in places),
        "ms of a frame": statistics.median(timed(lambda i=i: view.jpeg(i)) for i in places),
        "ms of the next frame": statistics.median(
            timed(lambda i=i: view.jpeg(i)) for i in range(count // 2, count // 2 + 8)
        ),
        "ms of next uncertain": timed(lambda: studio.next_place([])),
        "MB at first": before / 1e6,
        "MB at most": peak() / 1e6,
    }
    studio.close()
    return {name: round(value, 1) for name, value in figures.items()}


def timed(act: Callable[[], object]) -> float:
    """Milliseconds that something takes."""
    began = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
