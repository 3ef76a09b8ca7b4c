"""Counters of a run, kept as Beam metrics, which runners show, and per process, for the live progress display."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.metrics import Metrics

from transforms.worker_context import CONTEXT

NAMESPACE = "gansynth"


def count(name: str, number: int = 1) -> None:
    """Adds to a counter. Must be called while Beam runs a step; otherwise Beam loses the count.

    Args:
        name: name of the counter.
        number: number to add.
    """
    with CONTEXT.lock:
        CONTEXT.counted[name] += number
    Metrics.counter(NAMESPACE, name).inc(number)


@contextmanager
def counting(prefix: str, tally: object) -> Iterator[None]:
    """Adds the attributes of an object to counters when the block ends; `CONTEXT.total` includes them during the block.

    Args:
        prefix: prefix of the counters' names.
        tally: an object whose attributes are all integers.
    """
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


def counters_of(result: Any) -> Counter[str]:
    """Collects this project's counters of a finished run, by name.

    Args:
        result: Beam's result object.
    """
    total: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == NAMESPACE:
            total[counter.key.metric.name] += counter.result or 0
    return total
