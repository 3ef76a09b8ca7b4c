"""What a run counts: for Beam, whose runners show it, and at once for whoever watches this process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.metrics import Metrics

NAMESPACE = "gansynth"

_lock = threading.Lock()
_counted: Counter[str] = Counter()
_growing: dict[int, tuple[str, object]] = {}


def count(name: str, number: int = 1) -> None:
    """Adds to a counter; to be called where Beam knows which step is running."""
    with _lock:
        _counted[name] += number
    Metrics.counter(NAMESPACE, name).inc(number)


@contextmanager
def counting(prefix: str, tally: object) -> Iterator[None]:
    """Counts the attributes of `tally`, all whole numbers, when the block ends; `seen` sees them grow until then."""
    with _lock:
        _growing[id(tally)] = (prefix, tally)
    try:
        yield
    finally:
        with _lock:
            del _growing[id(tally)]
            _counted.update({prefix + name: number for name, number in vars(tally).items()})
        for name, number in vars(tally).items():
            Metrics.counter(NAMESPACE, prefix + name).inc(number)


def seen() -> Counter[str]:
    """What this process has counted so far. Beam tells a local run's counters only when it is over."""
    with _lock:
        total = _counted.copy()
        for prefix, tally in _growing.values():
            total.update({prefix + name: number for name, number in vars(tally).items()})
    return total
