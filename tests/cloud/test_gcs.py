"""Rendering from gs:// to gs://, against a local Cloud Storage, writes the same bytes as from and to local folders."""

from __future__ import annotations

import json
import tarfile
import threading
import tracemalloc
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gansynth.io import files, listing
from pipeline.__main__ import main
from pipeline.inputs import Listing
from tests.support.cloud import SONGS, assert_same, outputs
from tests.support.servers import Front
from transforms.elements import Source

ANONYMOUS = ["--set", "storage.credentials=anonymous", "--quiet"]
GS = ["--set", "checkpoint=gs://in/tiny", *ANONYMOUS]
Cloud = Callable[[str], None]


def test_bucket_to_bucket_equals_local(cloud: Cloud, rendered: Path) -> None:
    assert main(["render", "--input", "gs://in/songs/**", "--output", "gs://out/plain", *GS]) == 3
    assert_same(outputs("gs://out/plain"), outputs(str(rendered)))
    sources = [json.loads(line)["source"] for line in files.read_lines("gs://out/plain/manifest.jsonl")]
    assert "gs://in/songs/a/melody.mid" in sources
    before = outputs("gs://out/plain")
    assert main(["render", "--input", "gs://in/songs/**", "--output", "gs://out/plain", *GS]) == 3
    assert outputs("gs://out/plain") == before  # all finished, nothing rendered again


def test_a_bucket_that_fails_and_lists_in_pages(cloud: Cloud, gcs: str, rendered: Path) -> None:
    with Front(gcs, fault_rate=0.05, page=2, seed=1).running() as front:
        cloud(front.url)
        assert main(["render", "--input", "gs://in/songs/", "--output", "gs://out/faulty", *GS]) == 3
        front.fault_rate = 0
        found = outputs("gs://out/faulty")
    assert_same(found, outputs(str(rendered)))
    assert sum(front.counts[fault] for fault in ("429", "503", "torn", "late")) >= 3, front.counts


def test_patterns_lists_and_archives_in_a_bucket(cloud: Cloud, corpus: Path, tmp_path: Path) -> None:
    from pipeline.inputs import list_sources

    def ids(*patterns: str) -> list[str]:
        return [source.song_id for source in list_sources(patterns)]

    everything = sorted(SONGS)
    assert ids("gs://in/songs") == ids("gs://in/songs/") == everything
    assert ids("gs://in/songs/**.mid") == [name for name in everything if name.endswith(".mid")]
    assert ids("gs://in/songs/a/*.mid") == ["melody.mid", "one.mid"]
    assert ids("gs://in/songs/?/melody.mid") == ["a/melody.mid", "b/melody.mid"]
    assert ids("gs://in/songs/a/one.mid") == ["one.mid"]
    files.write_bytes("gs://in/lists/songs.txt", b"gs://in/songs/a/one.mid\ngs://in/songs/b/melody.mid\n")
    assert ids("@gs://in/lists/songs.txt") == ["a/one.mid", "b/melody.mid"]
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(corpus, "songs")
    files.upload(tmp_path / "all.tar.gz", "gs://in/archives/all.tar.gz")
    found = list(list_sources(["gs://in/archives/*.tar.gz"]))
    assert sorted(source.song_id for source in found) == [f"all.tar.gz/songs/{name}" for name in everything]
    for source in found:
        assert files.read_bytes(source.url) == (corpus / source.song_id.removeprefix("all.tar.gz/songs/")).read_bytes()


class Endless(BaseHTTPRequestHandler):
    """A bucket of 30,000 songs, in pages of 1,000."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        first = int(parse_qs(urlsplit(self.path).query).get("pageToken", ["0"])[0])
        names = [f"songs/{i:09d}.mid" for i in range(first, first + 1000)]
        page: dict[str, object] = {"items": [{"name": name, "size": "100"} for name in names]}
        if first < 29_000:
            page["nextPageToken"] = str(first + 1000)
        content = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


def test_a_large_bucket_is_listed_in_little_memory(cloud: Cloud) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        cloud(f"http://127.0.0.1:{server.server_port}")
        next(listing.find("gs://bucket/songs"))  # imports and connections
        tracemalloc.start()
        found = Listing(Source(url, url, size) for url, size in listing.find("gs://bucket/songs"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (len(found), found.size) == (30_000, 3_000_000)
    assert peak < 4 << 20


def test_whole_objects_of_every_size(cloud: Cloud, tmp_path: Path) -> None:
    for size in (0, 1, 262_144, 6 << 20):
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        files.write_bytes("gs://out/sizes/x.bin", data)
        assert files.read_bytes("gs://out/sizes/x.bin") == data
        assert files.read_bytes("gs://out/sizes/x.bin", 100) == data[:100]
        assert listing.size("gs://out/sizes/x.bin") == size
        (tmp_path / "x.bin").write_bytes(data)
        files.upload(tmp_path / "x.bin", "gs://out/sizes/y.bin")
        assert files.read_bytes("gs://out/sizes/y.bin") == data
        with files.writing("gs://out/sizes/z.bin") as f:
            f.write(data)
        assert files.read_bytes("gs://out/sizes/z.bin") == data
    files.remove("gs://out/sizes")
    files.remove("gs://out/sizes")
    assert listing.kind("gs://out/sizes") is None
    with pytest.raises(FileNotFoundError):
        files.read_bytes("gs://out/sizes/x.bin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--input", "gs://in/nothing/*.mid"],
            "--input gs://in/nothing/*.mid: the folder gs://in/nothing does not exist",
        ),
        (["--input", "gs://no-such-bucket/*.mid"], "--input gs://no-such-bucket/*.mid: does not exist"),
        (["--output", "gs://no-such-bucket/x"], "--output gs://no-such-bucket/x: cannot be written"),
        (["--set", "checkpoint=gs://in/nothing"], "gs://in/nothing: "),
    ],
)
def test_what_is_not_there_is_told_before_the_job_starts(
    arguments: list[str], message: str, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {"--input": "gs://in/songs", "--output": "gs://out/refused"}
    given = [*arguments, *(part for option in before.items() if option[0] not in arguments for part in option)]
    assert main(["render", *given, *ANONYMOUS]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert listing.kind("gs://out/refused/manifest.jsonl") is None


def test_a_missing_permission_is_told_before_the_job_starts(
    cloud: Cloud, gcs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Front(gcs, fault_rate=0, page=1000).running() as front:
        cloud(front.url)
        for denied, option in (
            (("GET", "/b/in/o"), "--input"),
            (("GET", "one.mid"), "--input"),
            (("POST", "/b/out/o"), "--output"),
        ):
            front.denied = denied
            assert main(["render", "gs://in/songs/a/one.mid", "--output", "gs://out/denied", *ANONYMOUS]) == 2
            said = capsys.readouterr().err
            error = said[said.index("error: ") :]  # behind what the stand-in may say of connections that were cut
            assert error.startswith(f"error: {option} gs://")
            assert "Forbidden" in error
            assert "storage.objects.list" in error


def test_files_are_joined_by_the_storage(cloud: Cloud, gcs: str, tmp_path: Path) -> None:
    """In requests of at most 32 objects, and to the same bytes as elsewhere."""
    for count in (0, 1, 32, 33, 100):
        parts = [(f"gs://out/join/{count}/{number:03d}", f"{number}\n".encode()) for number in range(count)]
        local = [(str(tmp_path / f"{number:03d}"), data) for number, (_, data) in enumerate(parts)]
        for url, data in (*parts, *local):
            files.write_bytes(url, data)
        files.join([url for url, _ in parts], f"gs://out/join/{count}.txt")
        files.join([url for url, _ in local], str(tmp_path / "joined"))
        expected = b"".join(data for _, data in parts)
        assert files.read_bytes(f"gs://out/join/{count}.txt") == expected == (tmp_path / "joined").read_bytes()
