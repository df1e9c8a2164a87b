"""How soon the page can be drawn on, and how soon the first carried mask is there.

    python scripts/benchmarks/app.py [--video VIDEO] [--frames N] [--quick] [--weights W] [--json FILE]

After imports: from the command's first line to the first frame, its mask and the page's files in a client's
hands, over HTTP. Then a mask is drawn on the first frame and carried on: seconds from asking for it to the
second frame's mask in the client's hands, over the seconds a bare `Segmenter` needs for a frame of this
video, frames and masks in memory.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import kornia.color  # noqa: F401
import numpy as np
import torch
import uvicorn  # noqa: F401
from common import options, processor, write
from PIL import Image

from mamp.app import server
from mamp.app.run import prepare
from mamp.app.studio import Studio
from mamp.segmentation.model import Model, load
from mamp.video.frames import open_frames
from mamp.video.synthetic import render_clip


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--video", type=Path, help="by default a rendered clip of 854x480")
    parser.add_argument(
        "--frames", type=int, default=8, help="of the rendered clip, and stepped for the comparison"
    )
    parser.add_argument("--quick", action="store_true", help="a small clip: only to see that it runs")
    parser.add_argument("--weights", help="as `mamp segment` takes them")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = args.video or rendered(
            Path(folder) / "clip", args.frames, (60, 90) if args.quick else (480, 854)
        )
        figures = measure(video, Path(folder) / "work", args)
    figures = {"processor": processor(), "threads": torch.get_num_threads(), **figures}
    print(
        f"first frame after {figures['first_frame_seconds']:.2f} s; first carried mask after"
        f" {figures['first_mask_seconds']:.2f} s, {figures['first_mask_over_step']:.2f} of a step of"
        f" {figures['step_seconds']:.2f} s"
    )
    write(figures, args.json)


def rendered(folder: Path, frames: int, size: tuple[int, int]) -> Path:
    """A folder of JPEGs."""
    folder.mkdir()
    for index, frame in enumerate(render_clip(0, frames=frames, size=size, objects=1).frames):
        Image.fromarray(frame).save(folder / f"{index:05d}.jpg", quality=95)
    return folder


def measure(video: Path, out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The figures."""
    began = time.perf_counter()
    model = load(args.weights, device=args.device)
    studio = Studio(model, out=out)
    studio.open(video)
    serving, listening, address = prepare(studio, port=0)
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    client = Client(address)
    for path in (
        "/",
        *(f"/page/{name}" for name in server.PAGE),
        "/api/state?tab=one",
        "/api/frames/0",
        "/api/masks/0",
    ):
        client.ask("GET", path)
    figures = {"first_frame_seconds": time.perf_counter() - began}
    height, width = studio.project.size  # type: ignore[union-attr]
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 4 : width // 2] = 1
    figures["step_seconds"] = step_seconds(model, video, mask, args.frames)  # and everything is warm
    client.ask("PUT", "/api/masks/0", mask.tobytes())
    version = client.state()["version"]
    began = time.perf_counter()
    client.ask("POST", "/api/run", b'{"frame": 0, "direction": "forward"}')
    while not (now := client.state(since=version))["frames"][1][0]:
        version = now["version"]
    client.ask("GET", "/api/masks/1")
    figures["first_mask_seconds"] = time.perf_counter() - began
    figures["first_mask_over_step"] = figures["first_mask_seconds"] / figures["step_seconds"]
    client.ask("POST", "/api/stop", b"{}")
    serving.should_exit = serving.force_exit = True
    thread.join()
    studio.close()
    return figures


def step_seconds(model: Model, video: Path, mask: np.ndarray, frames: int) -> float:
    """Seconds of a frame of a bare `Segmenter`: the middle one of all after the first."""
    segmenter, taken = model.segmenter(), []
    with open_frames(video) as source:
        for index, frame in source.stream():
            began = time.perf_counter()
            segmenter.step(frame, mask if index == 0 else None)
            taken.append(time.perf_counter() - began)
            if len(taken) == frames:
                break
    return statistics.median(taken[1:])


class Client:
    """A browser's part. State: the connection."""

    def __init__(self, address: str) -> None:
        host, self._key = address.removeprefix("http://").split("/?key=")
        self._connection = http.client.HTTPConnection(host)

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer's body."""
        self._connection.request(method, path, body, {"x-mamp-key": self._key, "x-mamp-tab": "one"})
        answer = self._connection.getresponse()
        data = answer.read()
        assert answer.status == 200, (path, data)
        return data

    def state(self, *, since: int = 0) -> dict[str, Any]:
        """The state, once it is newer."""
        return json.loads(self.ask("GET", f"/api/state?tab=one&since={since}&wait=20"))


if __name__ == "__main__":
    main()
