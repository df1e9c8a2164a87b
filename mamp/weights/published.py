"""Weights that the authors of a method published: fetched when asked to, converted, kept for later use."""

from __future__ import annotations

import contextlib
import shutil
import urllib.parse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from mamp import methods, weights
from mamp.core.cache import cached_weights
from mamp.core.download import Wanted, download
from mamp.core.errors import UserError
from mamp.core.files import Locks, make_folder, sha256_of, write_json
from mamp.core.hosts import HOSTS, host_of
from mamp.core.progress import say, stay_silent
from mamp.methods.base import Published

# the largest of these networks has 40 million numbers; a checkpoint may hold the optimiser's, too
LARGEST = 2 * 10**9
_BEGINS = (b"PK\x03\x04", b"\x80")  # as torch.save writes: a zip, or formerly a pickle


def fetch(name: str, *, url: str | None = None, sha256: str | None = None, quiet: bool = False) -> Path:
    """Bring published weights to this machine's cache; return their file, which `weights.read` takes.

    url: another place of the checkpoint: http, https, or a local file. sha256: what the checkpoint must have.
    Beside NAME.safetensors lies NAME.json: source, licence, checksum and date. Both appear when all is well.
    Until then everything lies in .NAME.fetch, where the same call goes on after an interruption.

    Raises UserError for a name that is not known, when the file cannot be had, and when it is no checkpoint
    of that method.
    """
    method, one = find(name)
    target, show = cached_weights(name), stay_silent if quiet else say
    with _alone(target) as work:
        if target.exists():
            if url or sha256:
                raise UserError(f"{target} is there already; remove it to fetch it from elsewhere")
            show(f"{target} is there already; nothing was fetched")
            return target
        checkpoint, source = _bring(one, url, work, quiet=quiet)
        ours = checkpoint.parent == work
        digest, count = sha256_of(checkpoint), checkpoint.stat().st_size
        show(f"{source}: {count:,} bytes, sha256 {digest}")
        made = {"source": source, "licence": one.licence, "bytes": count, "sha256": digest}
        try:
            if sha256 is not None and digest != sha256.lower():
                raise UserError(f"it has the sha256 {digest}, not {sha256}")
            found = weights.convert(checkpoint, work / target.name, method=method, provenance=made)
            if wrong := weights.not_numbers_in(found):
                raise UserError(wrong)
        except UserError as error:
            if ours:
                checkpoint.unlink()  # so that the same command fetches it again
            said = str(error).replace(str(checkpoint), "it")
            raise UserError(f"{source} gives no {name}: {said}; give another place with --url") from None
        date = datetime.now(timezone.utc).date().isoformat()
        beside = {"name": name, "method": method, "what": one.what, **made, "fetched": date}
        write_json(target.with_suffix(".json"), {**beside, "published score": one.score})
        (work / target.name).replace(target)
    return target


def bring(name: str) -> None:
    """Fetch published weights unless they are on this machine; UserError as `fetch`."""
    find(name)
    if not cached_weights(name).exists():
        fetch(name)


def find(name: str) -> tuple[str, Published]:
    """The method and the entry of published weights; UserError when there are none of this name."""
    known = methods.published()
    if name not in known:
        raise UserError(f"{name} are no published weights; use one of {', '.join(known)}, or list")
    return known[name]


def lines() -> list[str]:
    """All published weights, for a person: a line of names and a line of origin each."""
    found = []
    for name, (method, one) in methods.published().items():
        here = "in the cache" if cached_weights(name).exists() else "not fetched"
        found += [
            f"{name}: method {method}, {one.what}; {here}",
            f"    published score: {one.score}; licence: {one.licence}",
            f"    {one.url}",
        ]
    return found


def _bring(one: Published, url: str | None, work: Path, *, quiet: bool) -> tuple[Path, str]:
    """The checkpoint as a local file, and where it came from."""
    place = url or one.url
    if "://" not in place:
        local = Path(place).expanduser()
        if not local.is_file():
            raise UserError(f"--url {place} is no file and no address; give https://... or a local file")
        return local, local.name
    parts = urllib.parse.urlsplit(place)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--url {place} cannot be fetched; give http://, https:// or a local file")
    host = HOSTS[host_of(place) if url else one.host]
    first = host.first(place)
    if url:  # what came from elsewhere is another file
        (work / "checkpoint").unlink(missing_ok=True)
    hosts = host.hosts or (parts.hostname,)
    wanted = Wanted("a checkpoint", _BEGINS, LARGEST, hosts, host.page)
    download(first, work / "checkpoint", wanted, quiet=quiet)
    return work / "checkpoint", place


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[Path]:
    """The neighbour of `target` that is this process's alone; another that fetches the same is waited for.

    It goes in the end, unless it holds what the next fetch goes on from.
    """
    work = target.parent / f".{target.stem}.fetch"
    make_folder(work)
    with Locks(work.with_suffix(".lock")) as locks:
        locks.wait(0)
        make_folder(work)
        try:
            yield work
        finally:
            came = [file for file in (work / "checkpoint", work / "checkpoint.part") if file.exists()]
            if target.exists() or not any(file.stat().st_size for file in came):
                shutil.rmtree(work, ignore_errors=True)
