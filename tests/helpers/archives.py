"""Small DAVIS archives, and a web server that serves them well or badly."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

import numpy as np
from local_http import answering
from PIL import Image

SIZE = (12, 16)


def picture(seed: int) -> bytes:
    """A JPEG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def mask() -> bytes:
    """A PNG with object 1."""
    labels = np.zeros(SIZE, np.uint8)
    labels[2:6, 3:9] = 1
    file = BytesIO()
    Image.fromarray(labels).save(file, "PNG")
    return file.getvalue()


def davis_files(frames: int = 3) -> dict[str, bytes]:
    """Name -> bytes of a DAVIS-2017 archive with one training and one validation video."""
    files = {"DAVIS/ImageSets/2017/train.txt": b"bear\n", "DAVIS/ImageSets/2017/val.txt": b"dog\n"}
    for name in ("bear", "dog"):
        for number in range(frames):
            files[f"DAVIS/JPEGImages/480p/{name}/{number:05d}.jpg"] = picture(number)
            files[f"DAVIS/Annotations/480p/{name}/{number:05d}.png"] = mask()
    return files


def write_zip(path: Path, files: dict[str, bytes], *, method: int = zipfile.ZIP_STORED) -> Path:
    """A zip of these files."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@dataclass
class Server:
    """What is served, how badly, and what was asked for.

    ranges: whether the server knows them. breaks: after how many bytes each answer in turn ends. promises: a
    false length.
    status: answers in turn that are no file.
    """

    content: bytes
    address: str = ""
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    promises: int | None = None
    status: list[int] = field(default_factory=list)
    kind: str = "application/zip"
    asked: list[str | None] = field(default_factory=list)
    tagged: bool = True

    @property
    def tag(self) -> str:
        """Changes with the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:8]}"'


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server at work; its address is that of the archive."""
    with answering(lambda request: _answer(request, server)) as address:
        server.address = f"{address}/DAVIS.zip"
        yield server


def _answer(request: BaseHTTPRequestHandler, server: Server) -> None:
    wanted = request.headers.get("Range")
    server.asked.append(wanted)
    if server.status:
        request.send_error(server.status.pop(0))
        return
    size, start = len(server.content), 0
    same = request.headers.get("If-Range") in (None, server.tag)
    if wanted and server.ranges and same:
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= size:
            request.send_error(416)
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    else:
        request.send_response(200)
    request.send_header("Content-Type", server.kind)
    if server.tagged:
        request.send_header("ETag", server.tag)
    if server.promises != 0:
        request.send_header("Content-Length", str(server.promises or size - start))
    request.end_headers()
    end = start + server.breaks.pop(0) if server.breaks else size
    request.wfile.write(server.content[start:end])
