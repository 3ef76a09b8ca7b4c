"""Jobs that are stopped: by Ctrl-C and SIGTERM, and by an output folder into which nothing can be written any more."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gansynth.io import files, listing
from pipeline import stopping
from pipeline.__main__ import main
from tests.support.pages import manifest

ROOT = Path(__file__).parents[2]
MIDI = ROOT / "tests" / "data" / "midi"
SONGS = 24
STOPPED = re.compile(r"Stopped: (\d+) of (\d+) songs done; run the same command to go on")


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Lets SIGINT through also where the tests run in the background, for which a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(SONGS):
        shutil.copy(MIDI / ("fourteen_seconds.mid" if number % 2 else "order.mid"), folder / f"{number:02d}.mid")
    return folder


def arguments(songs: Path | str, out: Path | str, checkpoint: str, workers: int) -> list[str]:
    settings = (f"checkpoint={checkpoint}", f"compute.workers={workers}", "compute.slice_songs=8")
    return ["render", str(songs), "--output", str(out), *(word for one in settings for word in ("--set", one))]


def done(out: Path) -> int:
    return sum(1 for _ in (out / ".done").rglob("*.json"))


def running(group: int) -> list[str]:
    """Returns the command lines of the processes of a group that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, own, *_ = (process / "stat").read_text().rpartition(")")[2].split()
            if int(own) == group and state not in "ZX":
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


@pytest.mark.parametrize(
    ("number", "group", "workers"),
    [
        (signal.SIGINT, True, 2),  # Ctrl-C in a terminal reaches all processes
        (signal.SIGTERM, False, 2),
        (signal.SIGTERM, True, 2),
        (signal.SIGINT, False, 1),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM to all", "Ctrl-C in one process"],
)
def test_a_signal_stops_the_job_in_one_line(
    number: signal.Signals, group: bool, workers: int, songs: Path, tiny: str, tmp_path: Path
) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments(songs, out, tiny, workers)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while done(out) < 3 and process.poll() is None:
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    found = STOPPED.search(said)
    assert found, said
    rendered, errors = manifest(out), manifest(out, "errors.jsonl")
    assert (len(rendered), SONGS) == (int(found[1]), int(found[2]))
    assert 3 <= len(rendered) < SONGS
    assert len(rendered) == done(out)  # every finished song is listed, also those of slices that were not
    assert len(rendered) + len(errors) == SONGS
    assert {row["code"] for row in errors} == {"job-stopped"}
    assert rendered[0]["outputs"]["audio"] in (out / "index.html").read_text()
    assert not list(scratch.iterdir())
    assert not [path.name for path in out.rglob("*") if path.name.startswith((".writing-", ".lock", ".rows"))]
    limit = time.monotonic() + 60
    while left := running(process.pid):  # the fork server ends when it has noticed
        assert time.monotonic() < limit, left
        time.sleep(0.05)


def test_a_stopped_job_goes_on(
    songs: Path, tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transforms import write_songs

    write, count = write_songs._Write._write, 0

    def stop_at_the_fifth(self: Any, song: Any) -> Any:
        nonlocal count
        count += 1
        if count == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return write(self, song)

    monkeypatch.setattr(write_songs._Write, "_write", stop_at_the_fifth)
    command = arguments(songs, tmp_path / "out", tiny, 1)
    assert main(command) == 143
    assert "Stopped: 4 of 24 songs done; run the same command to go on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert main(command) == 0
    assert "24 of 24 songs rendered" in capsys.readouterr().err
    assert count == 5 + 20
    assert not manifest(tmp_path / "out", "errors.jsonl")


def test_a_second_signal_within_a_second_is_the_same_one() -> None:
    with stopping.on_signals() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # passed on by a parent
        assert (stop.number, stop.exit_code) == (signal.SIGTERM, 143)


def test_a_signal_before_the_job_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.run.check", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    assert main(["render", "--output", str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out").exists()


# Storage that cannot be written


class FullFileSystem(MemoryFileSystem):
    """A file system that has room for some bytes more, and that fails in the same way as a disk."""

    protocol = "full"
    store: dict[str, Any] = {}  # noqa: RUF012 a class variable by fsspec's design
    pseudo_dirs = [""]  # noqa: RUF012
    room: float = 0.0
    error = OSError(errno.ENOSPC, "No space left on device")

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(str(path).replace("full://", "memory://"))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> Any:
        cls = FullFileSystem
        if len(value) > cls.room or cls.room <= 0:
            raise cls.error
        cls.room -= len(value)
        super().pipe_file(path, value, mode=mode, **kwargs)


@pytest.fixture
def full() -> type[FullFileSystem]:
    fsspec.register_implementation("full", FullFileSystem, clobber=True)
    FullFileSystem.store.clear()
    return FullFileSystem


ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    OSError(errno.EROFS, "Read-only file system"),
]


@pytest.mark.parametrize("error", ERRORS, ids=["full", "quota", "read-only"])
def test_the_job_ends_in_one_line_when_nothing_can_be_written(
    error: OSError, full: type[FullFileSystem], songs: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    full.room, full.error = 3e6, error
    command = arguments(songs, "full://out", tiny, 1)
    assert main(command) in (1, 3)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    finished = re.match(
        r"Stopped: (\d+) of 24 songs done \(--output full://out: cannot be written \(OSError: ", said[0]
    )
    assert finished, said
    assert str(error) in said[0]
    records = sum(1 for _ in listing.find("full://out/.done"))
    assert 0 < int(finished[1]) == records < SONGS

    full.room = 1e9
    assert main(command) == 0
    assert sum(1 for _ in files.read_lines("full://out/manifest.jsonl")) == SONGS
    assert not list(files.read_lines("full://out/errors.jsonl"))


def test_a_file_that_cannot_be_written_is_one_failure(
    full: type[FullFileSystem], songs: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full.room = 1e9
    pipe_file = FullFileSystem.pipe_file

    def refuse_one(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        if path.endswith("audio/07.wav"):
            raise OSError(errno.ENAMETOOLONG, "File name too long")
        return pipe_file(self, path, *args, **kwargs)

    monkeypatch.setattr(FullFileSystem, "pipe_file", refuse_one)
    assert main(arguments(songs, "full://out", tiny, 1)) == 3
    (row,) = files.read_lines("full://out/errors.jsonl")
    assert '"output-unwritable"' in row
    assert '"07.mid"' in row


def test_processes_that_cannot_write_end_the_job_and_a_rerun_finishes_it(
    songs: Path, tiny: str, tmp_path: Path
) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    command = [sys.executable, "-m", "pipeline", *arguments(songs, tmp_path / "out", tiny, 2)]
    first = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert first.returncode in (1, 3), first.stderr
    assert "Traceback" not in first.stderr
    assert re.search(r"Stopped: \d+ of 24 songs done \(--output .*File too large", first.stderr)
    assert not list((tmp_path / "out").rglob(".writing-*"))
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert len(manifest(tmp_path / "out")) == SONGS
