"""One file from a web server, in as many pieces as it takes."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from mamp.core.errors import UserError, first_line
from mamp.core.files import MB, write_json
from mamp.core.progress import Progress, say
from mamp.core.texts import read_json

_CHUNK = MB  # the unit that progress counts
_SILENCE = 60.0  # seconds without a byte after which a connection counts as broken
_TRIES = 5  # attempts in a row that brought nothing
_PAUSE = 1.0  # seconds before the first new attempt; doubled each time


class _Interrupted(Exception):
    """The server or the way to it failed; another attempt may do."""


def download(url: str, target: Path, *, begins: bytes, limit: int, quiet: bool = False) -> None:
    """Bring `url` (http or https) to `target`, whole or not at all.

    What has come so far lies in TARGET.part, and TARGET.part.json says of which version of the file it is;
    another call goes on from there where the server serves ranges, and begins anew where it does not or where
    its file has changed. A broken transfer is taken up again by itself as long as each attempt brings
    something.
    begins: the bytes a file of the right kind begins with. limit: most bytes it may have.

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
            _transfer(part, begins=begins, limit=limit, quiet=quiet)
            break
        except _Interrupted as broken:
            failures = 1 if part.size > before else failures + 1
            if failures >= _TRIES:
                raise UserError(
                    f"{url} broke off after {part.told()} ({broken}); the same command goes on from there"
                ) from None
            if not quiet:
                say(f"{url}: {broken} after {part.told()}; trying again")
            time.sleep(_PAUSE * 2 ** (failures - 1))
    part.finish()


class _Part:
    """What has come of a file so far. State: its length and version as the server told them, kept in a file
    beside it.
    """

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

    def told(self) -> str:
        """How much has come, in words."""
        of = "" if self.length is None else f" of {self.length:,}"
        return f"{self.size:,}{of} bytes"


def _transfer(part: _Part, *, begins: bytes, limit: int, quiet: bool) -> None:
    """One request, for what is missing; _Interrupted when not all of it comes."""
    if part.whole:
        return
    if (
        part.length is None
    ):  # then nothing tells a part from the whole, nor whether the file is still the same
        part.restart()
    with contextlib.closing(_ask(part)) as response:
        if response.status == 206 and not _goes_on(response, part):
            part.restart()
            raise _Interrupted("the file has changed on the server")
        if response.status == 200:
            length = response.headers.get("Content-Length", "")
            version = response.headers.get("ETag") or response.headers.get("Last-Modified")
            part.restart(int(length) if length.isdecimal() else None, version)
        _refuse_size(part, limit)
        try:
            _copy(response, part, begins=begins, limit=limit, quiet=quiet)
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(_reason(error)) from None
    if part.length is not None and part.size < part.length:
        raise _Interrupted("the connection ended")
    if part.size == 0:
        raise UserError(f"{part.url} is empty; give another place with --url")


def _ask(part: _Part) -> Any:
    """The server's answer; UserError for one that will not change, _Interrupted for one that may."""
    request = urllib.request.Request(part.url, headers={"Accept-Encoding": "identity"})
    if part.size:
        request.add_header("Range", f"bytes={part.size}-")
        if part.version and not part.version.startswith("W/"):
            request.add_header("If-Range", part.version)
    try:
        return urllib.request.urlopen(request, timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        error.close()
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


def _refuse_size(part: _Part, limit: int) -> None:
    """UserError where the file is larger than such a file can be, or than the disk has room for."""
    if part.length is None:
        return
    if part.length > limit:
        raise UserError(
            f"{part.url} has {part.length:,} bytes, more than such an archive has; give another --url"
        )
    missing, free = part.length - part.size, shutil.disk_usage(part.path.parent).free
    if missing > free:
        raise UserError(
            f"{part.path.parent} has room for {free:,} bytes, and {missing:,} are to come; make room, or"
            " choose another --out"
        )


def _copy(response: Any, part: _Part, *, begins: bytes, limit: int, quiet: bool) -> None:
    """The answer's bytes behind those that came."""
    total = -(-(part.length or 0) // _CHUNK)
    came, size = part.size, part.size
    with (
        _appending(part) as file,
        Progress(total, unit="MB", done=came // _CHUNK, quiet=quiet or not total) as progress,
    ):
        progress.begin(part.path.name.removesuffix(".part"))
        while chunk := response.read(_CHUNK):
            if size == 0 and not chunk.startswith(begins):
                kind = response.headers.get_content_type()
                raise UserError(f"{part.url} gives no zip archive ({kind}); give another place with --url")
            size += len(chunk)
            if size > limit:
                raise UserError(f"{part.url} does not end after {limit:,} bytes; give another --url")
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
