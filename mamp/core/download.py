"""One file from a web server, in as many pieces as it takes."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError, first_line
from mamp.core.files import MB, write_json
from mamp.core.progress import Progress, say
from mamp.core.terminal import clipped
from mamp.core.texts import read_json

_CHUNK = MB  # the unit that progress counts
_SILENCE = 60.0  # seconds without a byte after which a connection counts as broken
_TRIES = 5  # attempts in a row that brought nothing
_PAUSE = 1.0  # seconds before the first new attempt; doubled each time
_PAGES = 4  # answers in a row, web pages and then the file
_AGENT = "Mozilla/5.0 (compatible; mamp)"  # some hosts give a program less than a browser
_SIGN_IN = ("accounts.google.com", "accounts.youtube.com")


class _Interrupted(Exception):
    """The server or the way to it failed; another attempt may do."""


@dataclass(frozen=True)
class Wanted:
    """What a file must be, and how its host may answer.

    what: what such a file is called. begins: what it may begin with. limit: most bytes it may have.
    hosts: the only hosts that a redirect may lead to, "*.x.org" for those below x.org; None: any. A redirect
    from https to http is refused then.
    page: called with (address, text) of a web page that came in place of the file. It returns the address
    that leads on, None for a page that it does not know, or raises UserError where the page says why there is
    no file. Without it a web page is no file.
    """

    what: str
    begins: tuple[bytes, ...]
    limit: int
    hosts: tuple[str, ...] | None = None
    page: Callable[[str, str], str | None] | None = None


def download(url: str, target: Path, wanted: Wanted, *, quiet: bool = False) -> None:
    """Bring `url` (http or https) to `target`, whole or not at all.

    What has come so far lies in TARGET.part, and TARGET.part.json says of which version of the file it is;
    another call goes on from there where the server serves ranges, and begins anew where it does not or where
    its file has changed. A broken transfer is taken up again by itself as long as each attempt brings
    something.
    Raises UserError when the server has no such file, when it is of another kind or size than it says, when
    the disk is full, and when the transfer keeps breaking.
    """
    if target.exists():
        return
    part = _Part(target, url)
    failures = 0
    while True:
        before = part.size
        try:
            _transfer(part, wanted, quiet=quiet)
            break
        except _Interrupted as broken:
            failures = 1 if part.size > before else failures + 1
            if failures >= _TRIES:
                raise UserError(
                    f"{url} broke off after {part.size_in_words()} ({broken}); the same command goes on"
                ) from None
            if not quiet:
                say(f"{url}: {broken} after {part.size_in_words()}; trying again")
            time.sleep(_PAUSE * 2 ** (failures - 1))
    part.finish()


class _Part:
    """What has come of a file so far. State: its length and version, kept in a file beside it."""

    def __init__(self, target: Path, url: str) -> None:
        self.url = url
        self._target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self.length: int | None = None
        self.version: str | None = None
        try:
            kept = read_json(self._note)
            if kept["url"] == url and self.path.exists():
                self.length, self.version = kept["length"], kept["version"]
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass
        self.restart()

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def whole(self) -> bool:
        """Whether all of the file has come, as far as its length is known."""
        return self.length is not None and self.size == self.length

    def restart(self, length: int | None = None, version: str | None = None) -> None:
        """Drop what came, and remember what the server says of the file that comes now."""
        self.path.unlink(missing_ok=True)
        self.length, self.version = length, version
        write_json(self._note, {"url": self.url, "length": length, "version": version})

    def finish(self) -> None:
        """Give the file its name."""
        os.replace(self.path, self._target)
        self._note.unlink(missing_ok=True)

    def size_in_words(self) -> str:
        """How much has come, in words."""
        of = "" if self.length is None else f" of {self.length:,}"
        return f"{self.size:,}{of} bytes"


def _transfer(part: _Part, wanted: Wanted, *, quiet: bool) -> None:
    """One request, for what is missing; _Interrupted when not all of it comes."""
    if part.whole:
        return
    if part.length is None:  # then a part looks like the whole, and another file like the same
        part.restart()
    with contextlib.closing(_answer(part, wanted)) as response:
        if response.status == 206 and not _goes_on(response, part):
            part.restart()
            raise _Interrupted("the file has changed on the server")
        if response.status == 200:
            length = response.headers.get("Content-Length", "")
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            part.restart(int(length) if length.isdecimal() else None, version)
        _refuse_size(part, wanted)
        try:
            _copy(response, part, wanted, quiet=quiet)
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(_reason(error)) from None
    if part.length is not None and part.size < part.length:
        raise _Interrupted("the connection ended")
    if part.size == 0:
        raise UserError(f"{part.url} is empty; give another place with --url")


def _answer(part: _Part, wanted: Wanted) -> Any:
    """The server's answer to a request for the file; web pages on the way to it are read and followed."""
    jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(jar, _Redirects(wanted.hosts, part.url))
    address = part.url
    for _ in range(_PAGES):
        response = _ask(opener, address, part, page=wanted.page)
        if wanted.page is None or response.headers.get_content_type() != "text/html":
            return response
        with contextlib.closing(response):
            text = _text_of(response)
        before = response.geturl()
        address = wanted.page(before, text) or ""
        if not address:
            raise UserError(
                f"{part.url} gives a web page in place of the file; download it in a browser and give it with"
                " --url FILE"
            )
        refuse_address(address, wanted.hosts, before=before, asked=part.url)
    raise UserError(f"{part.url} leads from one web page to the next; give another place with --url")


def _text_of(response: Any) -> str:
    """A web page, as much of it as matters."""
    try:
        return str(response.read(MB).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to hosts that are allowed."""

    def __init__(self, hosts: tuple[str, ...] | None, asked: str) -> None:
        self._hosts, self._asked = hosts, asked

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request that follows; UserError where it may not."""
        refuse_address(newurl, self._hosts, before=req.full_url, asked=self._asked)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def refuse_address(new: str, hosts: tuple[str, ...] | None, *, before: str, asked: str) -> None:
    """UserError where a server of `hosts` sends to an address that is none of theirs, or to an unsafe one."""
    if hosts is None:
        return
    old, found = urllib.parse.urlsplit(before), urllib.parse.urlsplit(new)
    host = (found.hostname or "").lower()
    if host in _SIGN_IN:
        raise UserError(
            f"{asked} asks to sign in ({host}), so the file is not public; download it in a browser and give"
            " it with --url FILE"
        )
    if found.scheme not in ("http", "https") or (old.scheme, found.scheme) == ("https", "http"):
        raise UserError(
            f"{asked} sends to {clipped(new)}, from {old.scheme} to {found.scheme or 'no scheme'}; give"
            " another place with --url"
        )
    if not any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in hosts):
        raise UserError(
            f"{asked} sends to another host, {host or 'none'}; if that is right, give its address with --url"
        )


def _ask(opener: Any, address: str, part: _Part, *, page: Callable[[str, str], str | None] | None) -> Any:
    """The server's answer; UserError for one that will not change, _Interrupted for one that may."""
    request = urllib.request.Request(address, headers={"Accept-Encoding": "identity", "User-Agent": _AGENT})
    if part.size:
        request.add_header("Range", f"bytes={part.size}-")
        if part.version and not part.version.startswith("W/"):
            request.add_header("If-Range", part.version)
    try:
        return opener.open(request, timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            if page is not None and error.headers.get_content_type() == "text/html":
                page(address, _text_of(error))  # it may say why
        if error.code == 416:
            part.restart()
            raise _Interrupted("the server's file is shorter than what came") from None
        if error.code == 429 or error.code >= 500:
            raise _Interrupted(f"the server answers {error.code} {error.reason}") from None
        raise UserError(
            f"{part.url} cannot be had (the server answers {error.code} {error.reason}); give another place"
            " with --url"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from None


def _goes_on(response: Any, part: _Part) -> bool:
    """Whether a part of a file, as it was answered, is the rest of what came."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", ""))
    return found is not None and (int(found[1]), int(found[3])) == (part.size, part.length)


def _refuse_size(part: _Part, wanted: Wanted) -> None:
    """UserError where the file is larger than such a file can be, or than the disk has room for."""
    if part.length is None:
        return
    if part.length > wanted.limit:
        raise UserError(
            f"{part.url} has {part.length:,} bytes, more than such {wanted.what} has; give another --url"
        )
    missing, free = part.length - part.size, shutil.disk_usage(part.path.parent).free
    if missing > free:
        raise UserError(
            f"{part.path.parent} has room for {free:,} bytes, and {missing:,} are to come; make room, or"
            " choose another --out"
        )


def _copy(response: Any, part: _Part, wanted: Wanted, *, quiet: bool) -> None:
    """The answer's bytes behind those that came."""
    total = -(-(part.length or 0) // _CHUNK)
    came, size = part.size, part.size
    with (
        _appending(part) as file,
        Progress(total, unit="MB", done=came // _CHUNK, quiet=quiet or not total) as progress,
    ):
        progress.begin(part.path.name.removesuffix(".part"))
        while chunk := response.read(_CHUNK):
            if size == 0 and not any(chunk.startswith(one[: len(chunk)]) for one in wanted.begins):
                kind = response.headers.get_content_type()
                what = wanted.what.split(" ", 1)[1]
                raise UserError(f"{part.url} gives no {what} ({kind}); give another place with --url")
            size += len(chunk)
            if size > wanted.limit:
                raise UserError(f"{part.url} does not end after {wanted.limit:,} bytes; give another --url")
            try:
                file.write(chunk)
            except OSError as error:
                raise UserError(f"{part.path} cannot be written ({first_line(error)}); make room") from None
            for _ in range(size // _CHUNK - came // _CHUNK):
                progress.advance()
            came = size


def _appending(part: _Part) -> Any:
    try:
        return part.path.open("ab", buffering=0)
    except OSError as error:
        raise UserError(
            f"{part.path} cannot be written ({first_line(error)}); choose another --out"
        ) from None


def _reason(error: Exception) -> str:
    """What broke, in a few words."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return "the server is silent" if isinstance(error, TimeoutError) else first_line(error)
