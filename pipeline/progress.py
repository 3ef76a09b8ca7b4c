"""The progress of a local run: a live display on a terminal, a log line every 15 seconds elsewhere.

Both show the run's counters, which Dataflow's console shows for remote runs: the counters of finished slices and those
of slices that are being rendered.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from gansynth.figures.axes import clock

SECONDS_BETWEEN_LINES = 15.0


@dataclass(frozen=True)
class State:
    """The progress of a run at one moment.

    Attributes:
        songs: number of songs of the run.
        read, kept, written, failed: number of songs read, kept from an earlier run, written, and failed. Songs that
            are kept or cannot be read count as read.
        notes: number of notes rendered.
        known_notes: number of notes of the songs read so far.
        elapsed, rendering: seconds since the run began, and since its first song was read.
    """

    songs: int
    read: int
    kept: int
    written: int
    failed: int
    notes: int
    known_notes: int
    elapsed: float
    rendering: float

    @property
    def done(self) -> int:
        """Number of songs that are kept, written or failed."""
        return self.kept + self.written + self.failed

    @property
    def expected_notes(self) -> float:
        """Expected number of notes of the run, assuming that unread songs are like the read ones on average."""
        return self.known_notes * max(1.0, self.songs / self.read) if self.read else 0.0

    @property
    def rate(self) -> float:
        """Notes rendered per second."""
        return self.notes / self.rendering if self.rendering > 0 else 0.0

    @property
    def left(self) -> float | None:
        """Expected seconds until all notes are rendered; None in the first two seconds of rendering."""
        if not self.notes or self.rendering < 2:
            return None
        return max(0.0, self.expected_notes - self.notes) / self.rate

    @property
    def facts(self) -> str:
        """Counts and times as one line of text."""
        facts = [f"{self.read:,} read", f"{self.written:,} written", f"{self.failed:,} failed"]
        if self.kept:
            facts.insert(1, f"{self.kept:,} kept from an earlier run")
        facts.append(f"{clock(self.elapsed)} elapsed")
        left = self.left
        if self.done < self.songs and left is not None:
            facts.append(f"about {clock(left)} left" if left >= 1 else "all notes rendered")
        return ", ".join(facts)

    def line(self) -> str:
        """Formats the state as a log line."""
        notes = f"{self.notes:,} notes at {self.rate:,.0f}/s"
        return f"{self.done:,} of {self.songs:,} songs: {notes}; {self.facts}"

    def table(self) -> Table:
        """Formats the state as two progress bars and a line of text."""
        expected = max(1.0, self.expected_notes)
        about = "about " if self.read < self.songs else ""
        notes = f"{self.notes:,} of {about}{expected:,.0f}, {self.rate:,.0f}/s" if self.known_notes else ""
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        table.add_column(no_wrap=True, min_width=30)
        table.add_row("Songs", ProgressBar(max(1, self.songs), self.done), f"{self.done:,} of {self.songs:,}")
        table.add_row("Notes", ProgressBar(expected, min(self.notes, expected)), notes)
        outer = Table.grid(expand=True)
        outer.add_row(table)
        outer.add_row(f"[dim]{self.facts}[/dim]")
        return outer


class Progress:
    """A context manager that shows the progress of a run.

    Args:
        songs: number of songs of the run.
        quiet: if true, nothing is shown.
        console: destination; standard error if None.
        seconds: seconds between two log lines, if the console is not a terminal.
        now: clock, in seconds.
    """

    def __init__(
        self,
        songs: int,
        quiet: bool = False,
        console: Console | None = None,
        seconds: float = SECONDS_BETWEEN_LINES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._songs = songs
        self._quiet = quiet
        self._console = console or Console(stderr=True, highlight=False)
        self._seconds = seconds
        self._now = now
        self._finished: Counter[str] = Counter()
        self._in_flight: Callable[[], Counter[str]] = Counter
        self._began = now()
        self._loaded: float | None = None
        self._live: Live | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._quiet:
            return self
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console, get_renderable=lambda: self.state().table(), refresh_per_second=4, transient=True
            )
            self._live.__enter__()
        else:
            self._thread = threading.Thread(target=self._write_lines, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        if self._thread is not None:
            self._thread.join()

    def watch(self, in_flight: Callable[[], Counter[str]]) -> None:
        """Sets the function that returns the counters of slices that are being rendered."""
        self._in_flight = in_flight

    def add(self, finished: Counter[str]) -> None:
        """Adds the counters of a finished slice."""
        self._finished += finished

    def state(self) -> State:
        """Returns the current progress."""
        total = self._finished + self._in_flight()
        now = self._now()
        if self._loaded is None and total["songs_read"]:
            self._loaded = now
        return State(
            songs=self._songs,
            read=total["songs_read"] + total["failed_read"] + total["songs_resumed"],
            kept=total["songs_resumed"],
            written=total["songs_written"],
            failed=max(total["songs_failed"], total["failed_read"] + total["failed_expand"]),
            notes=total["synthesis_notes"],
            known_notes=total["notes_played"],
            elapsed=now - self._began,
            rendering=now - (self._began if self._loaded is None else self._loaded),
        )

    def _write_lines(self) -> None:
        due = self._began + self._seconds
        while not self._over.wait(min(1.0, self._seconds)):
            state = self.state()
            if self._now() >= due:
                self._console.print(state.line(), soft_wrap=True, markup=False)
                due += self._seconds
