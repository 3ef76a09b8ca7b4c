"""The one place where bytes are listed, read and written: local paths, any fsspec URL (gs://, ...), archives."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import gzip
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from gansynth import archives, paths
from gansynth.config import Section

# gcsfs would ask every bucket for its layout first, and report each failure with a traceback of its own.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)

T = TypeVar("T")
PATIENCE = 30.0
"""Seconds for which what may pass is tried again."""
WORKER_PATIENCE = 300.0
"""The same where hours of work hang on it."""
FIRST_WAIT = 0.5
"""Seconds before the second try; each further wait is up to twice as long, 32 s at most."""
_PASSING_STATUS = {408, 429, 500, 502, 503, 504}
_PASSING_ERRNO = {
    errno.EAGAIN, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EINTR,
    errno.ENETRESET, errno.ENETUNREACH, errno.EPIPE, errno.ESTALE, errno.ETIMEDOUT,
}  # fmt: skip
_UNFINISHED = ".writing-"
_MAX_INFLATION = 100
_MIN_UNPACKED = 1 << 30


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


def is_passing(error: BaseException) -> bool:
    """Whether an error may be gone at the next try: too many requests, a server's fault, a broken connection."""
    if isinstance(error, (ConnectionError, TimeoutError, asyncio.TimeoutError)):
        return True
    status = getattr(error, "code", None) or getattr(error, "status", None)
    if str(status).isdecimal():
        return int(str(status)) in _PASSING_STATUS
    if isinstance(error, OSError) and error.errno in _PASSING_ERRNO:
        return True
    if type(error).__module__.split(".")[0] in ("aiohttp", "google", "gcsfs", "requests"):
        from gcsfs.retry import is_retriable

        return bool(is_retriable(error))
    return False


def reason(error: Exception, url: str) -> str:
    """What went wrong at `url` in one line, and what to look at where it may be a matter of rights."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}".removesuffix(": ")
    other = is_passing(error) or isinstance(error, (FileNotFoundError, ValueError))
    if type(error).__name__ == "DefaultCredentialsError":
        text += "; buckets that are public need none: --set storage.credentials=anonymous"
    elif url.lstrip("@").startswith(("gs://", "gcs://")) and not other:
        text += (
            f"; storage.credentials is {_config.credentials}: the account needs storage.objects.list and .get to read "
            "(role Storage Object Viewer), .create and .delete too to write (role Storage Object User)"
        )
    return text


def persist(call: Callable[..., T], *args: Any, patience: float | None = None, **kwargs: Any) -> T:
    """Calls `call` again while what it raises is passing, with waits that grow, for `patience` seconds."""
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    again = Retrying(
        retry=retry_if_exception(is_passing),
        wait=wait_random_exponential(multiplier=FIRST_WAIT, max=32),
        stop=stop_after_delay(PATIENCE if patience is None else patience),
        reraise=True,
    )
    return again(call, *args, **kwargs)


def join(base: str, *parts: str) -> str:
    """`base` and `parts` joined by single slashes."""
    return "/".join([base.rstrip("/") or "/", *parts]).replace("//", "/", 1 if base == "/" else 0)


# Reading and writing


def read_bytes(url: str, limit: int | None = None, **options: Any) -> bytes:
    """The whole content of `url`, or its first `limit` bytes.

    Args:
        url: a path, a URL, or what `find` calls a member of an archive.
        limit: how many bytes at most; without one, a member of an archive may have archives.MAX_MEMBER.
        **options: settings of the file system.

    Raises:
        FileNotFoundError, OSError: as the file system reports them.
    """
    member = archives.Member.parse(url)
    if member is not None:
        base = _unpacked(member.archive) if member.is_compressed else member.archive
        return member.content(functools.partial(_read_range, base, **options), limit)

    def read() -> bytes:
        fs, path = filesystem(url, **options)
        if limit is None:
            return fs.cat_file(path)
        with fs.open(path, "rb") as f:
            return f.read(limit)

    return persist(read, patience=WORKER_PATIENCE)


def read_lines(url: str) -> Iterator[str]:
    """The lines of a text file (UTF-8), as they are read."""
    fs, path = filesystem(url)
    with persist(fs.open, path, "rb") as f:
        for line in f:
            yield line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _read_range(url: str, start: int, end: int, **options: Any) -> bytes:
    fs, path = filesystem(url, **options)
    return persist(fs.cat_file, path, start, end, patience=WORKER_PATIENCE) if end > start else b""


def write_bytes(url: str, data: bytes, patience: float | None = None, **options: Any) -> None:
    """Writes `data` as the whole content of `url`, or nothing at all.

    Locally a temporary file in the same folder is renamed over the target; elsewhere the object store's
    whole-object put is atomic by itself, and tried again while it fails for what may pass.
    """
    fs, path = filesystem(url, **options)
    if not is_local(url):
        persist(fs.pipe_file, path, data, patience=WORKER_PATIENCE if patience is None else patience)
        return
    with writing(url) as f:
        f.write(data)


@contextlib.contextmanager
def writing(url: str) -> Iterator[IO[bytes]]:
    """A file to be written, on this machine's disk, that becomes the whole content of `url` when the block ends.

    Where the block raises, `url` stays as it was. As in `write_bytes`, but for more than memory should hold.
    """
    path = filesystem(url)[1]
    folder = os.path.dirname(path) if is_local(url) else None
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=_UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as f:
            yield f
        if folder is None:
            upload(temporary, url)
        else:
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def sweep(folder: str) -> None:
    """Removes what processes that were killed have left half written below a local folder."""
    if is_local(folder):
        for path in Path(local_path(folder)).rglob(f"{_UNFINISHED}*"):
            path.unlink(missing_ok=True)


def upload(path: str | Path, url: str) -> None:
    """Copies a local file to `url`, whole or not at all."""
    if is_local(url):
        write_bytes(url, Path(path).read_bytes())
        return
    fs, target = filesystem(url)
    persist(fs.put_file, str(path), target, patience=WORKER_PATIENCE)


def remove(url: str) -> None:
    """Removes a file, or a folder with all that is in it; nothing happens where there is none."""
    fs, path = filesystem(url)
    with contextlib.suppress(FileNotFoundError):
        persist(fs.rm, path, recursive=True)


@functools.cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Listing


def kind(url: str, **options: Any) -> Literal["file", "folder"] | None:
    """What is at `url`; None where there is nothing.

    Raises:
        OSError: it cannot be told, for want of rights say.
    """
    fs, path = filesystem(url, **options)
    try:
        found = persist(fs.info, path)["type"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise
    return "folder" if found == "directory" else "file" if found == "file" else None


def size(url: str, **options: Any) -> int:
    """Bytes of a file."""
    fs, path = filesystem(url, **options)
    return int(persist(fs.size, path) or 0)


def names(folder: str, **options: Any) -> list[str]:
    """The names of what is in a folder."""
    fs, path = filesystem(folder, **options)
    fs.invalidate_cache()
    return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in persist(fs.ls, path, detail=False))


def find(folder: str, start: str = "", depth: int | None = None) -> Iterator[tuple[str, int]]:
    """Every file below a folder, in the order of their paths, as they are listed: a page or a folder at a time.

    Args:
        folder: a path or URL.
        start: what the paths below it start with, to list less.
        depth: how many folders deep; 1 is the folder itself.

    Yields:
        URL (a path where local) and size in bytes.
    """
    fs, path = filesystem(folder)
    if is_local(folder):
        yield from _walk(fs, path, start, depth)
        return
    fs.invalidate_cache()
    is_google = folder.startswith(("gs://", "gcs://"))
    for name, length in (_pages if is_google else _walk)(fs, path, start, depth):
        yield fs.unstrip_protocol(name), length


def _pages(fs: Any, path: str, start: str, depth: int | None) -> Iterator[tuple[str, int]]:
    """Google's own listing: gcsfs would hold all of it, with two kilobytes for each object."""
    bucket, _, prefix = path.rstrip("/").partition("/")
    query: dict[str, Any] = {
        "prefix": f"{prefix}/{start}" if prefix else start,
        "fields": "nextPageToken,items(name,size)",
    }
    if depth == 1:
        query["delimiter"] = "/"
    while True:
        page = persist(fs.call, "GET", "b/{}/o", bucket, json_out=True, **query)
        for item in page.get("items", ()):
            if not item["name"].endswith("/"):
                yield f"{bucket}/{item['name']}", int(item["size"])
        if not page.get("nextPageToken"):
            return
        query["pageToken"] = page["nextPageToken"]


def _walk(fs: Any, path: str, start: str, depth: int | None) -> Iterator[tuple[str, int]]:
    folders: list[Iterator[dict[str, Any]]] = [_entries(fs, path)]
    while folders:
        entry = next(folders[-1], None)
        if entry is None:
            folders.pop()
            continue
        name, is_folder = entry["name"].rstrip("/"), entry["type"] == "directory"
        below = name[len(path) :].lstrip("/")
        if not (below.startswith(start) or (is_folder and start.startswith(below + "/"))):
            continue
        if is_folder:
            if depth is None or len(folders) < depth:
                folders.append(_entries(fs, name))
        elif entry["type"] == "file" or (entry.get("islink") and persist(fs.isfile, name)):
            yield name, int(entry.get("size") or 0)


def _entries(fs: Any, folder: str) -> Iterator[dict[str, Any]]:
    def order(entry: dict[str, Any]) -> str:
        return entry["name"].rstrip("/") + ("/" if entry["type"] == "directory" else "")

    try:
        if isinstance(fs, LocalFileSystem):
            return _local_entries(folder)
        return iter(sorted(persist(fs.ls, folder, detail=True), key=order))
    except FileNotFoundError:
        return iter(())


def _local_entries(folder: str) -> Iterator[dict[str, Any]]:
    """The folders and files in a folder that may have a hundred thousand: names alone are held. Links lead to files."""
    with os.scandir(folder) as found:
        names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found)

    def described() -> Iterator[dict[str, Any]]:
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith("/"):
                yield {"name": path, "type": "directory"}
                continue
            try:
                status = os.stat(path)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # a link to nothing, or gone since
                    continue
                raise
            if stat.S_ISREG(status.st_mode):
                yield {"name": path, "type": "file", "size": status.st_size}

    return described()


def match(pattern: str) -> Iterator[tuple[str, int]]:
    """Every file that a glob pattern names, as `find` gives them; `**` stands for any number of folders.

    Raises:
        ValueError: `**` is only a part of a name, or the name of a bucket is not given in full.
    """
    from fsspec.utils import glob_translate

    fs, path = filesystem(pattern)
    path = re.sub(r"(^|/)\*\*(?=[^/*])", r"\1**/*", path)  # **.mid, as gcloud has it
    fits = re.compile(glob_translate(path)).match
    literal = re.split(r"[*?\[]", path, maxsplit=1)[0]
    root, slash, start = literal.rpartition("/")
    if not slash and not is_local(pattern):
        raise ValueError("the name of a bucket must be given in full")
    depth = None if "**" in path else path[len(root) :].count("/")
    for url, length in find((root or "/") if is_local(pattern) else fs.unstrip_protocol(root), start, depth):
        if fits(url if is_local(url) else fs._strip_protocol(url)):
            yield url, length


def members(url: str) -> Iterator[tuple[str, str, int]]:
    """Every MIDI file in an archive, as it is read.

    Yields:
        Its name, the URL that `read_bytes` takes, and its size in bytes.

    Raises:
        archives.ArchiveError: it cannot be read.
        OSError: as the file system reports it.
    """
    fs, path = filesystem(_unpacked(url) if archives.is_compressed(url) else url)
    with fs.open(path, "rb") as f:
        for member, length in archives.members(f, url):
            if paths.has_midi_suffix(member.name) and not member.name.rpartition("/")[2].startswith("._"):
                yield member.name, str(member), length


@functools.lru_cache(maxsize=16)
def _unpacked(url: str) -> str:
    """A compressed tar, unpacked into a plain one on this machine: once, whichever process is first."""
    import fcntl

    fs, path = filesystem(url)
    packed = persist(fs.size, path)
    key = hashlib.sha256(f"{url} {packed} {persist(fs.ukey, path)}".encode("utf-8", "surrogateescape")).hexdigest()
    folder = unpacked_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{key[:32]}.tar"
    with (folder / f"{key[:32]}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_file():
            persist(_unpack, fs, path, target, max(_MIN_UNPACKED, _MAX_INFLATION * int(packed or 0)), url)
    return str(target)


def _unpack(fs: Any, path: str, target: Path, limit: int, url: str) -> None:
    unfinished = target.with_suffix(".unfinished")
    try:
        with fs.open(path, "rb") as packed, gzip.open(packed) as plain, unfinished.open("wb") as f:
            while piece := plain.read(1 << 20):
                if f.tell() + len(piece) > limit:
                    raise archives.ArchiveError(f"{url}: unpacks to more than {limit >> 20} MiB; refused as a bomb.")
                f.write(piece)
        os.replace(unfinished, target)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise archives.ArchiveError(f"{url}: cannot be unpacked ({error}).") from None
    finally:
        unfinished.unlink(missing_ok=True)


def unpacked_folder() -> Path:
    """Where compressed archives lie unpacked: $XDG_CACHE_HOME/gansynth-beam/archives, or below ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gansynth-beam" / "archives"


def forget_unpacked() -> None:
    """Removes what compressed archives were unpacked into."""
    _unpacked.cache_clear()
    shutil.rmtree(unpacked_folder(), ignore_errors=True)
