"""The user's cache folder, and the compressed archives that are unpacked into it."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

from gansynth.io import archives, streams, urls
from gansynth.io.retry import with_retries

_MAX_INFLATION = 100
_MIN_UNPACKED = 1 << 30


def user_folder() -> Path:
    """Returns this project's cache folder: $XDG_CACHE_HOME/gansynth-beam, or ~/.cache/gansynth-beam."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gansynth-beam"


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Lets one process at a time execute the block; `path` is a lock file, whose folder is made if there is none."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # until the file is closed
        yield


def unpacked_folder() -> Path:
    """Returns the folder that compressed archives are unpacked into."""
    return user_folder() / "archives"


@functools.lru_cache(maxsize=16)
def unpacked(url: str) -> str:
    """Unpacks a compressed tar into a plain one on this machine, once for all processes, and returns its path.

    Args:
        url: path or URL of the archive.

    Raises:
        archives.ArchiveError: the archive is damaged, or unpacks to more than 1 GiB and 100 times its size.
        OSError: the archive cannot be read, or the cache cannot be written.
    """
    fs, path = urls.filesystem(url)
    packed = with_retries(fs.size, path)
    key = hashlib.sha256(f"{url} {packed} {with_retries(fs.ukey, path)}".encode("utf-8", "surrogateescape")).hexdigest()
    target = unpacked_folder() / f"{key[:32]}.tar"
    with exclusive(target.with_suffix(".lock")):
        if not target.is_file():
            with_retries(_unpack, url, target, max(_MIN_UNPACKED, _MAX_INFLATION * int(packed or 0)), size=None)
    return str(target)


def _unpack(url: str, target: Path, limit: int) -> None:
    unfinished = target.with_suffix(".unfinished")
    try:
        with streams.opened(url) as packed, gzip.open(packed) as plain, unfinished.open("wb") as f:
            while piece := plain.read(1 << 20):
                if f.tell() + len(piece) > limit:
                    raise archives.ArchiveError(f"{url}: unpacks to more than {limit >> 20} MiB; refused as a bomb.")
                f.write(piece)
        os.replace(unfinished, target)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise archives.ArchiveError(f"{url}: cannot be unpacked ({error}).") from None
    finally:
        unfinished.unlink(missing_ok=True)


def forget_unpacked() -> None:
    """Removes all unpacked archives from the cache."""
    unpacked.cache_clear()
    shutil.rmtree(unpacked_folder(), ignore_errors=True)
