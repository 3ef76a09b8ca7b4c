"""Archives of MIDI files: every member is read in place, and hostile ones do no harm."""

from __future__ import annotations

import copy
import io
import os
import re
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gansynth.io import archives, cache, files, listing
from gansynth.io.archives import ArchiveError, Member

SONGS = {"a/x.mid": b"MThd" + os.urandom(3000), "b/x.mid": b"MThd" * 4000, "y.MID": b"MThd", "empty.mid": b""}
OTHERS = {"readme.txt": b"no song", "__MACOSX/._x.mid": b"resource fork", "a/._x.mid": b"resource fork"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache.unpacked.cache_clear()


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("a")
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> str:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return str(path)


def content(url: str) -> dict[str, bytes]:
    return {name: files.read_bytes(member) for name, member, _ in listing.members(url)}


@pytest.mark.parametrize("kind", ["deflated.zip", "stored.zip", "plain.tar", "packed.tar.gz", "packed.TGZ"])
def test_all_midi_files_of_an_archive(kind: str, tmp_path: Path) -> None:
    path, members = tmp_path / kind, SONGS | OTHERS
    if kind.endswith("zip"):
        url = make_zip(path, members, zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    else:
        url = make_tar(path, members, "w:gz" if "packed" in kind else "w")
    assert content(url) == SONGS
    for name, member, size in listing.members(url):
        assert size == len(SONGS[name])
        for limit in (0, 1, 4, len(SONGS[name]), 10**6):
            assert files.read_bytes(member, limit) == SONGS[name][:limit]
    cache.forget_unpacked()
    assert content(url) == SONGS


def test_a_zip_written_to_a_pipe(tmp_path: Path) -> None:
    """In such a zip, sizes and checksums follow the data."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name, data in SONGS.items():
            archive.writestr(name, data)
    path = tmp_path / "pipe.zip"
    path.write_bytes(pipe.data)
    assert content(str(path)) == SONGS


NAMES = st.text(st.sampled_from("ab.:@+/%\\ é\n\x00\udcff") | st.characters(codec="utf-8"), max_size=20)


@given(NAMES, st.sampled_from(["zip", "tar", "tar+gz"]), st.integers(0, 2**63), st.integers(0, 2**63))
@example("a::b@1+2::c", "zip", 0, 0)
@example("../../etc/passwd", "tar", 1, 2)
def test_addresses(name: str, kind: str, offset: int, length: int) -> None:
    for archive in ("/in/a.zip", "gs://bucket/odd @1+2::name.tar"):
        member = Member(kind, name, offset, length, archive)
        assert Member.parse(str(member)) == member


@pytest.mark.parametrize("url", ["/in/a.zip", "gs://b/a.tar", "zip://a::b", "x@1+2::y", "file:///a.zip"])
def test_other_urls_are_no_members(url: str) -> None:
    assert Member.parse(url) is None


def test_names_stand_as_they_are_and_each_once(tmp_path: Path) -> None:
    members = {"./a.mid": b"1", "a.mid": b"2", "../../up.mid": b"3", "/root.mid": b"4", "a::b@1+2.mid": b"5"}
    found = content(make_tar(tmp_path / "x.tar", members))
    assert found == {"a.mid": b"1", "../../up.mid": b"3", "/root.mid": b"4", "a::b@1+2.mid": b"5"}


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = make_zip(tmp_path / "zeros.zip", {"x.mid": bytes(archives.MAX_MEMBER + 1)})
    (_, member, size), *_ = listing.members(zeros)
    assert size == archives.MAX_MEMBER + 1
    began = time.monotonic()
    with pytest.raises(ArchiveError, match=r"x\.mid: unpacks to more than 64 MiB"):
        files.read_bytes(member)
    assert files.read_bytes(member, 10) == bytes(10)
    assert time.monotonic() - began < 20
    monkeypatch.setattr(cache, "_MIN_UNPACKED", 1 << 20)
    packed = make_tar(tmp_path / "zeros.tar.gz", {"x.mid": bytes(8 << 20)}, "w:gz")
    with pytest.raises(ArchiveError, match="refused as a bomb"):
        list(listing.members(packed))
    assert not list(cache.unpacked_folder().glob("*.tar"))


def test_a_directory_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = make_zip(tmp_path / "x.zip", {f"{i}.mid": b"" for i in range(100)})
    pax = tarfile.TarInfo("x.mid")
    pax.pax_headers = {"comment": "x" * 5000}
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(pax)
    monkeypatch.setattr(archives, "_MAX_DIRECTORY", 1000)
    for name in (url, str(tmp_path / "x.tar")):
        with pytest.raises(ArchiveError, match="bytes at once; refused as a bomb"):
            list(listing.members(name))


def test_overlapping_members_do_not_multiply(tmp_path: Path) -> None:
    """A zip bomb of entries that share bytes is harmless: each entry ends where the next begins."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.mid", bytes(1 << 20))
        twin = copy.copy(archive.infolist()[0])
        twin.filename = "y.mid"
        archive.filelist.append(twin)
    found = [member for _, member, _ in listing.members(str(path))]
    assert len(found) == 2
    with pytest.raises(ArchiveError):
        files.read_bytes(found[0])
    assert len(files.read_bytes(found[1])) == 1 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damage_is_found(method: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    url = make_zip(path, {"x.mid": os.urandom(5000)}, method)
    (_, member, _), *_ = listing.members(url)
    data = bytearray(path.read_bytes())
    data[data.index(b"x.mid") + 1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="is damaged"):
        files.read_bytes(member)


def test_encrypted_and_unknown_methods(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    (_, member, _), *_ = listing.members(make_zip(path, {"x.mid": b"MThd"}))
    data = bytearray(path.read_bytes())
    start = Member.parse(member).offset  # type: ignore[union-attr]
    for offset, value, message in ((6, 1, "is encrypted"), (8, 12, "method 12")):
        changed = data.copy()
        changed[start + offset : start + offset + 2] = struct.pack("<H", value)
        path.write_bytes(changed)
        with pytest.raises(ArchiveError, match=message):
            files.read_bytes(member)
    path.write_bytes(b"other")
    with pytest.raises(ArchiveError, match="was it changed"):
        files.read_bytes(member)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize(
    "junk", [b"", b"PK\x03\x04", b"<html>", bytes(4000), os.urandom(5000)], ids=lambda b: f"{b[:4]!r}"
)
def test_junk(name: str, junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(junk)
    if name == "x.tar" and junk == bytes(4000):  # a tar of nothing
        assert list(listing.members(str(path))) == []
        return
    with pytest.raises(ArchiveError, match=re.escape(str(path))):
        list(listing.members(str(path)))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_cut_off_anywhere(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        make_zip(path, SONGS)
    else:
        make_tar(path, SONGS, "w:gz" if kind == "tar.gz" else "w")
    data = path.read_bytes()
    for length in range(0, len(data) - 1, max(1, len(data) // 40)):
        path.write_bytes(data[:length])
        cache.unpacked.cache_clear()
        try:
            for name, member, _ in listing.members(str(path)):
                assert files.read_bytes(member) == SONGS[name]
        except ArchiveError:
            pass


def test_a_compressed_archive_is_unpacked_once(tmp_path: Path) -> None:
    url = make_tar(tmp_path / "x.tar.gz", SONGS, "w:gz")
    members = [member for _, member, _ in listing.members(url)]
    (plain,) = cache.unpacked_folder().glob("*.tar")
    written = plain.stat().st_mtime_ns
    cache.unpacked.cache_clear()
    for member in members:
        files.read_bytes(member)
    assert plain.stat().st_mtime_ns == written
    make_tar(tmp_path / "x.tar.gz", {"other.mid": b"MThd, longer"}, "w:gz")
    cache.unpacked.cache_clear()
    assert content(url) == {"other.mid": b"MThd, longer"}
