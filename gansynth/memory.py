"""Memory of this process, as the system sees it."""

from __future__ import annotations

import ctypes
import sys


def release() -> None:
    """Returns freed memory to the system, which glibc keeps for later. Other C libraries are left alone."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
