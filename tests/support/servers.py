"""Fakes of Google's services on loopback: a reliable Cloud Storage, a faulty one, and the Dataflow API."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

S = TypeVar("S", bound="_Server")
BUCKETS = ("in", "out", "staging")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Waits until something listens at a port of this machine."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens at port {port}; {process.args} ended with {process.poll()}")


@contextlib.contextmanager
def started(*command: str, port: int, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server in a separate process, which is ended after the block."""
    process = subprocess.Popen(command, **options)
    try:
        wait_for(port, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """Starts a Cloud Storage with the buckets `BUCKETS`; returns its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    name = "gcp_storage_emulator"
    command = (sys.executable, "-W", "ignore", "-m", name, "-d", str(folder), "start", "-q", "-H", "127.0.0.1")
    with started(*command, "--port", str(port), "--default-bucket", BUCKETS[0], port=port):
        for bucket in BUCKETS[1:]:
            body = json.dumps({"name": bucket}).encode()
            request = urllib.request.Request(f"{url}/storage/v1/b", body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request).close()
        yield url


class _Server(ThreadingHTTPServer):
    """A server on a separate thread."""

    def handle_error(self, *args: Any) -> None:
        pass  # clients that close early, having seen enough

    @contextlib.contextmanager
    def running(self: S) -> Iterator[S]:
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class Front(_Server):
    """A proxy of a Cloud Storage: some requests fail, listings come in pages, and conditions on generations hold.

    Attributes:
        counts: number of requests by outcome: passed, 429, 503, torn, late.
        denied: method and part of the path of requests that are forbidden.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behind: str, fault_rate: float, page: int, seed: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _FrontHandler)
        self.behind, self.fault_rate, self.page = behind, fault_rate, page
        self.counts: Counter[str] = Counter()
        self.denied: tuple[str, str] | None = None
        self._random = random.Random(seed)
        self._lock, self.conditions = threading.Lock(), threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self) -> str:
        with self._lock:
            bad = self._random.random() < self.fault_rate
            kind = self._random.choice(["429", "503", "torn", "late"]) if bad else "passed"
            self.counts[kind] += 1
            return kind


class _FrontHandler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        if self.server.denied and self.command == self.server.denied[0] and self.server.denied[1] in self.path:
            self.reply(403, {"Content-Type": "application/json"}, b'{"error": {"message": "no such permission"}}')
            return
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        if "ifGenerationMatch" in query:
            with self.server.conditions:
                if self.generation(query) != query["ifGenerationMatch"][0]:
                    self.reply(412, {"Content-Type": "application/json"}, b'{"error": {"message": "conditionNotMet"}}')
                else:
                    self.reply(*self.forward(body))
            return
        fault = self.server.fault()
        if fault.isdecimal():
            self.reply(int(fault), {"Content-Type": "application/json"}, b'{"error": {"message": "try again"}}')
            return
        status, headers, content = self.forward(body)
        if fault == "late":  # it was done, but the answer is lost
            self.close_connection = True
            return
        if fault == "torn":
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) + 10))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        url = urllib.parse.urlsplit(self.path)
        if self.command == "GET" and url.path.endswith("/o") and status == 200:
            content = self.paged(content, urllib.parse.parse_qs(url.query))
        self.reply(status, headers, content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815

    def generation(self, query: dict[str, list[str]]) -> str:
        """Returns the generation of the object of a request; 0 if there is none."""
        path = urllib.parse.urlsplit(self.path).path
        bucket, name = re.fullmatch(r"(?:/upload)?/storage/v1/b/([^/]+)/o/?(.*)", path).groups()  # type: ignore[union-attr]
        name = name or urllib.parse.quote(query["name"][0], safe="")
        try:
            with urllib.request.urlopen(f"{self.server.behind}/storage/v1/b/{bucket}/o/{name}") as answer:
                return str(json.load(answer)["generation"])
        except urllib.error.HTTPError as answer:
            answer.close()
            return "0"

    def forward(self, body: bytes | None) -> tuple[int, dict[str, str], bytes]:
        skipped = {"host", "content-length", "connection", "accept-encoding"}
        headers = {name: value for name, value in self.headers.items() if name.lower() not in skipped}
        request = urllib.request.Request(self.server.behind + self.path, body, headers, method=self.command)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, dict(answer.headers), answer.read()

    def paged(self, content: bytes, query: dict[str, list[str]]) -> bytes:
        listing = json.loads(content)
        first = int(query.get("pageToken", ["0"])[0])
        items = listing.pop("items", [])
        listing["items"] = items[first : first + self.server.page]
        if first + self.server.page < len(items):
            listing["nextPageToken"] = str(first + self.server.page)
        return json.dumps(listing).encode()

    def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value.replace(self.server.behind, self.server.url))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass


class DataflowApi(_Server):
    """A fake of the parts of the Dataflow API that Beam uses; it passes each job to a function.

    Attributes:
        jobs: the requests, in order.
        is_silent: if true, it does not report the state of jobs.
    """

    daemon_threads = True
    is_silent = False

    def __init__(self, work: Callable[[dict[str, Any]], str | None]) -> None:
        """Sets `work`, which gets the request of a job and returns the reason of its failure, or None."""
        super().__init__(("127.0.0.1", 0), _DataflowHandler)
        self.work = work
        self.jobs: list[dict[str, Any]] = []
        self.outcomes: dict[str, str | None] = {}

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"  # Beam looks for this name

    def submit(self, job: dict[str, Any]) -> str:
        """Returns the id of a new job, or of the running job with the same name."""
        for number, earlier in enumerate(self.jobs):
            if earlier["name"] == job["name"] and self.id(number) not in self.outcomes:
                return self.id(number)
        job_id = self.id(len(self.jobs))
        self.jobs.append(job)
        threading.Thread(target=lambda: self.outcomes.update({job_id: self.work(job)}), daemon=True).start()
        return job_id

    @staticmethod
    def id(number: int) -> str:
        return f"2026-01-01_00_00_00-{number}"


class _DataflowHandler(BaseHTTPRequestHandler):
    server: DataflowApi

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert re.fullmatch(r"/v1b3/projects/[\w-]+/locations/[\w-]+/jobs", self.path.split("?")[0]), self.path
        job_id = self.server.submit(job)
        self.reply(self.job(job_id, self.server.jobs[int(job_id.rsplit("-", 1)[1])]))

    def do_GET(self) -> None:
        if self.path.split("?")[0].endswith("/jobs"):
            jobs = [self.job(self.server.id(number), job) for number, job in enumerate(self.server.jobs)]
            self.reply({"jobs": jobs})
            return
        found = re.fullmatch(r"/v1b3/projects/[\w-]+/locations/[\w-]+/jobs/([\w-]+)(/\w+)?", self.path.split("?")[0])
        assert found, self.path
        if self.server.is_silent:
            self.send_error(403)
            return
        job_id, what = found.groups()
        if what == "/messages":
            failure = self.server.outcomes.get(job_id)
            message = {"id": "1", "time": "2026-01-01T00:00:00Z", "messageImportance": "JOB_MESSAGE_ERROR"}
            self.reply({"jobMessages": [message | {"messageText": failure}] if failure else []})
        elif what == "/metrics":
            self.reply({"metricTime": "2026-01-01T00:00:00Z", "metrics": []})
        else:
            self.reply(self.job(job_id, self.server.jobs[int(job_id.rsplit("-", 1)[1])]))

    def job(self, job_id: str, request: dict[str, Any]) -> dict[str, Any]:
        state = "JOB_STATE_RUNNING"
        if job_id in self.server.outcomes:
            state = "JOB_STATE_FAILED" if self.server.outcomes[job_id] else "JOB_STATE_DONE"
        same = {key: request[key] for key in ("name", "clientRequestId", "type")}
        return same | {"id": job_id, "projectId": "p", "location": "r", "currentState": state}

    def reply(self, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        pass
