"""The routes of the page: what its script asks for, checked, and handed to the `Studio`.

Frames are named by their number in the project's own list; no path comes from a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from mamp.app.asked import Refused, box, json_of, number, points, whole
from mamp.app.export import KINDS, exported, sequence_name, zipped
from mamp.app.gate import Gate, TooLarge, body
from mamp.app.project import Project
from mamp.app.proposal import Wish
from mamp.app.studio import Studio, file_name
from mamp.core.errors import UserError, first_line
from mamp.core.files import MB, make_folder
from mamp.video.first_masks.reading import FirstMask
from mamp.video.frames import VIDEO_SUFFIXES

_TYPES = {".js": "text/javascript", ".css": "text/css"}
PAGE = {
    file.name: _TYPES[Path(file.name).suffix]
    for file in sorted((files("mamp.app") / "page").iterdir(), key=lambda file: file.name)
    if Path(file.name).suffix in _TYPES
}
PATIENCE = 20.0  # seconds that a question for news waits at most
LARGEST_MASK = 2**26  # bytes of a mask's file
LARGEST_VIDEO = 4000 * MB
_SPARE = 500 * MB  # left free on the disk beside a dropped video


def build(studio: Studio, *, key: str, hosts: set[str]) -> Gate:
    """The ASGI application. key: of this run. hosts: names, with port, that it may be asked by."""
    routes = Routes(studio)
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("GET", "/", routes.index),
        ("GET", "/page/{name}", routes.page),
        ("GET", "/api/state", routes.state),
        ("GET", "/api/frames/{index:int}", routes.frame),
        ("GET", "/api/thumbs/{index:int}", routes.thumb),
        ("GET", "/api/masks/{index:int}", routes.mask),
        ("GET", "/api/before/{index:int}", routes.before),
        ("PUT", "/api/masks/{index:int}", routes.draw),
        ("DELETE", "/api/drawn/{index:int}", routes.forget),
        ("POST", "/api/import/{index:int}", routes.bring),
        ("POST", "/api/propose/{index:int}", routes.propose),
        ("POST", "/api/uncertain", routes.uncertain),
        ("POST", "/api/lock", routes.lock),
        ("POST", "/api/objects", routes.add_object),
        ("PATCH", "/api/objects/{number:int}", routes.rename),
        ("DELETE", "/api/objects/{number:int}", routes.remove_object),
        ("POST", "/api/run", routes.run),
        ("POST", "/api/stop", routes.stop),
        ("POST", "/api/export", routes.export),
        ("GET", "/api/export/{kind}", routes.download),
        ("POST", "/api/take", routes.take),
        ("POST", "/api/leave", routes.leave),
        ("PUT", "/api/video", routes.drop),
        ("POST", "/api/open", routes.open),
        ("POST", "/api/close", routes.close),
        ("POST", "/api/settings", routes.settings),
    ]
    app = Starlette(routes=[Route(path, _answering(do), methods=[method]) for method, path, do in table])
    return Gate(app, hosts=hosts, key=key)


def _answering(do: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Mistakes as JSON with one sentence."""

    async def answer(request: Request) -> Response:
        try:
            return await do(request)
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except TooLarge:
            return JSONResponse({"error": "the request is too large"}, 413)
        except UserError as mistake:
            return JSONResponse({"error": str(mistake)}, 400)

    return answer


class Routes:
    """The handlers. State: the studio, and whether a video is on its way."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._receiving = studio, False

    # -- what the page looks at

    async def index(self, request: Request) -> Response:
        """The page."""
        return Response(_page("index.html"), media_type="text/html")

    async def page(self, request: Request) -> Response:
        """Its script and style."""
        name = request.path_params["name"]
        if name not in PAGE:
            raise Refused(404, "there is no such file")
        return Response(_page(name), media_type=PAGE[name])

    async def state(self, request: Request) -> Response:
        """All there is to show, once it is newer than `since`."""
        since, tab = whole(request.query_params.get("since", "0")), request.query_params.get("tab", "")[:64]
        held = self._studio.holds(tab)
        deadline = time.monotonic() + min(PATIENCE, float(whole(request.query_params.get("wait", "0"))))
        while self._studio.version <= since and time.monotonic() < deadline:
            if self._studio.holds(tab) != held or await request.is_disconnected():
                break
            await asyncio.sleep(0.04)
        values = await run_in_threadpool(self._studio.state, tab)
        if since:
            values.pop("names", None)  # they do not change
        return JSONResponse(values)

    async def frame(self, request: Request) -> Response:
        """A frame as a JPEG."""
        return await self._jpeg(request, thumb=False)

    async def thumb(self, request: Request) -> Response:
        """A small one."""
        return await self._jpeg(request, thumb=True)

    async def mask(self, request: Request) -> Response:
        """A frame's label map, a byte for each pixel, row by row."""
        index = self._index(request)
        labels = await run_in_threadpool(self._project.mask, index)
        return Response(labels.astype(np.uint8).tobytes(), media_type="application/octet-stream")

    async def before(self, request: Request) -> Response:
        """A frame's label map before its last change."""
        labels = await run_in_threadpool(self._project.before, self._index(request))
        return Response(labels.astype(np.uint8).tobytes(), media_type="application/octet-stream")

    async def propose(self, request: Request) -> Response:
        """A mask of 0 and 1 from clicks or a box, a byte for each pixel."""
        index = self._index(request)
        values = await json_of(request)
        clicks = points(values.get("inside")), points(values.get("outside"))
        wish = Wish(*clicks, box(values.get("box")), series=number(values.get("series")) or 0)
        mask = await run_in_threadpool(self._studio.propose, index, wish, number(values.get("object")))
        return Response(mask.astype(np.uint8).tobytes(), media_type="application/octet-stream")

    async def uncertain(self, request: Request) -> Response:
        """The frame and object whose correction is worth most, but for those near frames that were `seen`."""
        values = (await json_of(request)).get("seen", [])
        if not isinstance(values, list):
            raise Refused(400, "seen is a list of frames' numbers")
        seen = [self._number(index) for index in values]
        place = await run_in_threadpool(self._studio.next_place, seen)
        return JSONResponse(place._asdict() if place else {"frame": None})

    # -- what it changes

    async def draw(self, request: Request) -> Response:
        """The label map that a person drew for a frame, a byte for each pixel."""
        self._yours(request)
        index, (height, width) = self._index(request), self._project.size
        data = await body(request, height * width)
        if len(data) != height * width:
            raise Refused(400, f"the mask has {len(data)} bytes for {width}x{height} pixels")
        labels = np.frombuffer(data, np.uint8).reshape(height, width)
        await self._edit(index, lambda: self._project.draw(index, labels))
        self._studio.changed()
        return JSONResponse({"made": self._project.revisions[index]})

    async def bring(self, request: Request) -> Response:
        """A mask from a file of the person's, as the mask of a frame; what was read, in words."""
        self._yours(request)
        index, name = self._index(request), file_name(request.query_params.get("name", "mask"))
        data = await body(request, LARGEST_MASK)

        def read() -> FirstMask:
            with TemporaryDirectory(prefix="mamp-") as folder:
                path = Path(folder) / name
                path.write_bytes(data)
                try:
                    return self._project.read(path)
                except UserError as error:
                    raise UserError(str(error).replace(str(path), name)) from None

        found = await run_in_threadpool(read)
        await self._edit(index, lambda: self._project.bring(index, found.labels))
        self._studio.changed()
        values = {"line": found.line, "warnings": found.warnings, "made": self._project.revisions[index]}
        return JSONResponse(values)

    async def forget(self, request: Request) -> Response:
        """A drawn mask guides no more."""
        self._yours(request)
        index = self._index(request)
        await self._edit(index, lambda: self._project.forget(index))
        return self._done()

    async def lock(self, request: Request) -> Response:
        """Frames `from` to `to`, both included, are locked or not."""
        self._yours(request)
        values = await json_of(request)
        first, last = self._number(values.get("from")), self._number(values.get("to"))
        locked = bool(values.get("locked"))
        await run_in_threadpool(self._project.lock, range(first, last + 1), locked=locked)
        return self._done()

    async def add_object(self, request: Request) -> Response:
        """A new object; its id."""
        self._yours(request)
        made = self._project.add_object(str((await json_of(request)).get("name", "")))
        self._studio.changed()
        return JSONResponse({"id": made.id})

    async def rename(self, request: Request) -> Response:
        """Another name for an object."""
        self._yours(request)
        self._project.rename(request.path_params["number"], str((await json_of(request)).get("name", "")))
        return self._done()

    async def remove_object(self, request: Request) -> Response:
        """An object goes from all masks."""
        self._yours(request)
        await run_in_threadpool(self._studio.remove_object, request.path_params["number"])
        return self._done()

    async def run(self, request: Request) -> Response:
        """Compute from a frame on, forward or backward, to the end or until another frame."""
        self._yours(request)
        values = await json_of(request)
        direction = values.get("direction")
        if direction not in ("forward", "backward"):
            raise Refused(400, "direction is forward or backward")
        index, engine = self._number(values.get("frame")), self._studio.engine
        until = None if values.get("until") is None else self._number(values["until"])
        assert engine is not None
        await run_in_threadpool(engine.start, index, direction, until=until)
        return self._done()

    async def stop(self, request: Request) -> Response:
        """End the run."""
        self._yours(request)
        if self._studio.engine is not None:
            self._studio.engine.stop()
        return self._done()

    async def export(self, request: Request) -> Response:
        """Begin to write an export."""
        self._yours(request)
        kind = str((await json_of(request)).get("kind"))
        if kind not in KINDS:
            raise Refused(400, f"export {kind[:20]} is not known")
        assert self._project is not None
        await run_in_threadpool(self._studio.export, kind)
        return self._done()

    async def download(self, request: Request) -> Response:
        """A file that was exported; of a folder a zip file."""
        assert self._project is not None
        kind = request.path_params["kind"]
        file = exported(kind, self._project) if kind in KINDS else None
        if file is None or not file.exists():
            raise Refused(404, "it is not exported yet")
        if file.is_file():
            return FileResponse(file, filename=file.name)
        packed = file.with_name(f".{file.name}.{os.getpid()}.zip")
        await run_in_threadpool(zipped, file, packed)
        name = f"{sequence_name(self._project)}-{kind}.zip"
        gone = BackgroundTask(packed.unlink, missing_ok=True)
        return FileResponse(packed, filename=name, background=gone)

    async def take(self, request: Request) -> Response:
        """This tab draws from now on."""
        self._studio.take(request.headers.get("x-mamp-tab", "")[:64])
        return self._done()

    async def leave(self, request: Request) -> Response:
        """This tab was closed."""
        self._studio.leave(request.headers.get("x-mamp-tab", "")[:64])
        return self._done()

    async def drop(self, request: Request) -> Response:
        """A video file that was dropped on the page; it keeps its name, without folders."""
        self._yours(request)
        if self._studio.project is not None:
            raise Refused(409, "a video is open already; close it first")
        name = file_name(request.query_params.get("name", ""))
        if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
            raise Refused(400, f"{name} is no video file; use one of {', '.join(sorted(VIDEO_SUFFIXES))}")
        if self._receiving:
            raise Refused(409, "a video is being received already; wait for it")
        self._receiving = True
        try:
            video = await run_in_threadpool(self._studio.dropped, name)
            folder = video.parent
            fresh = not folder.exists()
            await run_in_threadpool(make_folder, folder)
            partial = folder / f".{video.name}.{os.getpid()}.partial"
            try:
                most = min(LARGEST_VIDEO, self._studio.room(folder) - _SPARE)
                await self._receive(request, partial, most=most)
                await run_in_threadpool(self._studio.adopt, partial, video)
            finally:
                partial.unlink(missing_ok=True)
                if fresh:
                    with contextlib.suppress(OSError):  # it is not empty
                        folder.rmdir()
        finally:
            self._receiving = False
        return self._done()

    async def open(self, request: Request) -> Response:
        """Another video: one of the projects that were listed, by its number, or the example."""
        self._yours(request)
        if self._studio.project is not None:
            raise Refused(409, "a video is open already; close it first")
        values = await json_of(request)
        if values.get("example"):
            await run_in_threadpool(self._studio.open_example)
        else:
            place = number(values.get("recent"))
            await run_in_threadpool(self._studio.reopen, -1 if place is None else place)
        return self._done()

    async def close(self, request: Request) -> Response:
        """The video is closed, so that another can be opened."""
        self._yours(request)
        await run_in_threadpool(self._studio.leave_video)
        return self._done()

    async def settings(self, request: Request) -> Response:
        """Another preset or device."""
        self._yours(request)
        values = await json_of(request)
        await run_in_threadpool(
            self._studio.set, str(values.get("preset", "")), str(values.get("device", ""))
        )
        return self._done()

    async def _receive(self, request: Request, file: Path, *, most: int) -> None:
        """The request's body into a file of this request's own."""
        size = 0
        try:
            with file.open("wb") as writing:
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise Refused(
                            413,
                            f"the video is larger than {most // MB} MB; start `mamp app VIDEO` with its file"
                            " instead",
                        )
                    await run_in_threadpool(writing.write, part)
        except OSError as error:
            raise UserError(f"the video cannot be written ({first_line(error)}); make room") from None

    # -- checks

    @property
    def _project(self) -> Project:
        if self._studio.project is None:
            raise Refused(409, "no video is open; start `mamp app VIDEO`, or drop one on the page")
        return self._studio.project

    def _index(self, request: Request) -> int:
        return self._number(request.path_params["index"])

    def _number(self, value: Any) -> int:
        """A frame's number in the project's list."""
        if type(value) is not int or not 0 <= value < len(self._project.names):
            raise Refused(404, f"there is no such frame; they are 0 to {len(self._project.names) - 1}")
        return value

    def _yours(self, request: Request) -> None:
        if not self._studio.holds(request.headers.get("x-mamp-tab", "")[:64]):
            raise Refused(423, "the video is open in another tab, which draws; take over to draw here")

    async def _edit(self, index: int, change: Callable[[], None]) -> None:
        assert self._studio.engine is not None
        await run_in_threadpool(self._studio.engine.edit, index, change)

    async def _jpeg(self, request: Request, *, thumb: bool) -> Response:
        index, view = self._index(request), self._studio.view
        assert view is not None
        made = await run_in_threadpool(view.jpeg, index, thumb=thumb)
        return Response(made, media_type="image/jpeg")

    def _done(self) -> Response:
        self._studio.changed()
        return JSONResponse({"version": self._studio.version})


def _page(name: str) -> bytes:
    return (files("mamp.app") / "page" / name).read_bytes()
