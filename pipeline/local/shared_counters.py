"""Shared counters: worker processes publish their counters in shared memory for the live progress display."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

from transforms.worker_context import CONTEXT

NAMES = (
    *("songs_read", "songs_resumed", "failed_read", "failed_expand", "notes_played"),
    *("synthesis_notes", "songs_written", "songs_failed"),
)
"""Names of the counters that the progress display needs."""
_SECONDS = 0.5


class SharedCounters:
    """A table of counters in shared memory, with one row for each process.

    Args:
        context: the multiprocessing context of the processes.
        processes: their number.
    """

    def __init__(self, context: BaseContext, processes: int) -> None:
        self.cells: Any = context.RawArray("q", processes * len(NAMES))
        self.claimed: Any = context.Value("i", 0)

    def total(self) -> Counter[str]:
        """Sums the rows of all processes."""
        total: Counter[str] = Counter()
        for number, count in enumerate(self.cells[:]):
            total[NAMES[number % len(NAMES)]] += count
        return total

    def claim_row(self) -> Callable[[Counter[str]], None]:
        """Claims a row for the calling process and returns a function that overwrites it."""
        with self.claimed.get_lock():
            first = self.claimed.value * len(NAMES)
            self.claimed.value += 1
        cells = self.cells

        def publish(counts: Counter[str]) -> None:
            cells[first : first + len(NAMES)] = [counts[name] for name in NAMES]

        return publish


@contextmanager
def publish_counters() -> Iterator[None]:
    """Publishes this process's counters during the block, if it has claimed a row."""
    publish = CONTEXT.publish
    if publish is None:
        yield
        return
    before, over = CONTEXT.total(), threading.Event()

    def write() -> None:
        while not over.wait(_SECONDS):
            publish(CONTEXT.total() - before)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
        publish(Counter())
