"""Paths and fsspec URLs: their file systems, credentials and error messages."""

from __future__ import annotations

import functools
import logging
import os
import re
from typing import Any

import fsspec
from pydantic import Field

from gansynth.config import Section
from gansynth.io import retry

# gcsfs would ask every bucket for its layout first, and report each failure with a traceback of its own.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class StorageConfig(Section):
    """Access to object stores and other storage."""

    credentials: str = "default"
    """default (credentials of the environment), anonymous, or the path of a service account's JSON key."""
    project: str | None = None
    """Google Cloud project that is billed for requests to requester-pays buckets."""
    timeout: float = Field(120.0, gt=0, le=86_400)
    """Seconds without progress after which a read or a write fails."""


_config = StorageConfig()


def configure(config: StorageConfig) -> None:
    """Sets the credentials and the deadline that this process uses from now on."""
    global _config
    _config = config
    retry.timeout = config.timeout


def is_local(url: str) -> bool:
    """Returns whether `url` is a path on this machine (a plain path or file://)."""
    return not _SCHEME.match(url) or url.startswith("file://")


def is_http(url: str) -> bool:
    """Returns whether `url` is on a web server."""
    return url.startswith(("http://", "https://"))


def local_path(url: str) -> str:
    """Returns the absolute path of a local `url`; `~` and `file://` are resolved."""
    return os.path.abspath(os.path.expanduser(url.removeprefix("file://")))


def join(base: str, *parts: str) -> str:
    """Joins `base` and `parts` by single slashes."""
    return "/".join([base.rstrip("/") or "/", *parts]).replace("//", "/", 1 if base == "/" else 0)


def filesystem(url: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    """Returns the file system of `url`, and the path of `url` in it.

    Args:
        url: a local path or an fsspec URL.
        **options: settings of the file system that override the configured ones, e.g. token="anon".
    """
    if is_local(url):
        return _filesystem("file", ()), local_path(url)
    protocol = url.split("://", 1)[0]
    fs = _filesystem(protocol, tuple(sorted((_credentials(protocol) | options).items())))
    return fs, fs._strip_protocol(url)


@functools.lru_cache(maxsize=32)
def _filesystem(protocol: str, options: tuple[tuple[str, Any], ...]) -> fsspec.AbstractFileSystem:
    settings = dict(options) | (_http_settings() if protocol in ("http", "https") else {})
    return fsspec.filesystem(protocol, skip_instance_cache=True, **settings)


def forget_filesystems() -> None:
    """Makes later calls of `filesystem` return new file systems."""
    _filesystem.cache_clear()


retry.forget_filesystems.append(forget_filesystems)


def _http_settings() -> dict[str, Any]:
    """Returns options by which bodies are read as they are sent: unpacked unasked, 3 MB may become gigabytes."""
    import aiohttp

    # Twice the deadline, which comes first; it closes the connections of abandoned calls.
    unanswered = aiohttp.ClientTimeout(total=None, sock_connect=2 * retry.timeout, sock_read=2 * retry.timeout)
    headers = {"Accept-Encoding": "identity"}
    return {"client_kwargs": {"auto_decompress": False, "headers": headers, "timeout": unanswered}}


def _credentials(protocol: str) -> dict[str, Any]:
    """Returns the configured credentials as options of the file system of a protocol."""
    anonymous = _config.credentials == "anonymous"
    if protocol in ("gs", "gcs"):
        # Not gcsfs' own default, which without credentials continues anonymously and fails later at each object.
        names = {"anonymous": "anon", "default": "google_default"}
        token = names.get(_config.credentials) or local_path(_config.credentials)
        options = {"token": token, "use_listings_cache": False}
        return options | ({"requester_pays": _config.project} if _config.project else {})
    return {"anon": True} if anonymous and protocol in ("s3", "s3a") else {}


def reason(error: Exception, url: str) -> str:
    """Describes an error at `url` in one line, with advice if it may be a matter of permissions."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}".removesuffix(": ")
    other = retry.is_transient(error) or isinstance(error, (FileNotFoundError, ValueError))
    if type(error).__name__ == "DefaultCredentialsError":
        text += "; public buckets need no credentials: --set storage.credentials=anonymous"
    elif url.lstrip("@").startswith(("gs://", "gcs://")) and not other:
        text += (
            f"; storage.credentials is {_config.credentials}: the account needs storage.objects.list and .get to read "
            "(role Storage Object Viewer), .create and .delete too to write (role Storage Object User)"
        )
    return text
