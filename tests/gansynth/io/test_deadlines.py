"""Storage that never answers, and bodies without end: each read has a deadline and a limit of bytes."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gansynth.io import files, listing, retry, urls


@pytest.fixture
def deadline() -> Iterator[float]:
    """Sets a deadline of half a second."""
    urls.configure(urls.StorageConfig(timeout=0.5))
    urls.forget_filesystems()
    yield 0.5
    urls.configure(urls.StorageConfig())
    urls.forget_filesystems()


@pytest.fixture
def silent() -> Iterator[str]:
    """Runs a server that accepts connections and never answers; returns its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


class _Bodies(BaseHTTPRequestHandler):
    """Serves a body that unpacks to a gigabyte, one without end, one that stops half way, and one that trickles."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        body: Iterator[bytes] = itertools.repeat(bytes(1 << 16))
        if self.path == "/packed.mid":
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(PACKED)))
            body = iter([PACKED])
        elif self.path == "/half.mid":
            self.send_header("Content-Length", "1000")
            body = iter([b"MThd"])
        elif self.path == "/trickle.mid":
            body = (b"x" for _ in range(12) if time.sleep(0.1) is None)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for piece in body:
                self.wfile.write(piece)
            if self.path == "/half.mid":
                time.sleep(3)

    def log_message(self, *args: object) -> None:
        pass


PACKED = gzip.compress(bytes(1 << 28), 9)


@pytest.fixture
def bodies() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bodies) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


CALLS: dict[str, Callable[[str], object]] = {
    "read": lambda url: files.read_bytes(f"{url}/x.mid"),
    "read some": lambda url: files.read_bytes(f"{url}/x.mid", 100),
    "lines": lambda url: list(files.read_lines(f"{url}/list.txt")),
    "kind": lambda url: listing.kind(f"{url}/x.mid"),
    "size": lambda url: listing.size(f"{url}/x.mid"),
    "members": lambda url: list(listing.members(f"{url}/x.zip")),
    "unpacking": lambda url: list(listing.members(f"{url}/x.tar.gz")),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_never_answers(
    call: str, silent: str, deadline: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(retry.StalledError, match=r"not answered for 0\.5 s \(storage\.timeout\)"):
        CALLS[call](silent)
    assert time.monotonic() - began < 20 * deadline  # once, and not again and again for minutes


def test_a_write_that_never_ends(deadline: float, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", lambda *args, **kwargs: over.wait())
    with pytest.raises(retry.StalledError):
        files.write_bytes("memory://deadline/x", b"")
    over.set()


@pytest.fixture
def hung() -> Iterator[Callable[..., object]]:
    """Returns a function that returns when the test ends: a network file system without its server."""
    over = threading.Event()
    yield lambda *args, **kwargs: over.wait(20)
    over.set()


LOCAL_CALLS: dict[str, Callable[[str], object]] = {
    "read": files.read_bytes,
    "read some": lambda path: files.read_bytes(path, 100),
    "lines": lambda path: list(files.read_lines(path)),
    "write": lambda path: files.write_bytes(path, b"x"),
    "find": lambda path: list(listing.find(str(Path(path).parent))),
}


@pytest.mark.parametrize("call", LOCAL_CALLS)
def test_a_local_file_system_that_never_answers(
    call: str, hung: Callable[..., object], deadline: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"before")
    for name in ("os.replace", "os.scandir", "os.stat"):
        monkeypatch.setattr(name, hung)
    with pytest.raises(retry.StalledError, match=r"not answered for 0\.5 s \(storage\.timeout\)"):
        LOCAL_CALLS[call](str(path))
    monkeypatch.undo()
    assert path.read_bytes() == b"before"


def test_a_local_write_that_stops_half_way(
    hung: Callable[..., object], deadline: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    with files.writing(str(path)) as f:
        monkeypatch.setattr(f.raw._file, "write", hung)
        f.write(b"x")
        with pytest.raises(retry.StalledError):
            f.flush()
        monkeypatch.undo()
    assert path.read_bytes() == b"x"


def test_after_a_deadlock_of_the_event_loop_calls_go_on(bodies: str, deadline: float) -> None:
    over = threading.Event()
    fs, _ = urls.filesystem(f"{bodies}/trickle.mid")
    fs.loop.call_soon_threadsafe(over.wait)
    with pytest.raises(retry.StalledError):
        files.read_bytes(f"{bodies}/trickle.mid")
    assert files.read_bytes(f"{bodies}/trickle.mid", 3) == b"xxx"
    over.set()


def test_slow_but_steady_is_read_to_the_end(bodies: str, deadline: float) -> None:
    assert files.read_bytes(f"{bodies}/trickle.mid") == b"x" * 12


def test_a_body_that_stops_half_way(bodies: str, deadline: float) -> None:
    with pytest.raises(retry.StalledError):
        files.read_bytes(f"{bodies}/half.mid", 1000)


def test_a_packed_body_is_not_unpacked_beyond_the_limit(bodies: str) -> None:
    limit = 1_500_001
    tracemalloc.start()
    content = files.read_bytes(f"{bodies}/packed.mid", limit)
    endless = files.read_bytes(f"{bodies}/endless.mid", limit)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert content == PACKED[:limit]
    assert len(endless) == limit
    assert peak < 8 * limit


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_not_opened(kind: str, tmp_path: Path) -> None:
    path = {"device": "/dev/zero"}.get(kind, str(tmp_path / "x.mid"))
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind(path)
        with pytest.raises(OSError, match="a pipe, a socket or a device"):
            files.read_bytes(path, 100)
        with pytest.raises(OSError, match="a pipe, a socket or a device"):
            list(files.read_lines(path))


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "list").open("wb") as f:
        f.truncate(100 << 20)
    with pytest.raises(ValueError, match="line of more than 16 MiB"):
        list(files.read_lines(str(tmp_path / "list")))


def test_a_call_keeps_its_result_and_its_error() -> None:
    assert retry.within_deadline(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        retry.within_deadline(divmod, 7, 0)
    assert fsspec.filesystem("memory") is not urls.filesystem("memory://x")[0]  # which may be replaced alone
