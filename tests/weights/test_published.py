"""Published weights by name, from a server that answers as their hosts do."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

import pytest
import torch
from local_http import answering
from weight_host import Site, checkpoint, give, page, send_to

import mamp
from mamp import methods, weights
from mamp.cli import main
from mamp.core import download as downloads
from mamp.core import hosts
from mamp.core.cache import cache_folder, cached_weights
from mamp.core.errors import UserError
from mamp.methods.mamp.encoder import published_name
from mamp.weights import published

NAME = "afb-urr-davis17"  # any name; the tests give it files of the smallest network
ID = "1Lp9X2b0_som-0W"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(checkpoint())
    with answering(made.answer) as made.address:
        yield made


@pytest.fixture(autouse=True)
def here(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of one's own, no pauses, and hosts that are this server."""
    monkeypatch.setenv("MAMP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    monkeypatch.setattr(downloads, "_CHUNK", 1000)
    ours = {n: replace(h, hosts=("127.0.0.1",) if h.hosts else ()) for n, h in hosts.HOSTS.items()}
    monkeypatch.setattr(published, "HOSTS", ours)


def publish(
    monkeypatch: pytest.MonkeyPatch, site: Site, place: str, host: str, *, method: str = "mamp"
) -> None:
    """Let NAME lie at `place` of the site."""
    _, one = methods.published()[NAME]
    known = {NAME: (method, replace(one, url=site.address + place, host=host))}
    monkeypatch.setattr(methods, "published", lambda: known)


def left() -> list[str]:
    folder = cache_folder() / "weights"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.exists() else []


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, site: Site) -> Site:
    publish(monkeypatch, site, "/Codes/level1.pth", "plain")
    site.routes["/Codes/level1.pth"] = give
    return site


# ---------------------------------------------------------------- the file itself


def test_weights_come_once_and_are_read_by_name(plain: Site) -> None:
    with pytest.raises(UserError, match=f"`mamp weights fetch {NAME}`, or --fetch .*academic use only"):
        weights.read(NAME)
    path = published.fetch(NAME, quiet=True)
    assert path == cached_weights(NAME) and left() == [f"{NAME}.json", f"{NAME}.safetensors"]
    beside = json.loads(path.with_suffix(".json").read_text())
    assert (
        beside["source"] == f"{plain.address}/Codes/level1.pth" and beside["licence"] == "academic use only"
    )
    assert beside["bytes"] == len(plain.content) and len(beside["sha256"]) == 64
    found = weights.read(NAME)
    assert found.provenance["licence"] == "academic use only"
    assert found.method["encoder"]["width"] == 0.125
    published.fetch(NAME, quiet=True)
    assert len(plain.asked) == 1


def test_an_interrupted_fetch_goes_on_in_another_call(plain: Site) -> None:
    plain.breaks = [3000, *[0] * 4]
    with pytest.raises(UserError, match=r"broke off after 3,000 of [\d,]+ bytes .*the same command goes on"):
        published.fetch(NAME, quiet=True)
    assert left() == [f".{NAME}.fetch"]
    published.fetch(NAME, quiet=True)
    assert plain.asked[-1][1] == "bytes=3000-" and left() == [f"{NAME}.json", f"{NAME}.safetensors"]


def test_a_file_that_changed_meanwhile_comes_anew(plain: Site) -> None:
    plain.breaks = [3000, *[0] * 4]
    with pytest.raises(UserError):
        published.fetch(NAME, quiet=True)
    plain.content, plain.tag = checkpoint(1), '"2"'
    published.fetch(NAME, quiet=True)
    assert weights.read(NAME).provenance["bytes"] == len(plain.content)


@pytest.mark.parametrize("seed", range(8))
def test_wherever_it_breaks_the_file_is_whole_in_the_end(plain: Site, seed: int) -> None:
    rng = random.Random(seed)
    plain.breaks = [rng.choice([0, 1, rng.randrange(6000)]) for _ in range(rng.randrange(1, 12))]
    for _ in range(12):
        try:
            published.fetch(NAME, quiet=True)
            break
        except UserError as error:
            assert "broke off" in str(error)
    expected = torch.load(BytesIO(plain.content), weights_only=True)["state_dict"]
    found = weights.read(NAME).state
    assert all(torch.equal(value, expected[published_name(name)]) for name, value in found.items())


def _of_another_network() -> bytes:
    file = BytesIO()
    torch.save({"layer.weight": torch.zeros(3)}, file)
    return file.getvalue()


def _not_a_number() -> bytes:
    file = BytesIO()
    loaded = torch.load(BytesIO(checkpoint()), weights_only=True)
    next(iter(loaded["state_dict"].values())).view(-1)[0] = float("nan")
    torch.save(loaded, file)
    return file.getvalue()


def _with_code() -> bytes:
    file = BytesIO()
    torch.save({"state_dict": Path}, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_of_another_network, "not a MAMP checkpoint"),
        (_not_a_number, "1 value is NaN or infinite"),
        (_with_code, "with code inside"),
        (lambda: checkpoint()[:-500], "not a readable checkpoint"),
        (lambda: b"PK\x03\x04" + bytes(500), "not a readable checkpoint"),
        (lambda: b"<html>moved</html>", "gives no checkpoint"),
        (lambda: b"", "is empty"),
    ],
)
def test_a_wrong_file_leaves_nothing_and_is_asked_for_again(
    plain: Site, content: Callable[[], bytes], words: str
) -> None:
    right, plain.content = plain.content, content()
    with pytest.raises(UserError, match=words) as refused:
        published.fetch(NAME, quiet=True)
    assert "--url" in str(refused.value) and left() == []
    plain.content, plain.tag = right, '"3"'
    published.fetch(NAME, quiet=True)
    assert cached_weights(NAME).exists()


def test_a_wrong_checksum_is_refused(plain: Site) -> None:
    with pytest.raises(UserError, match="has the sha256 [0-9a-f]{64}, not abc"):
        published.fetch(NAME, sha256="abc", quiet=True)
    assert left() == []


def test_more_than_such_a_file_has_is_refused(plain: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "LARGEST", 5000)
    with pytest.raises(UserError, match=r"has [\d,]+ bytes, more than such a checkpoint has"):
        published.fetch(NAME, quiet=True)
    assert left() == []


def test_a_page_in_place_of_a_file_is_refused(plain: Site) -> None:
    plain.routes["/Codes/level1.pth"] = page("<html>this server has moved</html>")
    with pytest.raises(UserError, match=r"gives no checkpoint \(text/html\)"):
        published.fetch(NAME, quiet=True)
    assert left() == []


# ---------------------------------------------------------------- redirects


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("http://localhost:1/x.pth", "redirects to another host, localhost"),
        ("http://127.0.0.1.evil.example/x", "redirects to another host, 127.0.0.1.evil.example"),
        ("ftp://127.0.0.1/x", "from http to ftp"),
        ("file:///etc/passwd", "302|303|from http to file"),
        ("//other.example/x", "redirects to another host"),
    ],
)
def test_a_redirect_elsewhere_is_refused(plain: Site, place: str, words: str) -> None:
    plain.routes["/Codes/level1.pth"] = send_to(place)
    with pytest.raises(UserError, match=words):
        published.fetch(NAME, quiet=True)
    assert left() == [] and len(plain.asked) == 1


def test_a_redirect_on_the_same_host_is_followed_and_the_range_with_it(plain: Site) -> None:
    plain.routes["/Codes/level1.pth"] = send_to("SITE/elsewhere/level1.pth")
    plain.routes["/elsewhere/level1.pth"] = give
    plain.breaks = [2000]
    published.fetch(NAME, quiet=True)
    assert plain.asked[-1] == ("/elsewhere/level1.pth", "bytes=2000-")


@pytest.mark.parametrize(
    ("before", "new", "allowed"),
    [
        ("https://a.org/x", "http://a.org/x", False),
        ("http://a.org/x", "https://a.org/x", True),
        ("https://a.org/x", "https://b.a.org/x", False),
        ("https://a.org/x", "https://uc1.dl.b.org/x", True),
        ("https://a.org/x", "https://evilb.org/x", False),
        ("https://a.org/x", "https://accounts.google.com/ServiceLogin", False),
        ("https://a.org/x", "https://a.org@evil.org/x", False),
        ("https://a.org/x", "data:text/plain,x", False),
    ],
)
def test_where_a_host_may_send(before: str, new: str, allowed: bool) -> None:
    refused = contextlib.nullcontext() if allowed else pytest.raises(UserError)
    with refused:
        downloads.refuse_address(new, ("a.org", "*.b.org"), before=before, asked=before)


# ---------------------------------------------------------------- Google Drive


CONFIRM = f"""<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>
<p class="uc-warning-caption">Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="SITE/download" method="get">
<input type="submit" id="uc-download-link" value="Download anyway"/>
<input type="hidden" name="id" value="{ID}"><input type="hidden" name="export" value="download">
<input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="1b-2"></form></body>"""
OLD_CONFIRM = f"""<html><body><a id="uc-download-link" class="goog-inline-block jfk-button"
href="/uc?export=download&amp;confirm=AbC1&amp;id={ID}">Download anyway</a></body></html>"""
QUOTA = """<html><head><title>Google Drive - Quota exceeded</title></head><body>
<p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body>"""
FOLDER = f"""<html><body><div class="flip-entries">{{}}<div class="flip-entry" id="entry-{ID}"><a
href="SITE/file/d/{ID}/view?usp=drive_web" target="_blank"><div class="flip-entry-title">{{}}</div></a></div>
<div class="flip-entry"><a href="SITE/file/d/readme/view"><div class="flip-entry-title">readme.txt</div></a>
</div></body></html>"""


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch, site: Site) -> Site:
    publish(monkeypatch, site, f"/file/d/{ID}/view", "drive")
    site.routes["/download"] = give
    return site


def test_drive_gives_a_small_file_at_once(drive: Site) -> None:
    drive.routes["/uc"] = send_to(f"SITE/download?id={ID}")
    published.fetch(NAME, quiet=True)
    assert drive.asked[0][0] == f"/uc?export=download&id={ID}"


def test_drive_asks_about_a_large_file_and_goes_on_after_a_break(drive: Site) -> None:
    drive.routes["/uc"] = page(CONFIRM)
    drive.breaks = [2500]
    published.fetch(NAME, quiet=True)
    confirmed = f"/download?id={ID}&export=download&confirm=t&uuid=1b-2"
    assert [place for place, _ in drive.asked[1::2]] == [confirmed] * 2
    assert drive.asked[-1][1] == "bytes=2500-"


def test_drive_as_it_asked_formerly(drive: Site) -> None:
    def once(site: Site, request: BaseHTTPRequestHandler) -> None:
        (give if "confirm=AbC1" in request.path else page(OLD_CONFIRM))(site, request)

    drive.routes["/uc"] = once
    published.fetch(NAME, quiet=True)
    assert len(drive.asked) == 2


@pytest.mark.parametrize("status", [200, 403, 429])
def test_drive_refuses_by_its_quota(drive: Site, status: int) -> None:
    drive.routes["/uc"] = page(QUOTA, status=status)
    with pytest.raises(UserError, match="too many people.*try again in a day.*--url FILE"):
        published.fetch(NAME, quiet=True)
    assert left() == [] and len(drive.asked) == 1


def test_a_quota_page_after_the_confirmation(drive: Site) -> None:
    drive.routes |= {"/uc": page(CONFIRM), "/download": page(QUOTA)}
    with pytest.raises(UserError, match="too many people"):
        published.fetch(NAME, quiet=True)
    assert left() == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page("<html><title>Sign in</title>You need access</html>"), "not give this file to everyone"),
        (page("<html>anything</html>"), "gives a web page in place of the file"),
        (page(CONFIRM.replace("SITE/download", "http://evil.example/d")), "another host, evil.example"),
        (page(CONFIRM.replace("SITE/download", "SITE/uc")), "from one web page to the next"),
        (send_to("https://accounts.google.com/ServiceLogin?x"), "asks to sign in"),
    ],
)
def test_drive_pages_that_lead_nowhere(
    drive: Site, answer: Callable[[Site, BaseHTTPRequestHandler], None], words: str
) -> None:
    drive.routes["/uc"] = answer
    with pytest.raises(UserError, match=words):
        published.fetch(NAME, quiet=True)
    assert left() == []


@pytest.mark.parametrize("title", ["mamp.pt", "Model.PTH"])
def test_the_one_checkpoint_of_a_drive_folder(
    drive: Site, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    publish(monkeypatch, drive, "/drive/folders/1bee_yi", "drive folder")
    drive.routes |= {"/embeddedfolderview": page(FOLDER.format("", title)), "/uc": page(CONFIRM)}
    published.fetch(NAME, quiet=True)
    assert drive.asked[1][0] == f"/uc?export=download&id={ID}"


@pytest.mark.parametrize("title", ["../../mamp.pt", "..\\mamp.pt", "notes.md"])
def test_a_drive_folder_without_one_checkpoint(
    drive: Site, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    publish(monkeypatch, drive, "/drive/folders/1bee_yi", "drive folder")
    drive.routes["/embeddedfolderview"] = page(FOLDER.format("", title))
    with pytest.raises(UserError, match="holds no checkpoints .*readme.txt"):
        published.fetch(NAME, quiet=True)
    assert left() == []


# ---------------------------------------------------------------- Dropbox


@pytest.fixture
def dropbox(monkeypatch: pytest.MonkeyPatch, site: Site) -> Site:
    publish(monkeypatch, site, "/s/7dct/ssm.pt", "dropbox")
    return site


def test_dropbox_sends_to_the_file(dropbox: Site) -> None:
    dropbox.routes["/s/7dct/ssm.pt"] = send_to("SITE/cd/0/get/xyz/file?dl=1")
    dropbox.routes["/cd/0/get/xyz/file"] = give
    dropbox.breaks = [1000]
    published.fetch(NAME, quiet=True)
    assert dropbox.asked[0][0] == "/s/7dct/ssm.pt?dl=1" and dropbox.asked[-1][1] == "bytes=1000-"


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (
            "This account's links are generating too much traffic.",
            429,
            "too much traffic; try again in a day",
        ),
        ("This item was deleted.", 410, "was deleted"),
        ("nothing", 404, "the server answers 404"),
        ("<html>a preview</html>", 200, "gives a web page in place"),
    ],
)
def test_dropbox_says_why_not(dropbox: Site, text: str, status: int, words: str) -> None:
    dropbox.routes["/s/7dct/ssm.pt"] = page(text, status=status)
    with pytest.raises(UserError, match=words):
        published.fetch(NAME, quiet=True)
    assert left() == []


# ---------------------------------------------------------------- names and commands


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "nothing", "afb-urr-davis17/../x", ""])
def test_names_are_those_of_the_list_alone(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "fetch", name]) == 2
    assert "is not the name of published weights" in capsys.readouterr().err and left() == []


def test_a_file_from_a_browser_serves_as_well(
    plain: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.pth").write_bytes(plain.content)
    assert main(["weights", "fetch", NAME, "--url", str(tmp_path / "mine.pth")]) == 0
    assert f"use it with --weights {NAME}; licence: academic use only" in capsys.readouterr().out
    assert not plain.asked and (tmp_path / "mine.pth").exists()
    assert json.loads(cached_weights(NAME).with_suffix(".json").read_text())["source"] == "mine.pth"


def test_the_list_names_all_with_their_scores(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "fetch", "list"]) == 0
    shown = capsys.readouterr().out
    assert "as published, and were not run here" in shown
    for name, (_, one) in methods.published().items():
        assert f"{name}: method" in shown and one.url in shown and one.score in shown


def test_every_published_name_has_a_way_and_a_converter() -> None:
    assert len(methods.published()) == 9
    for method, one in methods.published().values():
        assert methods.get(method).from_published is not None
        assert hosts.host_of(one.url) == one.host
        assert hosts.HOSTS[one.host].first(one.url).startswith(("http://", "https://"))


def test_nothing_is_fetched_unless_asked(plain: Site, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="or --fetch"):
        mamp.load(NAME)
    assert not plain.asked
    assert mamp.load(NAME, fetch=True).config.method.name == "mamp"
    assert mamp.load(NAME, fetch=True).weights is not None and len(plain.asked) == 1
    for wrong in ("mamp-small", None):
        with pytest.raises(UserError, match="published weights"):
            mamp.load(wrong, fetch=True)
