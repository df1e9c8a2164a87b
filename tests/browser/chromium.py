"""Chromium driven over the pipe of its DevTools protocol: JSON messages ended by a zero byte, no further
package.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
]
# what the protocol needs of keys that do more than type a letter: virtual key code, text
KEYS = {
    "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), " ": (32, " "), "Backspace": (8, ""),
    "End": (35, ""), "Home": (36, ""), "PageUp": (33, ""), "PageDown": (34, ""),
    "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""), "ArrowDown": (40, ""),
}  # fmt: skip
PATIENCE = float(
    os.environ.get("MAMP_PATIENCE", "240")
)  # seconds for an answer: machines that test may be busy


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One tab at a time. State: the process, its two pipes, what arrived and was not read, console errors,
    requested addresses.
    """

    def __init__(self, program: str, profile: Path):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # bash moves them to 3 and 4, where Chromium looks; high numbers, so that neither is in the other's
        # way
        high_in, high_out = (fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out))
        command = f'exec "$@" 3<&{high_in} 4>&{high_out} {high_in}<&- {high_out}>&-'
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(high_in, high_out),
            stderr=subprocess.DEVNULL,
        )
        for fd in (theirs_in, theirs_out, high_in, high_out):
            os.close(fd)
        self._in, self._out, self._rest, self._count = ours_in, ours_out, b"", 0
        self._session: str | None = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.tab()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def tab(self) -> str | None:
        """A new tab is the one that is driven from now on; the one before it, for `switch` and `close`."""
        before, self._session = self._session, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Network.enable", maxPostDataSize=1)  # megabytes of masks would come along
        return before

    def switch(self, tab: str | None) -> str | None:
        """Another tab is the one that is driven; the one before it."""
        before, self._session = self._session, tab
        self.call("Page.bringToFront")
        return before

    def close(self, tab: str | None) -> None:
        """Close a tab that is not driven."""
        driven, self._session = self._session, tab
        self.call("Page.close")
        self._session = driven

    def open(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load a file and wait until it is loaded; what went wrong since is in `errors`."""
        self.visit(path.resolve().as_uri(), width=width, height=height, dark=dark)

    def visit(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Load an address and wait until it is loaded; what went wrong since is in `errors`."""
        self.errors, self.requests = [], []
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({url.split(':')[0]!r})")

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def drag(self, *points: tuple[float, float], button: str = "left", modifiers: int = 0) -> None:
        """The mouse goes down at the first point, by way of the others, and up at the last; one point is a
        click.
        """
        common = {"button": button, "clickCount": 1, "modifiers": modifiers}
        (x, y), last = points[0], points[-1]
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, modifiers=modifiers)
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **common)
        for x, y in points[1:]:
            held = {"left": 1, "right": 2}[button]
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, buttons=held, **common)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=last[0], y=last[1], **common)

    def press(self, key: str, *, modifiers: int = 0) -> None:
        """A key goes down and up, as a hand does it: Tab moves on, Enter presses, letters are typed.

        modifiers: 1 Alt, 2 Ctrl, 4 Meta, 8 Shift.
        """
        code, text = KEYS.get(key, (ord(key.upper()) if len(key) == 1 else 0, key if len(key) == 1 else ""))
        told: dict[str, Any] = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code}
        if key in KEYS:
            told["code"] = "Space" if key == " " else key
        typed = {"text": text} if text and not modifiers & 6 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if typed else "rawKeyDown", **told, **typed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    def type(self, text: str) -> None:
        """Letter by letter, into whatever has the focus."""
        for letter in text:
            self.press(letter)

    def click(self, selector: str, *, count: int = 1) -> None:
        """The mouse on the middle of an element, scrolled into view; count: 2 selects a word, 3 a line."""
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'nearest'}})")
        x, y, w, h = self.box(selector)
        for n in range(1, count + 1):
            common = {"x": x + w / 2, "y": y + h / 2, "button": "left", "clickCount": n}
            self.call("Input.dispatchMouseEvent", type="mousePressed", **common)
            self.call("Input.dispatchMouseEvent", type="mouseReleased", **common)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element in the window."""
        script = f"(b => [b.x, b.y, b.width, b.height])(document.querySelector({selector!r})"
        left, top, width, height = self.run(f"{script}.getBoundingClientRect())")
        return left, top, width, height

    def touch(self, *moments: Sequence[tuple[float, float]]) -> None:
        """Fingers at one moment after another; how many there are may change; at the end all are lifted."""
        before = 0
        for fingers in [*moments, ()]:
            kind = (
                "touchStart"
                if len(fingers) > before
                else "touchMove"
                if len(fingers) == before
                else "touchEnd"
            )
            points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(fingers)]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
            before = len(fingers)

    def text(self, selector: str) -> str:
        """What an element says."""
        return self.run(f"document.querySelector({selector!r}).textContent")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < deadline, f"{condition} never became true"
            time.sleep(0.05)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("sessionId") != self._session:
            return
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.errors.append(str(told["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"][:200])

    def _receive(self) -> dict[str, Any]:
        parts = [self._rest]
        while b"\0" not in parts[-1]:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, f"Chromium ended with {self._process.wait()}"
            parts.append(data)
        message, _, self._rest = b"".join(parts).partition(b"\0")
        return json.loads(message)
