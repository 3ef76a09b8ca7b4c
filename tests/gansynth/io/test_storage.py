"""Storage: atomic writes, listing, retries and credentials, local and remote."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from gansynth.io import files, listing, retry, urls


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://storage-test"
    fs = fsspec.filesystem("memory")
    if fs.exists("/storage-test"):
        fs.rm("/storage-test", recursive=True)


@pytest.mark.parametrize("kind", ["path", "file url", "memory"])
def test_round_trip(kind: str, tmp_path: Path, memory: str) -> None:
    base = {"path": str(tmp_path), "file url": f"file://{tmp_path}", "memory": memory}[kind]
    url = urls.join(base, "new folder", "x.bin")
    files.write_bytes(url, b"first, and long")
    files.write_bytes(url, b"second\x00")
    assert files.read_bytes(url) == b"second\x00"
    assert files.read_bytes(url, limit=3) == b"sec"
    assert files.read_bytes(url, limit=300) == b"second\x00"
    assert files.read_bytes(url, limit=0) == b""
    files.write_bytes(url, b"")
    assert files.read_bytes(url) == b""
    with pytest.raises(FileNotFoundError):
        files.read_bytes(urls.join(base, "nothing"))


@pytest.mark.parametrize("kind", ["path", "file url", "memory"])
def test_writing_bit_by_bit(kind: str, tmp_path: Path, memory: str) -> None:
    base = {"path": str(tmp_path), "file url": f"file://{tmp_path}", "memory": memory}[kind]
    url = urls.join(base, "new folder", "x.bin")
    with files.writing(url) as f:
        f.write(b"first, ")
        f.write(b"and long")
        with pytest.raises(FileNotFoundError):
            files.read_bytes(url)
    assert files.read_bytes(url) == b"first, and long"

    def break_off() -> None:
        with files.writing(url) as f:
            f.write(b"half of the se")
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert files.read_bytes(url) == b"first, and long"
    assert listing.names(urls.join(base, "new folder")) == ["x.bin"]


@pytest.mark.parametrize("failing", ["replace", "chmod", "fdopen"])
def test_a_failed_write_leaves_the_old_content(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bin"
    files.write_bytes(str(path), b"old")

    def fail(*args: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(OSError, match="no space"):
            files.write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]  # nor is anything left lying about


def test_interruption_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bin"
    files.write_bytes(str(path), b"old")

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_old_or_new_but_nothing_between(tmp_path: Path) -> None:
    path, stop = tmp_path / "x.bin", threading.Event()
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    files.write_bytes(str(path), contents[0])

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                files.write_bytes(str(path), content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert all(path.read_bytes() in contents for _ in range(200))
    finally:
        stop.set()
        thread.join()


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    files.write_bytes(str(tmp_path / "ours"), b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_local_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    here = os.path.realpath(tmp_path)
    assert urls.local_path("~/x") == f"{tmp_path}/x"
    assert os.path.realpath(urls.local_path("x/../y")) == f"{here}/y"
    assert urls.local_path(f"file://{tmp_path}/x") == f"{tmp_path}/x"
    assert all(urls.is_local(url) for url in ("x", "/x", "file:///x"))
    assert not any(urls.is_local(url) for url in ("gs://x", "memory://x"))


def test_join() -> None:
    assert urls.join("/a/", "b", "c") == "/a/b/c"
    assert urls.join("gs://a", "b") == "gs://a/b"
    assert urls.join("gs://a/", "b") == "gs://a/b"
    assert urls.join("/", "b") == "/b"
    assert urls.join("a", "b/c") == "a/b/c"


def test_one_file_system_for_each_kind(memory: str) -> None:
    fs, path = urls.filesystem(f"{memory}/x")
    assert fs is urls.filesystem(f"{memory}/y")[0]
    assert path == "/storage-test/x"


# Listing


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a/x.mid", "a/deep/y.mid", "a-b.mid", "b/z.mid", "b/[1].mid", "é.mid", "a/readme"):
        files.write_bytes(str(tmp_path / "in" / name), name.encode())
    (tmp_path / "elsewhere.mid").write_bytes(b"12345")
    (tmp_path / "in" / "link.mid").symlink_to(tmp_path / "elsewhere.mid")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "dangling.mid").symlink_to(tmp_path / "nothing")
    return tmp_path / "in"


def test_find_is_in_order_and_follows_links_to_files_alone(tree: Path) -> None:
    found = dict(listing.find(str(tree)))
    names = ["a-b.mid", "a/deep/y.mid", "a/readme", "a/x.mid", "b/[1].mid", "b/z.mid", "link.mid", "é.mid"]
    assert list(found) == [f"{tree}/{name}" for name in names]
    assert found[f"{tree}/link.mid"] == 5
    assert list(listing.find(str(tree / "nothing"))) == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.mid", ["a-b.mid", "link.mid", "é.mid"]),
        ("**/*.mid", ["a-b.mid", "a/deep/y.mid", "a/x.mid", "b/[1].mid", "b/z.mid", "link.mid", "é.mid"]),
        ("**.mid", ["a-b.mid", "a/deep/y.mid", "a/x.mid", "b/[1].mid", "b/z.mid", "link.mid", "é.mid"]),
        ("a*", ["a-b.mid"]),
        ("a/**", ["a/deep/y.mid", "a/readme", "a/x.mid"]),
        ("*/?.mid", ["a/x.mid", "b/z.mid"]),
        ("a/*/y.mid", ["a/deep/y.mid"]),
        ("[a-z]/[!y].mid", ["a/x.mid", "b/z.mid"]),
        ("nothing/*.mid", []),
        ("b/z.mid", ["b/z.mid"]),
    ],
)
@pytest.mark.parametrize("kind", ["path", "memory"])
def test_patterns(pattern: str, names: list[str], kind: str, tree: Path, memory: str) -> None:
    root = str(tree)
    if kind == "memory":
        root = "memory:///storage-test/in"
        for url, _ in listing.find(str(tree)):
            files.write_bytes(root + url.removeprefix(str(tree)), b"12345")
    assert [url for url, _ in listing.match(f"{root}/{pattern}")] == [f"{root}/{name}" for name in names]


def test_impossible_patterns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="entire path component"):
        list(listing.match("/in/a**b"))
    monkeypatch.setattr(urls, "_config", urls.StorageConfig(credentials="anonymous"))
    with pytest.raises(ValueError, match="bucket must be given in full"):
        list(listing.match("gs://b*/x.mid"))


def test_kinds(tree: Path) -> None:
    kinds = [listing.kind(str(tree / name)) for name in ("a", "a/x.mid", "a/nothing")]
    assert kinds == ["folder", "file", None]
    assert listing.names(str(tree / "a")) == ["deep", "readme", "x.mid"]
    assert listing.size(str(tree / "a/x.mid")) == 7
    files.remove(str(tree / "a"))
    files.remove(str(tree / "a"))
    assert not (tree / "a").exists()


def test_lines(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("a\r\nb c\n\né".encode() + b"\n\xff")
    assert list(files.read_lines(str(tmp_path / "list"))) == ["a", "b c", "", "é", "\udcff"]


# Trying again


class ReplyError(Exception):
    """An error with a status, as clients of object stores raise it."""

    def __init__(self, code: object) -> None:
        super().__init__(str(code))
        self.code = code


PASSING = [
    ConnectionResetError(),
    BrokenPipeError(),
    TimeoutError(),
    TimeoutError(),
    OSError(110, "timed out"),
    ReplyError(429),
    ReplyError("503"),
    ReplyError(500),
]
FINAL = [
    FileNotFoundError(),
    PermissionError(),
    OSError(28, "no space"),
    ReplyError(403),
    ReplyError(404),
    ValueError(),
    ReplyError(None),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    failures = [error, error, error]

    def call(value: int) -> int:
        if failures:
            raise failures.pop()
        return value

    assert retry.with_retries(call, 7) == 7
    failures = [error]
    with pytest.raises(type(error)):
        retry.with_retries(call, 7, seconds=0)


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_will_not_pass_is_raised_at_once(error: Exception) -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        retry.with_retries(call)
    assert len(calls) == 1


def test_googles_own_errors_are_known() -> None:
    import aiohttp
    import google.auth.exceptions
    import requests
    from gcsfs.retry import HttpError

    passing = [HttpError({"code": code}) for code in (429, 502, 503)]
    passing += [aiohttp.ServerDisconnectedError(), requests.exceptions.ConnectionError()]  # type: ignore[list-item]
    final = [HttpError({"code": 403}), google.auth.exceptions.DefaultCredentialsError()]
    assert all(retry.is_transient(error) for error in passing)
    assert not any(retry.is_transient(error) for error in final)


# Credentials


def test_credentials_reach_the_file_system(tmp_path: Path) -> None:
    urls.configure(urls.StorageConfig(credentials="anonymous", project="payer"))
    try:
        fs, path = urls.filesystem("gs://bucket/x")
        assert (fs.storage_options["token"], fs.requester_pays, path) == ("anon", "payer", "bucket/x")
        urls.configure(urls.StorageConfig(credentials=str(tmp_path / "key.json")))
        assert urls._credentials("gs")["token"] == str(tmp_path / "key.json")
        urls.configure(urls.StorageConfig())
        assert urls._credentials("gs")["token"] == "google_default"
        assert urls._credentials("memory") == {}
    finally:
        urls.configure(urls.StorageConfig())


def test_who_has_no_credentials_is_told_and_does_not_go_on_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    import google.auth.exceptions

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    urls._filesystem.cache_clear()
    with pytest.raises(google.auth.exceptions.DefaultCredentialsError) as raised:
        urls.filesystem("gs://bucket/x")
    assert "--set storage.credentials=anonymous" in urls.reason(raised.value, "gs://bucket/x")


def test_a_large_folder_is_listed_in_little_memory(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number:05d}.mid").touch()
    list(listing.find(str(tmp_path / "none")))
    tracemalloc.start()
    found = sum(1 for _ in listing.find(str(tmp_path)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found, peak < 3 << 20) == (10_000, True)
