"""The progress display: figures that agree with Beam's counters, on a terminal, in a log, and with --quiet."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pty
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.config import load_config
from pipeline.local.shared_counters import SharedCounters, publish_counters
from pipeline.progress import Progress, State
from pipeline.run import run
from tests.support.pages import write_song
from transforms import counters
from transforms.worker_context import CONTEXT

ROOT = Path(__file__).parents[2]
HALF = State(songs=10, read=5, kept=0, written=3, failed=1, notes=600, known_notes=1000, elapsed=70.0, rendering=60.0)


def log(width: int = 80) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=width, force_terminal=False), file


def test_what_is_left_is_worked_out_from_the_notes() -> None:
    assert HALF.rate == 10
    assert HALF.expected_notes == 2000  # five songs have 1000
    assert HALF.left == 140
    everything = State(10, 10, 2, 7, 1, 1500, 1500, 200.0, 150.0)
    assert everything.expected_notes == 1500
    assert everything.left == 0
    assert everything.done == 10
    assert "2 kept from an earlier run" in everything.line()
    assert "left" not in everything.line()
    nothing = State(10, 0, 0, 0, 0, 0, 0, 0.0, 0.0)
    assert (nothing.expected_notes, nothing.rate, nothing.left) == (0, 0, None)


def test_a_line_says_it_all() -> None:
    assert HALF.line() == "4 of 10 songs: 600 notes at 10/s; 5 read, 3 written, 1 failed, 1:10 elapsed, about 2:20 left"


def test_the_display_says_it_all_and_fits() -> None:
    for width in (60, 80, 200):
        console, file = log(width)
        console.print(HALF.table())
        text = file.getvalue()
        assert "4 of 10" in text
        assert "600 of about 2,000, 10/s" in text
        assert "about 2:20 left" in text
        assert all(len(line) <= width for line in text.splitlines())
    console.print(State(0, 0, 0, 0, 0, 0, 0, 0.0, 0.0).table())
    console.print(State(1, 1, 0, 0, 0, 50, 40, 9.0, 8.0).table())  # more notes than expected


def test_lines_now_and_then_where_there_is_no_terminal() -> None:
    console, file = log()
    with Progress(3, console=console, seconds=0.05) as progress:
        progress.add(Counter(songs_read=2, songs_written=2, synthesis_notes=7, notes_played=7))
        time.sleep(0.4)
    lines = file.getvalue().splitlines()
    assert len(lines) >= 2
    expected = r"2 of 3 songs: 7 notes at \d+/s; 2 read, 2 written, 0 failed, 0:00 elapsed"
    assert all(re.match(expected, line) for line in lines)
    assert "\x1b" not in file.getvalue()
    written = len(lines)
    time.sleep(0.2)
    assert len(file.getvalue().splitlines()) == written


def test_a_short_run_writes_no_line_and_a_quiet_one_nothing() -> None:
    console, file = log()
    with Progress(3, console=console):
        pass
    with Progress(3, quiet=True, console=console, seconds=0.01):
        time.sleep(0.1)
    terminal = Console(file=file, force_terminal=True)
    with Progress(3, quiet=True, console=terminal):
        pass
    assert file.getvalue() == ""


def test_a_terminal_gets_a_display_that_leaves_no_trace() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    with Progress(3, console=console) as progress:
        progress.add(Counter(songs_read=3, songs_written=2, songs_failed=1))
    text = file.getvalue()
    assert "3 of 3" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    assert "\x1b[2K" in text  # and the lines are cleared


def test_a_dumb_terminal_gets_lines() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, _environ={"TERM": "dumb"})
    with Progress(3, console=console, seconds=0.02):
        time.sleep(0.1)
    assert "0 of 3 songs" in file.getvalue()
    assert "\x1b[2K" not in file.getvalue()


def test_slices_in_work_and_finished_ones_are_added() -> None:
    progress = Progress(4, quiet=True)
    tally = type("Tally", (), {})()
    tally.notes = 3
    before = CONTEXT.total()
    progress.watch(lambda: CONTEXT.total() - before)
    with counters.counting("synthesis_", tally):
        assert progress.state().notes == 3
        tally.notes = 5
        assert progress.state().notes == 5  # while the batch is still being rendered
    assert progress.state().notes == 5
    progress.add(Counter(synthesis_notes=4))
    assert progress.state().notes == 9


def test_processes_share_counters(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    shared = SharedCounters(context, 2)
    enough = tmp_path / "enough"
    with ProcessPoolExecutor(2, mp_context=context, initializer=claim, initargs=(shared,)) as pool:
        waiting = [pool.submit(count_until, enough, songs) for songs in (2, 3)]
        while shared.total()["songs_read"] < 5 and not any(one.done() for one in waiting):
            time.sleep(0.05)
        assert +shared.total() == Counter(songs_read=5, synthesis_notes=20)
        enough.touch()
        assert [one.result() for one in waiting] == [None, None]
    assert +shared.total() == Counter()  # finished slices are reported in another way


def claim(shared: SharedCounters) -> None:
    CONTEXT.publish = shared.claim_row()


def count_until(enough: Path, songs: int) -> None:
    """Counts some songs and notes at once, and ends when the file exists."""
    tally = type("Tally", (), {})()
    tally.notes = 10
    with publish_counters(), counters.counting("synthesis_", tally):
        counters.count("songs_read", songs)
        counters.count("of no interest", 7)
        while not enough.exists():
            time.sleep(0.05)


def test_the_figures_are_beams_own(tmp_path: Path, data: Path) -> None:
    write_song(tmp_path / "in" / "a.mid", range(60, 70))
    write_song(tmp_path / "in" / "b.mid", range(50, 55))
    (tmp_path / "in" / "c.mid").write_bytes(b"no MIDI")
    settings = [f"checkpoint={data / 'checkpoints' / 'tiny'}", "compute.slice_songs=2", "compute.workers=1"]
    before = CONTEXT.total()
    summary = run(load_config(None, settings, [str(tmp_path / "in")], str(tmp_path / "out")), quiet=True)
    found = CONTEXT.total() - before
    assert found == +Counter(summary.counters)
    assert found["songs_read"] == 2
    assert found["songs_written"] == 2
    assert found["songs_failed"] == found["failed_read"] == 1
    assert found["notes_played"] == found["synthesis_notes"] == 45


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_the_command_line_shows_it(tmp_path: Path, data: Path, terminal: bool) -> None:
    write_song(tmp_path / "a.mid", range(60, 64))
    arguments = ["render", str(tmp_path / "a.mid"), "--output", str(tmp_path / "out")]
    arguments += ["--set", f"checkpoint={data / 'checkpoints' / 'tiny'}"]
    ours, theirs = pty.openpty() if terminal else os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments], cwd=ROOT, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    text = b""
    with contextlib.suppress(OSError):  # the error of a closed terminal
        while piece := os.read(ours, 65536):
            text += piece
    os.close(ours)
    assert child.wait() == 0
    shown = text.decode()
    assert "1 of 1 songs rendered: 12 notes" in shown
    assert ("Songs" in shown) == terminal
    assert ("\x1b[" in shown) == terminal
