"""Who may talk to the page's server: this machine's own browser, on the address that was printed."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
LONGEST = 500  # letters of an address
WRONG_ADDRESS = (
    "This is not the address that `mamp app` printed: it ends with a key of its own at every start. Copy it"
    " whole.\n"
)


class TooLarge(Exception):
    """A request's body is larger than what is asked for can be."""


class Gate:
    """An ASGI application around another one.

    A request must name this server as its host, which a page that another name was bound to cannot (DNS
    rebinding); come from this page if it says where it comes from; and carry the key of this run, but
    for the page's own files.
    """

    def __init__(self, app: Any, *, hosts: set[str], key: str) -> None:
        self._app, self._hosts, self._key = app, hosts, key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        refused = self._refusal(scope)
        answer = self._app if refused is None else refused

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in HEADERS.items()),
                ]
            await send(message)

        await answer(scope, receive, with_headers)

    def _refusal(self, scope: Any) -> Any:
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        if headers.get("host", "") not in self._hosts:
            return PlainTextResponse("This server answers for 127.0.0.1 only.\n", 403)
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            return PlainTextResponse("This server answers its own page only.\n", 403)
        # a link to the page may be followed from anywhere, such as a terminal in a browser; it has the key in
        # it
        followed = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not followed:
            return PlainTextResponse("This server answers its own page only.\n", 403)
        if len(scope["path"]) > LONGEST:
            return JSONResponse({"error": "there is no such address"}, 404)
        if scope["path"].startswith("/page/"):
            return None
        given = headers.get("x-mamp-key") or "".join(
            parse_qs(scope["query_string"].decode("latin1")).get("key", [])[:1]
        )
        if hmac.compare_digest(given.encode(), self._key.encode()):
            return None
        if scope["path"].startswith("/api/"):
            return JSONResponse(
                {"error": "this page belongs to an earlier `mamp app`; open the address it printed"}, 403
            )
        return PlainTextResponse(WRONG_ADDRESS, 403)


async def body(request: Request, limit: int) -> bytes:
    """The request's body; TooLarge as soon as it has more than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge
        parts.append(part)
    return b"".join(parts)
