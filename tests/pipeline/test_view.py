"""The server of `gansynth-beam view`: files and byte ranges of one folder, to this machine alone."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.terminal import say
from pipeline.view import HOST, Server

ROOT = Path(__file__).parents[2]
SOUND = bytes(range(256)) * 600  # longer than one piece


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    (out / "audio" / "a b").mkdir(parents=True)
    (out / ".done").mkdir()
    (out / "index.html").write_text("<!doctype html>", "utf-8")
    (out / "audio" / "a b" / "é#%?.wav").write_bytes(SOUND)
    (out / "audio" / ".hidden.flac").write_bytes(b"flac")
    (out / "audio" / "empty.wav").write_bytes(b"")
    (out / ".done" / "x.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    return out


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), body


WAV = "/audio/a%20b/%C3%A9%23%25%3F.wav"


def test_serves_the_folder(server: Server) -> None:
    for path in ("/", "/index.html", "/#song=x", "/?x=1"):
        status, headers, body = ask(server, path)
        assert (status, headers["Content-Type"], body) == (200, "text/html; charset=utf-8", b"<!doctype html>")
    status, headers, body = ask(server, WAV)
    assert (status, headers["Accept-Ranges"], body) == (200, "bytes", SOUND)
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    status, headers, body = ask(server, WAV, "HEAD")
    assert (status, int(headers["Content-Length"]), body) == (200, len(SOUND), b"")
    assert ask(server, "/favicon.ico")[0] == 204
    assert ask(server, "/audio/.hidden.flac")[::2] == (200, b"flac")
    assert ask(server, "/audio/empty.wav")[2] == b""


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, len(SOUND)),
        ("bytes=-7", len(SOUND) - 7, len(SOUND)),
        ("bytes=-999999999", 0, len(SOUND)),
        ("bytes=100000-999999999", 100_000, len(SOUND)),
        ("bytes=10-80000", 10, 80_001),
    ],
)
def test_serves_ranges(server: Server, asked: str, first: int, end: int) -> None:
    status, headers, body = ask(server, WAV, Range=asked)
    assert (status, body) == (206, SOUND[first:end])
    assert headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(SOUND)}"
    changed = headers["Last-Modified"]
    assert ask(server, WAV, Range=asked, If_Range=changed)[0] == 206
    assert ask(server, WAV, Range=asked, If_Range="Thu, 01 Jan 1970 00:00:00 GMT")[2] == SOUND


@pytest.mark.parametrize("asked", [f"bytes={len(SOUND)}-", "bytes=9-3", "bytes=-0"])
def test_refuses_ranges_that_are_not_there(server: Server, asked: str) -> None:
    status, headers, body = ask(server, WAV, Range=asked)
    assert (status, headers["Content-Range"], body) == (416, f"bytes */{len(SOUND)}", b"")


@pytest.mark.parametrize("asked", ["bytes=", "bytes=-", "bytes=x-y", "lines=1-2", "bytes=0-1,4-5", "bytes=" + 99 * "9"])
def test_ignores_ranges_that_it_does_not_understand(server: Server, asked: str) -> None:
    assert ask(server, WAV, Range=asked)[::2] == (200, SOUND)


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/audio/../../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt",
        "/audio/%2e%2e%2f%2e%2e%2fsecret.txt", "//secret.txt", "/audio//a%20b", "/audio", "/audio/", "/.done/x.json",
        "/%2edone/x.json", "/audio/./empty.wav", "/audio/x%00.wav", "/..%5csecret.txt", "/nothing", "/" + "x" * 5000,
        "/audio/empty.wav/", "/audio/empty.wav/x", "/%ff%fe",
    ],
)  # fmt: skip
def test_nothing_else_is_there(server: Server, path: str) -> None:
    status, _, body = ask(server, path)
    assert status == 404
    assert b"secret" not in body.replace(b"secret.txt", b"")


def test_links_out_of_the_folder_are_not_followed(server: Server, folder: Path) -> None:
    (folder / "file.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop").symlink_to("loop")
    (folder / "inside.html").symlink_to("index.html")
    os.mkfifo(folder / "pipe")
    for path in ("/file.txt", "/up/secret.txt", "/loop", "/pipe"):
        assert ask(server, path)[0] == 404
    assert ask(server, "/inside.html")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_other_names_of_this_machine_are_refused(server: Server, host: str) -> None:
    assert ask(server, "/", Host=host.format(port=server.server_port))[0] == 421
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_files_can_only_be_read(server: Server, method: str) -> None:
    assert ask(server, "/", method)[0] == 501


def test_only_this_machine_reaches_it(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_browser_that_goes_away_is_not_an_error(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection((HOST, server.server_port)) as client:
        client.sendall(f"GET {WAV} HTTP/1.1\r\nHost: {HOST}:{server.server_port}\r\n\r\n".encode())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
    assert ask(server, "/")[0] == 200
    assert capfd.readouterr() == ("", "")


def run(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline", "view", str(folder), *options]
    variables = {"FORCE_HYPERLINK": "0", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_prints_the_address_and_a_signal_ends_it_quietly(folder: Path, number: signal.Signals) -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
    process = run(folder, "--port", str(port), "--no-browser")
    signal.signal(signal.SIGINT, before)
    with process:
        assert process.stderr
        line = process.stderr.readline()
        assert f"http://127.0.0.1:{port}/" in line
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=10)) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"<!doctype html>"
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_a_port_in_use_is_told_or_another_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Server, "serve_forever", lambda self: None)
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert main(["view", str(folder), "--no-browser", "--port", str(port)]) == 2
        assert f"--port {port}: cannot be opened" in capsys.readouterr().err
        monkeypatch.setattr("pipeline.view.PORT", port)
        assert main(["view", str(folder / "index.html"), "--no-browser"]) == 0
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", capsys.readouterr().err)
        assert found
        assert int(found[1]) != port


def test_a_browser_is_opened_where_there_is_a_screen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(Server, "serve_forever", lambda self: None)
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert main(["view", str(folder)]) == 0
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    assert main(["view", str(folder)]) == 0
    assert len(opened) == 1
    assert main(["view", str(folder), "--no-browser"]) == 0
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nothing", "does not exist"),
        ("secret.txt", "is not a folder"),
        ("out/audio", "has no index.html"),
        ("gs://bucket/out", "only folders on this machine"),
    ],
)
def test_says_what_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str, message: str
) -> None:
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(Server, "serve_forever", lambda self: None)
    assert main(["view", output, "--no-browser"]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["view", "out", "--port", "70000"])
    with pytest.raises(SystemExit):
        main(["view", "out", "--nonsense"])


def test_the_address_is_a_link_in_terminals_that_show_links(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_HYPERLINK", "1")
    url = "http://127.0.0.1:8750/"
    say(f"out: {url} (Ctrl-C ends it)", links={url: url})
    assert f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\" in capsys.readouterr().err
