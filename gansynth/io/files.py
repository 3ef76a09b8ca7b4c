"""Files read and written as a whole: local paths, fsspec URLs, members of archives."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from gansynth.io import archives, cache, paths, retry, streams, urls
from gansynth.io.retry import with_retries

_MAX_LINE = 16 << 20
_COMPOSED = 32  # objects that Google Cloud Storage composes in one request


def read_bytes(url: str, limit: int | None = None, size: int = 0, **options: Any) -> bytes:
    """Reads the content of `url`, or its first `limit` bytes.

    Args:
        url: a path, an fsspec URL, or the URL of a member of an archive, see archives.Member.
        limit: highest number of bytes to read; None for all, which for a member is at most archives.MAX_MEMBER.
        size: expected number of bytes, for the deadline; only needed if there are many.
        **options: settings of the file system.

    Raises:
        OSError: the file cannot be read, as the file system reports it; FileNotFoundError if it is missing,
            retry.StalledError if no progress is made.
        archives.ArchiveError: the member of an archive cannot be read.
    """
    member = archives.Member.parse(url)
    if member is not None:
        base = cache.unpacked(member.archive) if member.is_compressed else member.archive
        return member.content(functools.partial(_read_range, base, **options), limit)

    def read() -> bytes:
        if limit is None and not urls.is_local(url) and not urls.is_http(url):
            fs, path = urls.filesystem(url, **options)
            return retry.within_deadline(fs.cat_file, path, size=size)
        if urls.is_local(url):
            most = retry.PIECE if limit is None else limit
            first = retry.within_deadline(_read_local, urls.local_path(url), most, size=limit or 0)
            if limit is not None or len(first) < most:
                return first
        with streams.opened(url, **options) as f:
            if limit is not None:
                return f.read(limit)
            return b"".join(iter(lambda: f.read(retry.PIECE), b""))

    return with_retries(read, seconds=retry.WORKER_SECONDS, size=None)


def _read_local(path: str, limit: int) -> bytes:
    with streams.open_regular(path) as f:
        return f.read(limit)


def read_lines(url: str) -> Iterator[str]:
    """Yields the lines of a text file (UTF-8) as they are read, without line ends.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line has more than 16 MiB.
    """
    with with_retries(streams.opened, url, size=None) as f:
        while line := f.readline(_MAX_LINE + 1):
            if len(line) > _MAX_LINE:
                raise ValueError(f"{url}: has a line of more than {_MAX_LINE >> 20} MiB; it is not a list")
            yield line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _read_range(url: str, start: int, end: int, **options: Any) -> bytes:
    fs, path = urls.filesystem(url, **options)
    if end <= start:
        return b""
    if urls.is_local(url):
        with streams.opened(url) as f:
            f.seek(start)
            return f.read(end - start)
    return with_retries(fs.cat_file, path, start, end, seconds=retry.WORKER_SECONDS, size=end - start)


def write_bytes(url: str, data: bytes, retry_seconds: float | None = None, **options: Any) -> None:
    """Writes `data` as the content of `url`, atomically.

    Locally a temporary file in the same folder is renamed over the target; in object stores the put of a whole object
    is atomic by itself, and is retried after transient errors.

    Args:
        url: a path or an fsspec URL.
        data: the content.
        retry_seconds: time for retries; retry.WORKER_SECONDS if None.
        **options: settings of the file system.

    Raises:
        OSError: the file cannot be written, as the file system reports it.
    """
    fs, path = urls.filesystem(url, **options)
    if not urls.is_local(url):
        seconds = retry.WORKER_SECONDS if retry_seconds is None else retry_seconds
        with_retries(fs.pipe_file, path, data, seconds=seconds, size=len(data))
        return
    retry.within_deadline(_write_local, path, data, size=len(data))


def _write_local(path: str, data: bytes) -> None:
    descriptor, temporary = _begin(path)
    try:
        with os.fdopen(descriptor, "wb") as f:
            f.write(data)
        _finish(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextlib.contextmanager
def writing(url: str) -> Iterator[IO[bytes]]:
    """Opens a temporary file on this machine that becomes the content of `url` when the block ends.

    If the block raises, `url` stays unchanged. For content that is too large for `write_bytes`.
    """
    path = urls.local_path(url) if urls.is_local(url) else None
    descriptor, temporary = retry.within_deadline(_begin, path)
    try:
        with streams.created(descriptor) as f:
            yield f
        if path is None:
            upload(temporary, url)
        else:
            retry.within_deadline(_finish, temporary, path)
    finally:
        retry.within_deadline(Path(temporary).unlink, missing_ok=True)


def _begin(path: str | None) -> tuple[int, str]:
    """Makes a temporary file beside `path`, or in the system's folder; returns its descriptor and path."""
    folder = None if path is None else os.path.dirname(path)
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    return tempfile.mkstemp(dir=folder, prefix=paths.UNFINISHED)


def _finish(temporary: str, path: str) -> None:
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)


def sweep(folder: str) -> None:
    """Removes the temporary files that killed processes have left below a local folder."""
    if urls.is_local(folder):
        for path in Path(urls.local_path(folder)).rglob(f"{paths.UNFINISHED}*"):
            if not path.is_dir():
                path.unlink(missing_ok=True)


def upload(path: str | Path, url: str) -> None:
    """Copies a local file to `url`, atomically."""
    if urls.is_local(url):
        write_bytes(url, Path(path).read_bytes())
        return
    fs, target = urls.filesystem(url)
    with_retries(fs.put_file, str(path), target, seconds=retry.WORKER_SECONDS, size=os.path.getsize(path))


def join(parts: Sequence[str], url: str) -> None:
    """Joins files to the content of `url`, atomically; on Google Cloud Storage the service does so (compose).

    Args:
        parts: URLs of the files, in order; on Google Cloud Storage in the bucket of `url`.
        url: a path or an fsspec URL.
    """
    if not parts or not url.startswith(("gs://", "gcs://")):
        with writing(url) as out:
            for part in parts:
                with with_retries(streams.opened, part, size=None) as f:
                    shutil.copyfileobj(f, out, retry.PIECE)
        return
    fs, target = urls.filesystem(url)
    joined = f"{urls.filesystem(parts[0])[1]}.joined"
    rest = [urls.filesystem(part)[1] for part in parts]
    while rest:
        now, rest = rest[:_COMPOSED], rest[_COMPOSED:]
        with_retries(fs.merge, joined if rest else target, now, seconds=retry.WORKER_SECONDS)
        rest = [joined, *rest] if rest else []


def remove(url: str) -> None:
    """Removes a file, or a folder with its content; does nothing if there is none."""
    fs, path = urls.filesystem(url)
    with contextlib.suppress(FileNotFoundError):
        with_retries(fs.rm, path, recursive=True)


def remove_file(url: str) -> None:
    """Removes a file with one request, where `remove` needs several; does nothing if there is none."""
    fs, path = urls.filesystem(url)
    with contextlib.suppress(FileNotFoundError):
        with_retries(fs.rm_file, path)


@functools.cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
