"""From a command to an open page, and an orderly end."""

from __future__ import annotations

import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mamp.app.engine import KEPT_MB
from mamp.app.studio import Studio
from mamp.core.errors import UserError, first_line
from mamp.core.progress import say
from mamp.segmentation.model import Model

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
PORT = 7345  # unless it is in use: a page that outlived its server finds the next one there


def serve(
    model: Model,
    *,
    video: Path | None = None,
    out: Path | None = None,
    port: int | None = None,
    browser: bool = True,
    kept_mb: float = KEPT_MB,
    suggest: str | None = None,
    reload: Callable[[str, str], Model] | None = None,
    quiet: bool = False,
) -> None:
    """Serve the page until it is interrupted; its address is printed.

    video: a file or a folder of images; None: one may be dropped on the page. out: the project's folder.
    port: None is 7345,
    or any that is free. browser: open it there. suggest: MODULE:FUNCTION that answers clicks.
    reload: loads the model with another preset on another device.

    Raises UserError for a video that cannot be read, a project that is open elsewhere, a port in use.
    """
    studio = Studio(model, out=out, kept_mb=kept_mb, suggest=suggest, reload=reload)
    if video is not None:
        studio.open(video)
    try:
        server, listening, address = prepare(studio, port=port)
        print(address, flush=True)
        shown = browser and webbrowser.open(address)
        if not quiet:
            what = "the page opens in the browser" if shown else "open this address in a browser"
            where = f"; masks are saved in {studio.project.folder}" if studio.project else ""
            say(f"{what}{where}; end with Ctrl+C")
        server.run(sockets=[listening])
    finally:
        studio.close()


def prepare(studio: Studio, *, port: int | None = None) -> tuple[uvicorn.Server, socket.socket, str]:
    """Return a server that waits to be run with this socket, and the page's address.

    Raises UserError when the port is in use.
    """
    import uvicorn

    from mamp.app.server import build

    listening = _listen(port)
    number, key = listening.getsockname()[1], secrets.token_urlsafe(16)
    app = build(studio, key=key, hosts={f"{HOST}:{number}", f"localhost:{number}"})
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=300,
    )
    return uvicorn.Server(config), listening, f"http://{HOST}:{number}/?key={key}"


def _listen(port: int | None) -> socket.socket:
    """A socket on the loopback address; UserError when the port asked for is in use."""
    if port is None:
        try:
            return _listen(PORT)
        except UserError:
            return _listen(0)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(128)  # whoever comes before the server runs waits
    except (OSError, OverflowError) as error:
        listening.close()
        raise UserError(
            f"--port {port} cannot be used ({first_line(error)}); choose another, or leave it out"
        ) from None
    return listening
