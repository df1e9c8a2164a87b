from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import Server, davis_files, picture, serving, write_zip

from mamp.cli import main
from mamp.core import download as downloads
from mamp.core.download import Wanted, download
from mamp.core.errors import UserError
from mamp.datasets.sequences import open_dataset
from mamp.tools import unpack as unpacking
from mamp.tools.fetch import ARCHIVES, NAMES, fetch
from mamp.tools.unpack import BadArchive, unpack


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    monkeypatch.setattr(downloads, "_CHUNK", 1000)


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return write_zip(tmp_path / "made.zip", davis_files()).read_bytes()


@pytest.fixture
def server(content: bytes) -> Iterator[Server]:
    with serving(Server(content)) as running:
        yield running


def bring(server: Server, target: Path, *, limit: int = 10**6) -> None:
    download(server.address, target, Wanted("a zip archive", (b"PK",), limit), quiet=True)


# ---------------------------------------------------------------- download


def test_a_file_comes_whole(server: Server, tmp_path: Path) -> None:
    bring(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == server.content
    assert server.asked == [None]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "made.zip"]


def test_a_broken_transfer_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.breaks = [3000, 2500]
    bring(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == server.content
    assert server.asked == [None, "bytes=3000-", "bytes=5500-"]


def test_another_call_goes_on_too(server: Server, tmp_path: Path) -> None:
    server.breaks = [3000, *[0] * 4]
    with pytest.raises(UserError, match=r"broke off after 3,000 of [\d,]+ bytes .*goes on from there"):
        bring(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip.part").stat().st_size == 3000 and not (tmp_path / "a.zip").exists()
    bring(server, tmp_path / "a.zip")
    assert server.asked[-1] == "bytes=3000-"
    assert (tmp_path / "a.zip").read_bytes() == server.content


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [3000]
    bring(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == server.content


@pytest.mark.parametrize("tagged", [True, False])
def test_a_file_that_changed_on_the_server_comes_anew(server: Server, tmp_path: Path, tagged: bool) -> None:
    server.tagged, server.breaks = tagged, [3000, *[0] * 4]
    with pytest.raises(UserError):
        bring(server, tmp_path / "a.zip")
    server.content = b"PK" + bytes(7000)
    bring(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == server.content


def test_a_file_that_shrank_on_the_server_comes_anew(server: Server, tmp_path: Path) -> None:
    server.tagged, server.breaks = False, [3000, *[0] * 4]
    with pytest.raises(UserError):
        bring(server, tmp_path / "a.zip")
    server.content = b"PK" + bytes(70)
    bring(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == server.content


def test_a_server_that_promises_more_than_it_gives_is_told(server: Server, tmp_path: Path) -> None:
    server.ranges, server.promises = False, len(server.content) + 100
    with pytest.raises(UserError, match=r"broke off .*the connection ended"):
        bring(server, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_length_that_is_not_told_is_no_obstacle(server: Server, tmp_path: Path) -> None:
    server.promises = 0
    bring(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == server.content


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = [503, 429]
    bring(server, tmp_path / "a.zip")
    assert len(server.asked) == 3


def test_a_file_that_is_not_there_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.status = [404, 404]
    with pytest.raises(UserError, match=r"DAVIS.zip cannot be had \(the server answers 404 .*--url"):
        bring(server, tmp_path / "a.zip")
    assert len(server.asked) == 1


def test_a_web_page_is_no_archive(server: Server, tmp_path: Path) -> None:
    server.content, server.kind = b"<html>moved</html>", "text/html"
    with pytest.raises(UserError, match=r"gives no zip archive \(text/html\)"):
        bring(server, tmp_path / "a.zip")
    server.content = b""
    with pytest.raises(UserError, match="is empty"):
        bring(server, tmp_path / "a.zip")


def test_a_file_without_end_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has [\d,]+ bytes, more than such a zip archive has"):
        bring(server, tmp_path / "a.zip", limit=5000)
    server.promises = 0
    with pytest.raises(UserError, match="does not end after 5,000 bytes"):
        bring(server, tmp_path / "a.zip", limit=5000)


def test_a_host_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"127.0.0.1:9/a.zip broke off after 0 bytes \(Connection refused\)"):
        wanted = Wanted("a zip archive", (b"PK",), 9)
        download("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", wanted, quiet=True)


# ---------------------------------------------------------------- unpack


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "C:/x", "a\\..\\x", "a/b\x01", ".."])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    archive = write_zip(tmp_path / "a.zip", {"DAVIS/fine.txt": b"x", name: b"x"})
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive, match="leads elsewhere; it was not unpacked"):
        unpack(archive, tmp_path / "out", quiet=True)
    assert not list((tmp_path / "out").iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "out"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("DAVIS/JPEGImages")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc")
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive, match="a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out", quiet=True)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a/B.txt": b"x", "a/b.txt": b"y"})
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive, match="'a/b.txt' twice"):
        unpack(archive, tmp_path / "out", quiet=True)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": bytes(10**6)}, method=zipfile.ZIP_DEFLATED)
    (tmp_path / "out").mkdir()
    unpack(archive, tmp_path / "out", quiet=True)  # a small one is
    monkeypatch.setattr(unpacking, "_FREE_GAIN", 1000)
    (tmp_path / "out" / "a").unlink()
    with pytest.raises(BadArchive, match=r"claims 1 file of 1,000,000 bytes, more than a data set"):
        unpack(archive, tmp_path / "out", quiet=True)
    monkeypatch.setattr(unpacking, "MOST_FILES", 1)
    archive = write_zip(tmp_path / "b.zip", {"a": b"", "b": b""})
    with pytest.raises(BadArchive, match="claims 2 files"):
        unpack(archive, tmp_path / "out", quiet=True)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_larger_than_it_claims_is_damaged(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": bytes(5000)}, method=zipfile.ZIP_DEFLATED)
    data = archive.read_bytes()
    claim = (5000).to_bytes(4, "little")
    assert data.count(claim) == 2
    archive.write_bytes(data.replace(claim, (50).to_bytes(4, "little")))
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive, match="is damaged"):
        unpack(archive, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "a").stat().st_size <= 50


@pytest.mark.parametrize("harm", ["flip", "cut", "noise"])
def test_a_damaged_archive_is_told(tmp_path: Path, harm: str) -> None:
    archive = write_zip(tmp_path / "a.zip", {"DAVIS/a.jpg": picture(0)})
    data = bytearray(archive.read_bytes())
    if harm == "flip":
        data[200] ^= 255
    archive.write_bytes(b"PK" + bytes(300) if harm == "noise" else data[:-30] if harm == "cut" else data)
    (tmp_path / "out").mkdir()
    with pytest.raises(BadArchive, match="a.zip is damaged .*fetch it again"):
        unpack(archive, tmp_path / "out", quiet=True)


def test_droppings_of_file_managers_stay_out(tmp_path: Path) -> None:
    files = {"D/a": b"x", "__MACOSX/D/._a": b"x", "D/.DS_Store": b"x", "D/._a": b"x"}
    archive = write_zip(tmp_path / "a.zip", files)
    (tmp_path / "out").mkdir()
    unpack(archive, tmp_path / "out", quiet=True)
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["a"]


def test_nothing_that_is_unpacked_can_be_run(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("run.sh")
    entry.external_attr = (stat.S_IFREG | 0o4777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "x")
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "a.zip", tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "run.sh").stat().st_mode & 0o7111


# ---------------------------------------------------------------- fetch


def test_an_archive_becomes_a_root(server: Server, tmp_path: Path) -> None:
    server.breaks = [3000]
    root = fetch("davis2017", tmp_path / "data" / "D17", url=server.address, quiet=True)
    assert [s.name for s in open_dataset("davis2017", root, "val")] == ["dog"]
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["D17"]


def test_a_root_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)
    fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)
    assert len(server.asked) == 1
    (tmp_path / "D17/JPEGImages/480p/dog/00000.jpg").unlink()
    (tmp_path / "D17/Annotations/480p/dog/00000.png").unlink()
    fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)  # a list of names cannot tell
    (tmp_path / "D17/ImageSets/2017/val.txt").write_text("dog\nwolf\n")
    with pytest.raises(UserError, match=r"D17 is no whole davis2017: .*wolf.*remove"):
        fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)


def test_a_local_file_stays_where_it_is(content: bytes, tmp_path: Path) -> None:
    root = fetch("davis2017", tmp_path / "D17", url=str(tmp_path / "made.zip"), quiet=True)
    assert (root / "JPEGImages/480p/bear/00002.jpg").exists() and (tmp_path / "made.zip").exists()


def test_the_archive_is_kept_when_asked(server: Server, tmp_path: Path) -> None:
    fetch("davis2017", tmp_path / "D17", url=server.address, keep=True, quiet=True)
    assert (tmp_path / "DAVIS.zip").read_bytes() == server.content


def test_a_damaged_download_leaves_no_root_and_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    whole, harmed = server.content, bytearray(server.content)
    harmed[400] ^= 255
    server.content = bytes(harmed)
    with pytest.raises(UserError, match="damaged"):
        fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)
    assert not (tmp_path / "D17").exists()
    server.content = whole
    fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)
    assert server.asked == [None, None]


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the sha256 [0-9a-f]{64}, not abc"):
        fetch("davis2017", tmp_path / "D17", url=server.address, sha256="abc", quiet=True)
    assert os.listdir(tmp_path) == ["made.zip"]


def test_what_is_no_davis_leaves_no_root(tmp_path: Path) -> None:
    files = davis_files()
    del files["DAVIS/ImageSets/2017/val.txt"]
    for name, contents, words in (
        ("a.zip", {"x/readme.txt": b"x"}, "a.zip holds no folder with JPEGImages"),
        ("b.zip", files, "b.zip is no whole davis2017: .* has no split val"),
    ):
        archive = write_zip(tmp_path / name, contents)
        with pytest.raises(UserError, match=words):
            fetch("davis2017", tmp_path / "D17", url=str(archive), quiet=True)
        assert not [path for path in tmp_path.iterdir() if path.suffix != ".zip"]


def test_the_official_archive_has_all_its_sequences(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = {
        **ARCHIVES,
        "davis2017": ARCHIVES["davis2017"].__class__(server.address, "D", "davis2017", {"val": 30}),
    }
    monkeypatch.setattr("mamp.tools.fetch.ARCHIVES", official)
    with pytest.raises(UserError, match="DAVIS.zip has 1 sequence in val, where there should be 30"):
        fetch("davis2017", tmp_path / "D17", quiet=True)
    with pytest.raises(UserError, match="DAVIS.zip has 1 sequence in"):
        fetch("davis2017", tmp_path / "D17", quiet=True)
    assert len(server.asked) == 1  # the download is whole and stays


def test_a_folder_of_something_else_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "D17").mkdir()
    (tmp_path / "D17/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="D17 is no whole davis2017.*choose another --out"):
        fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)
    assert os.listdir(tmp_path / "D17") == ["mine.txt"] and not server.asked


def test_places_that_cannot_be_fetched_are_told(tmp_path: Path) -> None:
    for place, words in (("ftp://x/y.zip", "give http"), ("nowhere.zip", "is no file")):
        with pytest.raises(UserError, match=words):
            fetch("davis2017", tmp_path / "data" / "D17", url=place, quiet=True)
    assert not list(tmp_path.iterdir()), "nothing is left of an attempt that brought nothing"


def test_archives_are_those_of_the_davis_site() -> None:
    assert {name: archive.url.rsplit("/", 1)[-1] for name, archive in ARCHIVES.items()} == {
        "davis2016": "DAVIS-data.zip",
        "davis2017": "DAVIS-2017-trainval-480p.zip",
        "davis2017-test-dev": "DAVIS-2017-test-dev-480p.zip",
    }
    assert all(archive.url.startswith("https://") for archive in ARCHIVES.values())


def test_the_command_prints_the_root(server: Server, tmp_path: Path, capsys) -> None:
    from mamp.commands.data import _FETCHED

    assert _FETCHED == NAMES
    assert main(["data", "fetch", "davis2017", "--out", str(tmp_path / "D"), "--url", server.address]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'D'}\n" and "sha256" in err and "30 in the official archive" in err


def test_youtubevos_says_where_to_go(capsys) -> None:
    assert main(["data", "fetch", "youtubevos", "--out", "YT"]) == 2
    text = capsys.readouterr().err
    assert "https://youtube-vos.org" in text and "YT/train_all_frames/JPEGImages/VIDEO/00000.jpg" in text


def test_an_interrupted_fetch_says_what_it_kept(server: Server, tmp_path: Path) -> None:
    server.breaks = [3000, *[0] * 4]
    with pytest.raises(UserError, match="the same command goes on"):
        fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)
    note = json.loads((tmp_path / ".D17.fetch/DAVIS.zip.part.json").read_text())
    assert note["length"] == len(server.content)
    fetch("davis2017", tmp_path / "D17", url=server.address, quiet=True)
    assert server.asked[-1] == "bytes=3000-"
