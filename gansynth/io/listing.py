"""Listings of files: at a URL, below a folder, by a pattern or in an archive, as they are found."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import Any, Literal

from fsspec.implementations.local import LocalFileSystem

from gansynth.io import archives, cache, paths, streams, urls
from gansynth.io.retry import with_retries, within_deadline

_AT_ONCE = 1000  # local files that are examined within one deadline


def kind(url: str, **options: Any) -> Literal["file", "folder"] | None:
    """Returns "file", "folder", or None if there is nothing at `url`.

    Raises:
        OSError: access failed, for example for lack of permission.
    """
    fs, path = urls.filesystem(url, **options)
    try:
        found = with_retries(fs.info, path)["type"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise
    return "folder" if found == "directory" else "file" if found == "file" else None


def size(url: str, **options: Any) -> int:
    """Returns the size of a file in bytes."""
    fs, path = urls.filesystem(url, **options)
    return int(with_retries(fs.size, path) or 0)


def names(folder: str, **options: Any) -> list[str]:
    """Lists the names in a folder, sorted."""
    fs, path = urls.filesystem(folder, **options)
    fs.invalidate_cache()
    return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in with_retries(fs.ls, path, detail=False))


OnError = Callable[[str, Exception], None]
"""Function that takes the URL of a folder that cannot be listed, and the reason."""


def find(
    folder: str, start: str = "", depth: int | None = None, on_error: OnError | None = None
) -> Iterator[tuple[str, int]]:
    """Lists the files below a folder in the order of their paths, a page or a folder at a time.

    Args:
        folder: a path or URL.
        start: prefix of the paths below the folder, to list fewer.
        depth: number of folder levels; 1 is the folder itself, None has no limit.
        on_error: called for each subfolder that cannot be listed, which is then left out; None to raise the error.

    Yields:
        URL (a path if local) and size in bytes.

    Raises:
        Exception: the folder cannot be listed, as the file system reports it.
    """
    fs, path = urls.filesystem(folder)
    if urls.is_local(folder):
        yield from _walk(fs, path, start, depth, on_error)
        return
    fs.invalidate_cache()
    is_google = folder.startswith(("gs://", "gcs://"))
    for name, length in _pages(fs, path, start, depth) if is_google else _walk(fs, path, start, depth, on_error):
        yield fs.unstrip_protocol(name), length


def _pages(fs: Any, path: str, start: str, depth: int | None) -> Iterator[tuple[str, int]]:
    """Lists objects with Google's API: gcsfs would keep the whole listing, two kilobytes for each object."""
    bucket, _, prefix = path.rstrip("/").partition("/")
    query: dict[str, Any] = {
        "prefix": f"{prefix}/{start}" if prefix else start,
        "fields": "nextPageToken,items(name,size)",
    }
    if depth == 1:
        query["delimiter"] = "/"
    while True:
        page = with_retries(fs.call, "GET", "b/{}/o", bucket, json_out=True, **query)
        for item in page.get("items", ()):
            if not item["name"].endswith("/"):
                yield f"{bucket}/{item['name']}", int(item["size"])
        if not page.get("nextPageToken"):
            return
        query["pageToken"] = page["nextPageToken"]


def _walk(fs: Any, path: str, start: str, depth: int | None, on_error: OnError | None) -> Iterator[tuple[str, int]]:
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
                try:
                    folders.append(_entries(fs, name))
                except Exception as error:  # each file system has its own exception types
                    if on_error is None:
                        raise
                    on_error(name, error)
        elif entry["type"] == "file" or (entry.get("islink") and with_retries(fs.isfile, name)):
            yield name, int(entry.get("size") or 0)


def _entries(fs: Any, folder: str) -> Iterator[dict[str, Any]]:
    def order(entry: dict[str, Any]) -> str:
        return entry["name"].rstrip("/") + ("/" if entry["type"] == "directory" else "")

    try:
        if isinstance(fs, LocalFileSystem):
            return _local_entries(folder)
        return iter(sorted(with_retries(fs.ls, folder, detail=True), key=order))
    except FileNotFoundError:
        return iter(())


def _local_entries(folder: str) -> Iterator[dict[str, Any]]:
    """Lists the folders and files in a folder; keeps only names, as there may be 100,000. Follows links to files.

    What cannot be examined is listed as a file, so that an error is reported when it is read.
    """

    def names_in() -> list[str]:
        with os.scandir(folder) as found:
            return sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in found)

    names = within_deadline(names_in)

    def described() -> Iterator[dict[str, Any]]:
        for first in range(0, len(names), _AT_ONCE):
            yield from within_deadline(_described, folder, names[first : first + _AT_ONCE])

    return described()


def _described(folder: str, names: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in names:
        path = os.path.join(folder, name)
        if name.endswith("/"):
            found.append({"name": path, "type": "directory"})
            continue
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # a dangling link, or removed since
                found.append({"name": path, "type": "file"})
            continue
        if not stat.S_ISDIR(status.st_mode):
            found.append({"name": path, "type": "file", "size": status.st_size})
    return found


def match(pattern: str, on_error: OnError | None = None) -> Iterator[tuple[str, int]]:
    """Lists the files that match a glob pattern; `**` stands for any number of folders.

    Args:
        pattern: a path or URL with glob characters.
        on_error: see `find`.

    Yields:
        URL (a path if local) and size in bytes.

    Raises:
        ValueError: `**` is only a part of a name, or the name of a bucket contains a wildcard.
    """
    from fsspec.utils import glob_translate

    fs, path = urls.filesystem(pattern)
    path = re.sub(r"(^|/)\*\*(?=[^/*])", r"\1**/*", path)  # **.mid, as in gcloud
    fits = re.compile(glob_translate(path)).match
    literal = re.split(r"[*?\[]", path, maxsplit=1)[0]
    root, slash, start = literal.rpartition("/")
    if not slash and not urls.is_local(pattern):
        raise ValueError("the name of a bucket must be given in full, without wildcards")
    depth = None if "**" in path else path[len(root) :].count("/")
    folder = (root or "/") if urls.is_local(pattern) else fs.unstrip_protocol(root)
    for url, length in find(folder, start, depth, on_error):
        if fits(url if urls.is_local(url) else fs._strip_protocol(url)):
            yield url, length


def members(url: str, every: bool = False) -> Iterator[tuple[str, str, int]]:
    """Lists the MIDI files in an archive as it is read.

    Args:
        url: path or URL of the archive.
        every: if true, files of other kinds are listed too.

    Yields:
        Name, URL for files.read_bytes, and unpacked size in bytes.

    Raises:
        archives.ArchiveError: the archive is damaged.
        OSError: the archive cannot be read, as the file system reports it.
    """
    plain = cache.unpacked(url) if archives.is_compressed(url) else url
    with with_retries(streams.opened, plain, seekable=True, size=None) as f:
        for member, length in archives.members(f, url):
            is_midi = paths.has_midi_suffix(member.name) and not member.name.rpartition("/")[2].startswith("._")
            if every or is_midi:
                yield member.name, str(member), length
