"""Where the processes of a local run write how far their slices are, for the one that started them to read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

from transforms import counters

SHOWN = (
    *("songs_read", "songs_resumed", "failed_read", "failed_expand", "notes_played"),
    *("synthesis_notes", "songs_written", "songs_failed"),
)
_SECONDS = 0.5

_row: Row | None = None


class Board:
    """A row of counts for each of `processes` processes, in memory that they share."""

    def __init__(self, context: BaseContext, processes: int) -> None:
        self.cells: Any = context.RawArray("q", processes * len(SHOWN))
        self.claimed: Any = context.Value("i", 0)

    def counts(self) -> Counter[str]:
        """The sum of all rows."""
        total: Counter[str] = Counter()
        for number, count in enumerate(self.cells[:]):
            total[SHOWN[number % len(SHOWN)]] += count
        return total

    def take_row(self) -> None:
        """Gives this process a row of its own; what a pool runs in each of its processes as it starts."""
        global _row
        with self.claimed.get_lock():
            number = self.claimed.value
            self.claimed.value += 1
        _row = Row(self.cells, number * len(SHOWN))


class Row:
    """The part of a board that one process writes."""

    def __init__(self, cells: Any, first: int) -> None:
        self._cells, self._first = cells, first

    def write(self, counts: Counter[str]) -> None:
        """Shows these counts, in place of those before."""
        self._cells[self._first : self._first + len(SHOWN)] = [counts[name] for name in SHOWN]


@contextmanager
def showing() -> Iterator[None]:
    """Shows on this process's row, if it has one, what is counted while the block lasts."""
    if _row is None:
        yield
        return
    row, before, over = _row, counters.seen(), threading.Event()

    def write() -> None:
        while not over.wait(_SECONDS):
            row.write(counters.seen() - before)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
        row.write(Counter())
