"""Files written whole or not at all, wherever they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from gansynth import storage


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://storage-test"
    fs = fsspec.filesystem("memory")
    if fs.exists("/storage-test"):
        fs.rm("/storage-test", recursive=True)


@pytest.mark.parametrize("kind", ["path", "file url", "memory"])
def test_round_trip(kind: str, tmp_path: Path, memory: str) -> None:
    base = {"path": str(tmp_path), "file url": f"file://{tmp_path}", "memory": memory}[kind]
    url = storage.join(base, "new folder", "x.bin")
    storage.write_bytes(url, b"first, and long")
    storage.write_bytes(url, b"second\x00")
    assert storage.read_bytes(url) == b"second\x00"
    assert storage.read_bytes(url, limit=3) == b"sec"
    assert storage.read_bytes(url, limit=300) == b"second\x00"
    assert storage.read_bytes(url, limit=0) == b""
    storage.write_bytes(url, b"")
    assert storage.read_bytes(url) == b""
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(base, "nothing"))


@pytest.mark.parametrize("failing", ["replace", "chmod", "fdopen"])
def test_a_failed_write_leaves_the_old_content(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bin"
    storage.write_bytes(str(path), b"old")

    def fail(*args: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(OSError, match="no space"):
            storage.write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]  # nor is anything left lying about


def test_interruption_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bin"
    storage.write_bytes(str(path), b"old")

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        storage.write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_old_or_new_but_nothing_between(tmp_path: Path) -> None:
    path, stop = tmp_path / "x.bin", threading.Event()
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    storage.write_bytes(str(path), contents[0])

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                storage.write_bytes(str(path), content)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert all(path.read_bytes() in contents for _ in range(200))
    finally:
        stop.set()
        thread.join()


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "ours"), b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_local_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    here = os.path.realpath(tmp_path)
    assert storage.local_path("~/x") == f"{tmp_path}/x"
    assert os.path.realpath(storage.local_path("x/../y")) == f"{here}/y"
    assert storage.local_path(f"file://{tmp_path}/x") == f"{tmp_path}/x"
    assert all(storage.is_local(url) for url in ("x", "/x", "file:///x"))
    assert not any(storage.is_local(url) for url in ("gs://x", "memory://x"))


def test_join() -> None:
    assert storage.join("/a/", "b", "c") == "/a/b/c"
    assert storage.join("gs://a", "b") == "gs://a/b"
    assert storage.join("gs://a/", "b") == "gs://a/b"
    assert storage.join("/", "b") == "/b"
    assert storage.join("a", "b/c") == "a/b/c"


def test_one_file_system_for_each_kind(memory: str) -> None:
    fs, path = storage.filesystem(f"{memory}/x")
    assert fs is storage.filesystem(f"{memory}/y")[0]
    assert path == "/storage-test/x"
