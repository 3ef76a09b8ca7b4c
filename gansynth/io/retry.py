"""Deadlines of storage calls, and retries after transient errors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
SECONDS = 30.0
"""Seconds for which a call is retried by default."""
WORKER_SECONDS = 300.0
"""Seconds for which a call is retried in workers, where hours of work depend on it."""
FIRST_WAIT = 0.5
"""Seconds before the second try; each further wait is up to twice as long, 32 s at most."""
PIECE = 8 << 20
"""Bytes that are read or written at once; the deadline of a larger transfer grows with the number of these."""
timeout = 120.0
"""Seconds without progress after which a call fails: storage.timeout, see gansynth.io.urls.configure."""
forget_filesystems: list[Callable[[], None]] = []
"""Functions that make callers open file systems again, on a new event loop; modules that keep some add theirs."""
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_TRANSIENT_ERRNO = {
    errno.EAGAIN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EINTR,
    errno.ENETRESET, errno.ENETUNREACH, errno.EPIPE, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


class StalledError(OSError):
    """A storage call that has made no progress within the deadline; it is not retried."""


def is_transient(error: BaseException) -> bool:
    """Returns whether an error may disappear on retry: too many requests, a server error, a broken connection."""
    if isinstance(error, (StalledError, ValueError)):  # such as aiohttp's InvalidURL
        return False
    if isinstance(error, (ConnectionError, TimeoutError, asyncio.TimeoutError)):
        return True
    status = getattr(error, "code", None) or getattr(error, "status", None)
    if str(status).isdecimal():
        return int(str(status)) in _TRANSIENT_STATUS
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO:
        return True
    if type(error).__module__.split(".")[0] in ("aiohttp", "google", "gcsfs", "requests"):
        from gcsfs.retry import is_retriable

        return bool(is_retriable(error))
    return False


def within_deadline(
    call: Callable[..., T], *args: Any, size: int = 0, deadline: float | None = None, **kwargs: Any
) -> T:
    """Calls `call(*args, **kwargs)` in a thread of its own, and abandons it if it takes too long.

    Args:
        call: function to call.
        *args: its arguments.
        size: number of bytes that it transfers; each PIECE has the time of the deadline.
        deadline: time in seconds; `timeout` if None.
        **kwargs: its keyword arguments.

    Returns:
        The result of the call.

    Raises:
        StalledError: the time is over.
        Exception: the error of the call.
    """
    seconds = (timeout if deadline is None else deadline) * (1 + size // PIECE)
    outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            outcome.put((call(*args, **kwargs), None))
        except BaseException as error:
            outcome.put((None, error))

    # Not a pool: at its end the process would wait for the calls that never return.
    threading.Thread(target=work, name="storage", daemon=True).start()
    try:
        result, error = outcome.get(timeout=seconds)
    except queue.Empty:
        _abandon_event_loop()
        setting = " (storage.timeout)" if deadline is None else ""
        message = f"the storage has not answered for {seconds:g} s{setting}"
        raise StalledError(message) from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _abandon_event_loop() -> None:
    """Gives later calls a new event loop if fsspec's is stuck, as after a deadlock inside gcsfs."""
    import fsspec.asyn

    loop = fsspec.asyn.loop[0]
    if loop is not None:
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(1)
            return
        fsspec.asyn.reset_lock()
        for forget in forget_filesystems:
            forget()


def with_retries(
    call: Callable[..., T], *args: Any, seconds: float | None = None, size: int | None = 0, **kwargs: Any
) -> T:
    """Calls `call(*args, **kwargs)` within the deadline, and retries it after transient errors with growing waits.

    Args:
        call: function to call.
        *args: its arguments.
        seconds: time for retries; SECONDS if None.
        size: see `within_deadline`; None if `call` observes the deadline itself.
        **kwargs: its keyword arguments.

    Returns:
        The result of the call.

    Raises:
        StalledError: the call has not ended in time.
        Exception: the last error of the call, if it is not transient or the time is over.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    again = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=FIRST_WAIT, max=32),
        stop=stop_after_delay(SECONDS if seconds is None else seconds),
        reraise=True,
    )
    if size is None:
        return again(call, *args, **kwargs)
    return again(within_deadline, call, *args, size=size, **kwargs)
