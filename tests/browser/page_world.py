"""The page in a browser: how it is served, and how a person draws on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from mamp.app.run import prepare
from mamp.app.studio import Studio
from mamp.segmentation.model import Model
from mamp.video.masks import read_mask

FRAMES = 6
SIZE = (214, 120)
QUICK = [
    "method.propagation.short_side=null",
    "method.propagation.radius=6",
    "method.propagation.memory_length=2",
]
COMPUTED = "document.querySelector('#run').textContent.includes('frames in')"
SAVED = "document.querySelector('#saved').textContent === 'saved'"


class Killable:
    """`mamp app` in a process of its own. State: the process and the address it printed."""

    def __init__(self, *words: Path | str) -> None:
        command = [
            sys.executable,
            "-m",
            "mamp",
            "app",
            *words,
            "--no-browser",
            "--device",
            "cpu",
            "--quiet",
            *QUICK,
        ]
        self.process = subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:")

    def end(self, how: int = signal.SIGINT) -> int:
        os.kill(self.process.pid, how)
        return self.process.wait(60)


class App:
    """The same in a thread. State: the server and its address."""

    def __init__(self, model: Model, out: Path, video: Path | None = None, port: int = 0) -> None:
        self.studio = Studio(model, out=out)
        if video is not None:
            self.studio.open(video)
        self._server, listening, self.address = prepare(self.studio, port=port)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.address.split(":")[2].split("/")[0])

    def end(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(30)
        self.studio.close()


class Held:
    """Holds up the calls of a function. State: how many have come, and how many may go on."""

    def __init__(self, monkeypatch, owner: object, name: str) -> None:
        act, self._may = getattr(owner, name), threading.Semaphore(0)
        self.came = threading.Semaphore(0)

        def held(*args, **kwargs):
            self.came.release()
            assert self._may.acquire(timeout=120)
            return act(*args, **kwargs)

        monkeypatch.setattr(owner, name, held)

    def let(self, calls: int = 1000) -> None:
        self._may.release(calls)


def show(browser, app: App | Killable, **how) -> None:
    browser.visit(app.address, **how)
    browser.wait("document.body.dataset.shown !== undefined")


def at(browser, x: float, y: float) -> tuple[float, float]:
    """Where pixel (x, y) of the frame is on the screen."""
    box = browser.run(
        "(b => [b.x, b.y, b.width, b.height])(document.querySelector('#canvas').getBoundingClientRect())"
    )
    width, height = SIZE
    scale = 0.985 * min(box[2] / width, box[3] / height)
    return box[0] + box[2] / 2 + scale * (x - width / 2), box[1] + box[3] / 2 + scale * (y - height / 2)


def stroke(browser, *points: tuple[float, float]) -> None:
    browser.drag(*(at(browser, *point) for point in points))


def paint(browser, *points: tuple[float, float]) -> None:
    browser.press("b")
    stroke(browser, *points)
    browser.wait(SAVED)


def labels(folder: Path, index: int = 0) -> np.ndarray:
    """The mask of a frame as a person drew it."""
    return read_mask(folder / "drawn" / f"{index:05d}.png")


def go(browser, index: int) -> None:
    while (
        now := browser.run("Number(document.querySelector('#timeline').getAttribute('aria-valuenow'))")
    ) != index:
        browser.press("ArrowRight" if now < index else "ArrowLeft")
    browser.wait(f"document.body.dataset.shown === '{index}'")
