"""A host of published weights: a file, its pages, where it sends to, and how it breaks off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from io import BytesIO

import torch

from mamp.methods.mamp.encoder import Encoder, published_name


def checkpoint(seed: int = 0) -> bytes:
    """A file of the published form, random numbers in it."""
    torch.manual_seed(seed)
    state = {published_name(n): v for n, v in Encoder(width=0.125, features=8).state_dict().items()}
    file = BytesIO()
    torch.save({"epoch": 3, "state_dict": state}, file)
    return file.getvalue()


@dataclass
class Site:
    """What a host answers.

    routes: path -> what it does with a request. content, tag: the file and its version. breaks: after how
    many bytes answers end. asked: (path, range) of each request.
    """

    content: bytes
    address: str = ""
    tag: str = '"1"'
    routes: dict[str, Callable[[Site, BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Take a request down, and do what its route says."""
        self.asked.append((request.path, request.headers.get("Range")))
        self.routes.get(request.path.split("?")[0], page("not here", status=404))(self, request)


def give(site: Site, request: BaseHTTPRequestHandler) -> None:
    """The file, or what is missing of it."""
    wanted, start, size = request.headers.get("Range"), 0, len(site.content)
    if wanted and request.headers.get("If-Range") in (None, site.tag):
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    else:
        request.send_response(200)
    request.send_header("Content-Type", "application/octet-stream")
    request.send_header("Content-Disposition", 'attachment; filename="../../../evil.pth"')
    request.send_header("ETag", site.tag)
    request.send_header("Content-Length", str(size - start))
    request.end_headers()
    end = start + site.breaks.pop(0) if site.breaks else size
    request.wfile.write(site.content[start:end])


def page(text: str, *, status: int = 200) -> Callable[[Site, BaseHTTPRequestHandler], None]:
    def show(site: Site, request: BaseHTTPRequestHandler) -> None:
        body = text.replace("SITE", site.address).encode()
        request.send_response(status)
        request.send_header("Content-Type", "text/html; charset=utf-8")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return show


def send_to(place: str) -> Callable[[Site, BaseHTTPRequestHandler], None]:
    def redirect(site: Site, request: BaseHTTPRequestHandler) -> None:
        request.send_response(303)
        request.send_header("Location", place.replace("SITE", site.address))
        request.end_headers()

    return redirect
