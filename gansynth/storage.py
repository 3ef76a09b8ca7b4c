"""The one place where bytes are read and written: local paths and any fsspec URL (gs://, memory://, ...)."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import fsspec

# gcsfs would ask every bucket for its layout first, and report each failure with a traceback of its own.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


def is_local(url: str) -> bool:
    """Whether `url` is a path on this machine (a plain path or file://)."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """The absolute path of a local `url`; `~` and `file://` are resolved."""
    return os.path.abspath(os.path.expanduser(url.removeprefix("file://")))


@functools.lru_cache(maxsize=32)
def _filesystem(protocol: str, options: tuple[tuple[str, Any], ...]) -> fsspec.AbstractFileSystem:
    return fsspec.filesystem(protocol, **dict(options))


def filesystem(url: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system that holds `url`, and the path of `url` inside it.

    Args:
        url: a local path or an fsspec URL.
        **options: credentials and other settings of the file system, e.g. token="anon".
    """
    if is_local(url):
        return _filesystem("file", ()), local_path(url)
    fs = _filesystem(url.split("://", 1)[0], tuple(sorted(options.items())))
    return fs, fs._strip_protocol(url)


def join(base: str, *parts: str) -> str:
    """`base` and `parts` joined by single slashes."""
    return "/".join([base.rstrip("/") or "/", *parts]).replace("//", "/", 1 if base == "/" else 0)


def read_bytes(url: str, limit: int | None = None, **options: Any) -> bytes:
    """The whole content of `url`, or its first `limit` bytes.

    Raises:
        FileNotFoundError, OSError: as the file system reports them.
    """
    fs, path = filesystem(url, **options)
    with fs.open(path, "rb") as f:
        return f.read() if limit is None else f.read(limit)


def write_bytes(url: str, data: bytes, **options: Any) -> None:
    """Writes `data` as the whole content of `url`, or nothing at all.

    Locally a temporary file in the same folder is renamed over the target; elsewhere the object store's
    whole-object put is atomic by itself.
    """
    fs, path = filesystem(url, **options)
    if not is_local(url):
        fs.pipe_file(path, data)
        return
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@functools.cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
