"""Counters of a run: Beam's metrics, which runners show, and at once this process's own, for live progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.metrics import Metrics

from transforms.worker_context import CONTEXT

NAMESPACE = "gansynth"


def count(name: str, number: int = 1) -> None:
    """Adds to a counter; to be called while Beam runs a step, or Beam loses the count."""
    with CONTEXT.lock:
        CONTEXT.counted[name] += number
    Metrics.counter(NAMESPACE, name).inc(number)


@contextmanager
def counting(prefix: str, tally: object) -> Iterator[None]:
    """Counts the attributes of `tally`, all whole numbers, when the block ends; `counted` sees them grow until then."""
    with CONTEXT.lock:
        CONTEXT.growing[id(tally)] = (prefix, tally)
    try:
        yield
    finally:
        with CONTEXT.lock:
            del CONTEXT.growing[id(tally)]
            CONTEXT.counted.update({prefix + name: number for name, number in vars(tally).items()})
        for name, number in vars(tally).items():
            Metrics.counter(NAMESPACE, prefix + name).inc(number)


def counted() -> Counter[str]:
    """Returns what this process has counted so far; Beam tells a local run's counters only when it is over."""
    with CONTEXT.lock:
        total = CONTEXT.counted.copy()
        for prefix, tally in CONTEXT.growing.values():
            total.update({prefix + name: number for name, number in vars(tally).items()})
    return total
