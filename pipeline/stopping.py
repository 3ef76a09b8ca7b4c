"""The signals that stop a job: SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_SECONDS = 1.0
"""Seconds within which a second signal is the same one, passed on by a parent process."""


@dataclass
class Stop:
    """A request to stop.

    Attributes:
        number: number of the signal; 0 as long as there was none.
    """

    number: int = 0

    @property
    def exit_code(self) -> int:
        """Exit code of a process that a signal has stopped: 130 or 143."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def on_signals() -> Iterator[Stop]:
    """Raises KeyboardInterrupt in the main thread on either signal, and notes its number.

    Beam turns exceptions of a step into others, so that the number tells a stop from an error.
    """
    stop, first = Stop(), 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if stop.number and time.monotonic() - first < _SAME_SECONDS:
            return
        if not stop.number:
            stop.number, first = number, time.monotonic()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def blocked() -> Iterator[None]:
    """Blocks SIGINT during the block, also in processes started in it, for good: the first process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
