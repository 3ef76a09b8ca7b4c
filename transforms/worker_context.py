"""State of a worker process that outlives its bundles: counters, mixes kept in memory, the shared model's address.

The local way sets it (see pipeline.local); on a cluster it keeps its defaults.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gansynth.audio.mix import SparseMix


@dataclass
class WorkerContext:
    """The state of one process.

    Attributes:
        model_address: where the process asks a `gansynth.model.server.ModelServer` for sounds; None: it loads a model.
        publish: overwrites this process's row of shared counters; None without one.
        mixes: mixes that stay in this process, by number, while runners pass the numbers; None: mixes are pickled.
        counted: counters of finished work.
        growing: counters of work that goes on: a prefix and an object whose attributes are whole numbers.
    """

    model_address: Any = None
    publish: Callable[[Counter[str]], None] | None = None
    mixes: dict[int, SparseMix] | None = None
    counted: Counter[str] = field(default_factory=Counter)
    growing: dict[int, tuple[str, object]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def keep_mixes_in_process(self) -> Iterator[None]:
        """Lets runners pass numbers from stage to stage instead of megabytes, while the block lasts.

        Only for runners that do all their work in this process.
        """
        self.mixes = {}
        try:
            yield
        finally:
            self.mixes = None

    def keep(self, mix: SparseMix) -> tuple[int, int]:
        """Keeps a mix here; returns the process and the number by which `kept` finds it."""
        assert self.mixes is not None
        number = next(self._numbers)
        self.mixes[number] = mix
        return os.getpid(), number

    def kept(self, process: int, number: int) -> SparseMix:
        """Finds a mix that was kept here.

        Raises:
            RuntimeError: it was kept in another process, or is no longer kept.
        """
        if self.mixes is None or process != os.getpid():
            raise RuntimeError("a mix was kept in one process and asked for in another")
        return self.mixes[number]


CONTEXT = WorkerContext()
"""The state of this process."""
