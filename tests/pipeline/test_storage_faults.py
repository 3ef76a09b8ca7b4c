"""A file system on which one call in twenty fails: every song is rendered, with the same bytes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gansynth.io import files, listing, retry
from pipeline.__main__ import main

DATA = Path(__file__).parents[1] / "data"
TINY = DATA / "checkpoints" / "tiny"
SONGS = ("melody.mid", "one_note.mid", "order.mid", "seven_seconds.mid")


class StatusError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"status {code}")
        self.code = code


QUIET = ("--set", "spectrogram.png=false", "--set", "compute.workers=1", "--quiet")  # one process: this one
FAULTS = (
    lambda: StatusError(429),
    lambda: StatusError(503),
    lambda: TimeoutError("timed out"),
    lambda: ConnectionResetError(104, "Connection reset by peer"),
)


class FaultyFileSystem(MemoryFileSystem):
    """An in-memory file system; calls fail before, or (writes) after they took effect."""

    protocol = "faulty"
    store: dict[str, Any] = {}  # noqa: RUF012 a class variable by fsspec's design
    pseudo_dirs = [""]  # noqa: RUF012
    rate = 0.0
    random = random.Random(0)
    faults: Counter[str] = Counter()  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).replace("faulty://", "memory://"))

    def fail(self, call: str) -> None:
        cls = FaultyFileSystem
        if cls.random.random() < cls.rate:
            cls.faults[call] += 1
            raise cls.random.choice(FAULTS)()

    def info(self, path: str, **kwargs: Any) -> Any:
        self.fail("info")
        return super().info(path, **kwargs)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self.fail("ls")
        return super().ls(path, detail, **kwargs)

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        self.fail("read")
        return super().cat_file(path, start, end, **kwargs)

    def _open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self.fail("open")
        return super()._open(path, *args, **kwargs)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> Any:
        self.fail("write")
        super().pipe_file(path, value, mode=mode, **kwargs)
        self.fail("write")

    def rm(self, path: Any, recursive: bool = False, maxdepth: Any = None) -> None:
        self.fail("rm")
        super().rm(path, recursive, maxdepth)


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyFileSystem]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    FaultyFileSystem.store.clear()
    FaultyFileSystem.faults.clear()
    FaultyFileSystem.random.seed(20)
    for i in range(16):
        name = SONGS[i % len(SONGS)]
        files.write_bytes(f"faulty://in/{i % 3}/{i}.mid", (DATA / "midi" / name).read_bytes())
    for path, _ in listing.find(str(TINY)):
        files.write_bytes(f"faulty://voice{path.removeprefix(str(TINY))}", Path(path).read_bytes())
    yield FaultyFileSystem
    FaultyFileSystem.rate = 0.0


def render(output: str) -> dict[str, bytes]:
    settings = ("checkpoint=faulty://voice", "compute.slice_songs=4", "compute.workers=1")
    options = [*(argument for setting in settings for argument in ("--set", setting)), *QUIET]
    assert main(["render", "--input", "faulty://in/**/*.mid", "--output", output, *options]) == 0
    rate, FaultyFileSystem.rate = FaultyFileSystem.rate, 0.0
    contents = {url.removeprefix(output): files.read_bytes(url) for url, _ in listing.find(output)}
    FaultyFileSystem.rate = rate
    return {name: content for name, content in contents.items() if not name.endswith(("config.yaml", "index.html"))}


def test_one_call_in_twenty_fails_and_nothing_is_lost(faulty: type[FaultyFileSystem]) -> None:
    expected = render("faulty:///out")
    assert sum(name.endswith(".wav") for name in expected) == 16
    assert not faulty.faults
    faulty.rate = 0.05
    assert render("faulty:///again") == expected
    assert sum(faulty.faults.values()) >= 5, faulty.faults
    assert len(faulty.faults) >= 3, faulty.faults


def test_a_file_that_is_never_read_is_one_failure(
    faulty: type[FaultyFileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "WORKER_SECONDS", 0.1)
    _open = FaultyFileSystem._open

    def open_slowly(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        if path.endswith("/7.mid"):
            raise TimeoutError("this disk is slow")
        return _open(self, path, *args, **kwargs)

    monkeypatch.setattr(FaultyFileSystem, "_open", open_slowly)
    options = ["--set", "checkpoint=faulty://voice", *QUIET]
    assert main(["render", "--input", "faulty://in/**/*.mid", "--output", "faulty:///some", *options]) == 3
    (row,) = files.read_lines("faulty:///some/errors.jsonl")
    assert "this disk is slow" in row
    assert '"1/7.mid"' in row
