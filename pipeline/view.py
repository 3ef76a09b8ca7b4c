"""A web server for an output folder on this machine alone: what browsers forbid a page from the disk works there."""

from __future__ import annotations

import os
import re
import stat
import sys
import webbrowser
from email.utils import formatdate
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from gansynth.errors import ConfigError
from gansynth.io import urls
from pipeline.terminal import say

HOST = "127.0.0.1"
PORT = 8750
"""Port that is used if it is free and no other is asked for: by its port, a browser knows the page's volume."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_PIECE = 1 << 16


class Server(ThreadingHTTPServer):
    """A server of the files below a folder, on 127.0.0.1; each connection has a thread.

    Attributes:
        root: the folder, without links.
    """

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0) -> None:
        """Opens a port.

        Args:
            root: folder of the files.
            port: number of the port; 0: a free one.

        Raises:
            OSError: the port is in use, or not allowed.
        """
        self.root = root.resolve()
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        """URL of the folder."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports an error of a connection, unless the browser has closed it, as it does when one seeks."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            say(f"error: {type(error).__name__}: {error}")


class _Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD with files and their byte ranges; anything else there is not told from what is missing."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gansynth-beam", ""
    timeout = 60
    _left = 0

    def send_head(self) -> BinaryIO | None:
        """Sends the headers; returns the file, at the first byte of what was asked for."""
        if self.headers.get("Host", "") not in (f"{name}:{self.server.server_port}" for name in (HOST, "localhost")):
            # A page from elsewhere whose name was made to lead here (DNS rebinding) sends its own name.
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        file = self._open()
        if file is None and self.path == "/favicon.ico":  # which browsers ask for without being told to
            self.send_response(HTTPStatus.NO_CONTENT)
            super().end_headers()
            return None
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        try:
            self._send_headers(file, os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file

    def _open(self) -> BinaryIO | None:
        """Opens the file of the request; None unless it is a plain file below the root, and no record of the job."""
        names = unquote(urlsplit(self.path).path).removeprefix("/").split("/")
        if names == [""]:
            names = ["index.html"]
        if any(name in ("", ".", "..") or "\0" in name or "\\" in name for name in names) or names[0].startswith("."):
            return None
        try:
            path = self.server.root.joinpath(*names).resolve(strict=True)
            if not path.is_relative_to(self.server.root) or not stat.S_ISREG(path.stat().st_mode):
                return None
            return path.open("rb")
        except (OSError, RuntimeError, ValueError):  # among them a loop of links, and a name that is too long
            return None

    def _send_headers(self, file: BinaryIO, status: os.stat_result) -> None:
        size, changed = status.st_size, formatdate(status.st_mtime, usegmt=True)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if self.headers.get("If-Range", changed) != changed or asked is None or not any(asked.groups()):
            first, last = 0, size - 1
            self.send_response(HTTPStatus.OK)
        else:
            first, last = _bounds(asked[1], asked[2], size)
            if first > last:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
            else:
                self.send_response(HTTPStatus.PARTIAL_CONTENT)
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
                file.seek(first)
        self._left = max(last - first + 1, 0)
        self.send_header("Content-Type", self.guess_type(str(file.name)))
        self.send_header("Content-Length", str(self._left))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", changed)
        self.end_headers()

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        """Returns the type of a file; texts are UTF-8."""
        kind = {".flac": "audio/flac", ".js": "text/javascript", ".jsonl": "text/plain", ".yaml": "text/plain"}.get(
            Path(path).suffix
        ) or super().guess_type(path)
        return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind

    def end_headers(self) -> None:
        """Adds what keeps other sites from reading or embedding the files, and browsers from keeping old ones."""
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Sends the bytes that the headers have announced."""
        while self._left > 0 and (piece := source.read(min(_PIECE, self._left))):
            outputfile.write(piece)
            self._left -= len(piece)
        if self._left:  # the file was cut meanwhile
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a page asks for many files."""


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """Returns first and last byte of a range as HTTP writes it ("2-5", "2-", "-3"); first > last if there is none."""
    if not first:
        return max(size - int(last), 0), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


def view(output: str, port: int | None = None, opens_browser: bool = True) -> None:
    """Serves an output folder until Ctrl-C.

    Args:
        output: a folder on this machine with a page, or the page itself.
        port: number of the port; None: PORT, or a free one if that is in use.
        opens_browser: if true, the page is opened in a browser if there is a screen.

    Raises:
        ConfigError: there is no page, or the port cannot be opened.
    """
    root = _folder(output)
    try:
        server = _server(root, port)
    except OSError as error:
        raise ConfigError(
            f"--port {port}: cannot be opened ({error.strerror}); choose another, or leave it out."
        ) from None
    with server:
        say(f"{root}: {server.address} (Ctrl-C ends it)", links={server.address: server.address})
        if opens_browser and _has_screen():
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _folder(output: str) -> Path:
    if not urls.is_local(output):
        raise ConfigError(f"{output}: only folders on this machine can be viewed; copy it here first.")
    root = Path(urls.local_path(output))
    root = root.parent if root.name == "index.html" and root.is_file() else root
    if not root.is_dir():
        raise ConfigError(f"{output}: {'is not a folder' if root.exists() else 'does not exist'}.")
    if not (root / "index.html").is_file():
        raise ConfigError(f"{output}: has no index.html; `gansynth-beam report {output}` writes the page of a job.")
    return root


def _server(root: Path, port: int | None) -> Server:
    if port is not None:
        return Server(root, port)
    try:
        return Server(root, PORT)
    except OSError:
        return Server(root)


def _has_screen() -> bool:
    """Returns whether a browser would open a window, instead of taking over the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
