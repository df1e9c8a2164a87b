"""How the places that keep large files answer a request for one: the pages of Google Drive and Dropbox."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser

from mamp.core.errors import UserError, first_ten

_IN_BROWSER = "download it in a browser and give it with --url FILE"
_CHECKPOINT = re.compile(r"[^/\\]+\.(pt|pth|pth\.tar|ckpt|bin)")


@dataclass(frozen=True)
class Host:
    """A place that keeps files.

    first: the address that a person sees -> the one to ask. hosts: where it may redirect to; () is only the
    address's own host. page: as of `mamp.core.download.Wanted`.
    """

    first: Callable[[str], str]
    hosts: tuple[str, ...] = ()
    page: Callable[[str, str], str | None] | None = None


class _Page(HTMLParser):
    """A page's links (address, words) and forms (address, hidden fields, name). State: those found so far."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.forms: list[tuple[str, dict[str, str], str]] = []
        self._words: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, a form or a field."""
        held = {key: value or "" for key, value in attrs}
        if tag == "a":
            self._words = []
            self.links.append((held.get("href", ""), ""))
        elif tag == "form":
            self.forms.append((held.get("action", ""), {}, held.get("id", "")))
        elif tag == "input" and self.forms and "name" in held:
            self.forms[-1][1][held["name"]] = held.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Give a link its words."""
        if tag == "a" and self._words is not None:
            self.links[-1] = (self.links[-1][0], " ".join(self._words))
            self._words = None

    def handle_data(self, data: str) -> None:
        """Gather a link's words."""
        if self._words is not None and data.strip():
            self._words.append(data.strip())


def _drive_file(url: str) -> str:
    """.../file/d/ID/view, .../open?id=ID or .../uc?id=ID -> the address that gives the file."""
    parts = urllib.parse.urlsplit(url)
    found = re.search(r"/file/d/([\w-]+)", parts.path)
    number = found[1] if found else urllib.parse.parse_qs(parts.query).get("id", [""])[0]
    if not re.fullmatch(r"[\w-]+", number):
        raise UserError(f"{url} names no file of Google Drive; give .../file/d/ID/view")
    return f"{parts.scheme}://{parts.netloc}/uc?export=download&id={number}"


def _drive_folder(url: str) -> str:
    """.../drive/folders/ID -> the page that lists the folder without a script."""
    parts = urllib.parse.urlsplit(url)
    found = re.search(r"/folders/([\w-]+)", parts.path)
    if not found:
        raise UserError(f"{url} names no folder of Google Drive; give .../drive/folders/ID")
    return f"{parts.scheme}://{parts.netloc}/embeddedfolderview?id={found[1]}"


def _drive_page(address: str, text: str) -> str | None:
    """A page of Google Drive: a folder's files, or the question about a file too large to scan."""
    low = text.lower()
    if "quota exceeded" in low or "too many users have viewed or downloaded this file" in low:
        raise UserError(
            "Google Drive says that too many people downloaded this file lately; try again in a day, or"
            f" {_IN_BROWSER}"
        )
    page = _Page(text)
    for action, fields, name in page.forms:
        if name == "download-form" or "confirm" in fields:
            parts = urllib.parse.urlsplit(urllib.parse.urljoin(address, action))
            query = {**dict(urllib.parse.parse_qsl(parts.query)), **fields}
            return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))
    for link, _ in page.links:
        if "confirm=" in link and "export=download" in link:
            return urllib.parse.urljoin(address, link)
    if files := [(link, words) for link, words in page.links if "/file/d/" in link]:
        return _only_checkpoint(address, files)
    if "request access" in low or "you need access" in low or "servicelogin" in low:
        raise UserError(f"Google Drive does not give this file to everyone; {_IN_BROWSER}")
    return None


def _only_checkpoint(address: str, files: list[tuple[str, str]]) -> str:
    """The one file of a folder that is a checkpoint."""
    fitting = [link for link, words in files if _CHECKPOINT.fullmatch(words.strip().lower())]
    if len(fitting) != 1:
        raise UserError(
            f"the folder holds {len(fitting) or 'no'} checkpoints"
            f" ({first_ten([words for _, words in files])}); give the address of one with --url"
        )
    return _drive_file(urllib.parse.urljoin(address, fitting[0]))


def _dropbox_file(url: str) -> str:
    """The page of a file -> the file itself."""
    parts = urllib.parse.urlsplit(url)
    query = {**dict(urllib.parse.parse_qsl(parts.query)), "dl": "1"}
    return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))


def _dropbox_page(address: str, text: str) -> str | None:
    """A page of Dropbox in place of a file says why there is none."""
    low = text.lower()
    if "too much traffic" in low or "temporarily disabled" in low:
        raise UserError(
            f"Dropbox says that this link has had too much traffic; try again in a day, or {_IN_BROWSER}"
        )
    if "was deleted" in low or "no longer available" in low:
        raise UserError("Dropbox says that this file was deleted; give another place with --url")
    return None


_GOOGLE = ("drive.google.com", "drive.usercontent.google.com", "docs.google.com", "*.googleusercontent.com")
HOSTS = {
    "drive": Host(_drive_file, _GOOGLE, _drive_page),
    "drive folder": Host(_drive_folder, _GOOGLE, _drive_page),
    "dropbox": Host(
        _dropbox_file, ("www.dropbox.com", "dropbox.com", "*.dropboxusercontent.com"), _dropbox_page
    ),
    "plain": Host(str),
}


def host_of(url: str) -> str:
    """The key of HOSTS for an address that a person gave."""
    parts = urllib.parse.urlsplit(url)
    name = (parts.hostname or "").lower()
    if name in ("drive.google.com", "docs.google.com"):
        return "drive folder" if "/folders/" in parts.path else "drive"
    return "dropbox" if name in ("www.dropbox.com", "dropbox.com") else "plain"
