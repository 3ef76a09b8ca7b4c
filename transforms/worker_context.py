"""State of a worker process that outlives its bundles: counters, mixes kept in memory, the model server's address.

Local runs set it (see pipeline.local); on a cluster it keeps its defaults.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gansynth.audio.mix import SparseMix
from transforms.elements import Source


@dataclass
class WorkerContext:
    """The state of one process.

    Attributes:
        model_address: address of the `gansynth.model.server.ModelServer` to use; None if this process loads a model.
        publish: overwrites this process's row of the shared counters; None if it has no row.
        mixes: mixes kept in this process by number, while the runner passes only the numbers; None to pickle mixes.
        sources: the songs of the slice that is rendered, for `list_files.ListHeld`.
        counted: counters of finished work.
        growing: counters of unfinished work: a prefix, and an object whose attributes are integers.
        lock: guards `counted` and `growing`.
    """

    model_address: Any = None
    publish: Callable[[Counter[str]], None] | None = None
    mixes: dict[int, SparseMix] | None = None
    sources: Sequence[Source] = ()
    counted: Counter[str] = field(default_factory=Counter)
    growing: dict[int, tuple[str, object]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def keep_mixes_in_process(self) -> Iterator[None]:
        """Makes runners pass only numbers of mixes from stage to stage during the block, instead of megabytes.

        Only for runners that execute everything in this process.
        """
        self.mixes = {}
        try:
            yield
        finally:
            self.mixes = None

    def total(self) -> Counter[str]:
        """Sums this process's counters so far; Beam gives access to a local run's counters only after its end."""
        with self.lock:
            total = self.counted.copy()
            for prefix, tally in self.growing.values():
                total.update({prefix + name: number for name, number in vars(tally).items()})
        return total

    def keep(self, mix: SparseMix) -> tuple[int, int]:
        """Keeps a mix; returns the process id and the number by which `kept` finds it."""
        assert self.mixes is not None
        number = next(self._numbers)
        self.mixes[number] = mix
        return os.getpid(), number

    def kept(self, process: int, number: int) -> SparseMix:
        """Finds a mix that was kept in this process.

        Args:
            process: id of the process that kept it.
            number: its number.

        Raises:
            RuntimeError: the mix was kept in another process, or `keep_mixes_in_process` has ended.
        """
        if self.mixes is None or process != os.getpid():
            raise RuntimeError("a mix was kept in one process and requested in another")
        return self.mixes[number]


CONTEXT = WorkerContext()
"""The state of this process."""
