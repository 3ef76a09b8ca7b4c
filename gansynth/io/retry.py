"""Retries of storage calls after transient errors."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
SECONDS = 30.0
"""Seconds for which a call is retried by default."""
WORKER_SECONDS = 300.0
"""Seconds for which a call is retried in workers, where hours of work depend on it."""
FIRST_WAIT = 0.5
"""Seconds before the second try; each further wait is up to twice as long, 32 s at most."""
_TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
_TRANSIENT_ERRNO = {
    errno.EAGAIN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EINTR,
    errno.ENETRESET, errno.ENETUNREACH, errno.EPIPE, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip


def is_transient(error: BaseException) -> bool:
    """Returns whether an error may disappear on retry: too many requests, a server error, a broken connection."""
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


def with_retries(call: Callable[..., T], *args: Any, seconds: float | None = None, **kwargs: Any) -> T:
    """Calls `call(*args, **kwargs)`, and retries it after transient errors with growing waits.

    Args:
        call: function to call.
        *args: its arguments.
        seconds: time for retries; SECONDS if None.
        **kwargs: its keyword arguments.

    Returns:
        The result of the call.

    Raises:
        Exception: the last error of the call, if it is not transient or the time is over.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    again = Retrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=FIRST_WAIT, max=32),
        stop=stop_after_delay(SECONDS if seconds is None else seconds),
        reraise=True,
    )
    return again(call, *args, **kwargs)
