"""TensorFlow, imported in half the time and without its startup messages.

Use as `from gansynth.model._tensorflow import tf`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Redirects the stderr file descriptor, which TensorFlow's C++ code writes to before its log level is set."""
    sys.stderr.flush()
    kept = os.dup(2)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silent)


@contextlib.contextmanager
def _without_keras() -> Iterator[None]:
    """Keeps TensorFlow from importing Keras at startup (5 s, 150 MB); `tf.keras` still loads on first use."""
    name = "keras.src.optimizers"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = types.ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]


with _quiet(), _without_keras():
    import tensorflow as tf

    tf.config.list_physical_devices()  # the search for a GPU reports to stderr too

__all__ = ["tf"]
