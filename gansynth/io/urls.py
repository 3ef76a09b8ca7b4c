"""Paths and fsspec URLs: which file system holds one, with which credentials, and what an error there means."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any

import fsspec

from gansynth.config import Section
from gansynth.io.retry import is_transient

# gcsfs would ask every bucket for its layout first, and report each failure with a traceback of its own.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)


class StorageConfig(Section):
    """As whom object stores are read and written."""

    credentials: str = "default"
    """default (those of the environment), anonymous, or the path of a service account's JSON key."""
    project: str | None = None
    """Google Cloud project that is billed for requests to buckets of which the requester pays."""


_config = StorageConfig()


def configure(config: StorageConfig) -> None:
    """Sets the credentials that this process uses from now on."""
    global _config
    _config = config


def is_local(url: str) -> bool:
    """Whether `url` is a path on this machine (a plain path or file://)."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """The absolute path of a local `url`; `~` and `file://` are resolved."""
    return os.path.abspath(os.path.expanduser(url.removeprefix("file://")))


def join(base: str, *parts: str) -> str:
    """`base` and `parts` joined by single slashes."""
    return "/".join([base.rstrip("/") or "/", *parts]).replace("//", "/", 1 if base == "/" else 0)


def filesystem(url: str, **options: Any) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system that holds `url`, and the path of `url` inside it.

    Args:
        url: a local path or an fsspec URL.
        **options: settings of the file system over the configured ones, e.g. token="anon".
    """
    if is_local(url):
        return _filesystem("file", ()), local_path(url)
    protocol = url.split("://", 1)[0]
    fs = _filesystem(protocol, tuple(sorted((_credentials(protocol) | options).items())))
    return fs, fs._strip_protocol(url)


@functools.lru_cache(maxsize=32)
def _filesystem(protocol: str, options: tuple[tuple[str, Any], ...]) -> fsspec.AbstractFileSystem:
    return fsspec.filesystem(protocol, **dict(options))


def _credentials(protocol: str) -> dict[str, Any]:
    """The configured credentials, as the file system of a protocol wants them."""
    anonymous = _config.credentials == "anonymous"
    if protocol in ("gs", "gcs"):
        # Not gcsfs' own default: where it finds no credentials it goes on as nobody, and each object is refused later.
        names = {"anonymous": "anon", "default": "google_default"}
        token = names.get(_config.credentials) or local_path(_config.credentials)
        options = {"token": token, "use_listings_cache": False}
        return options | ({"requester_pays": _config.project} if _config.project else {})
    return {"anon": True} if anonymous and protocol in ("s3", "s3a") else {}


def reason(error: Exception, url: str) -> str:
    """What went wrong at `url` in one line, and what to look at where it may be a matter of rights."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}".removesuffix(": ")
    other = is_transient(error) or isinstance(error, (FileNotFoundError, ValueError))
    if type(error).__name__ == "DefaultCredentialsError":
        text += "; buckets that are public need none: --set storage.credentials=anonymous"
    elif url.lstrip("@").startswith(("gs://", "gcs://")) and not other:
        text += (
            f"; storage.credentials is {_config.credentials}: the account needs storage.objects.list and .get to read "
            "(role Storage Object Viewer), .create and .delete too to write (role Storage Object User)"
        )
    return text
