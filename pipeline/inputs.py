"""From patterns to files: what is to be rendered, and what each song is called."""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gansynth.errors import ConfigError, GansynthError
from gansynth.io import archives, files, listing, paths, urls
from transforms.elements import Source


class _Found(NamedTuple):
    """A file: the path it has among all inputs, an archive counting as a folder; where it is read; its bytes."""

    path: str
    url: str
    size: int | None


class Listing(Collection[Source]):
    """The files of a job, listed once and kept on disk: a corpus may be larger than memory.

    Attributes:
        path: the local file that holds them, one JSON array [song_id, url, size] a line.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        handle, path = tempfile.mkstemp(prefix="gansynth-inputs-")
        self.path = Path(path)
        weakref.finalize(self, os.unlink, path)
        self._count = self._bytes = 0
        with os.fdopen(handle, "w") as f:
            for source in sources:
                f.write(json.dumps([source.song_id, source.url, source.size]) + "\n")
                self._count += 1
                self._bytes += source.size or 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, source: object) -> bool:
        return any(source == one for one in self)

    def __iter__(self) -> Iterator[Source]:
        with self.path.open() as f:
            for line in f:
                yield Source(*json.loads(line))

    @property
    def size(self) -> int:
        """Bytes of all files together, as far as they are known."""
        return self._bytes


def list_sources(patterns: Sequence[str]) -> Iterator[Source]:
    """Every file that the patterns name, each once, sorted within a pattern.

    Args:
        patterns: files, folders (all MIDI files below them, by suffix), globs, archives (.zip, .tar, .tar.gz: all
            MIDI files in them), and lists ("@FILE": a path or URL a line); local or fsspec URLs.

    Raises:
        ConfigError: a pattern matches nothing or cannot be read, or gives a file that would be called as another is;
            the message says which, and why.
    """
    root = paths.common_root(_root(pattern) for pattern in patterns)
    seen: dict[str, int] = {}
    for pattern in patterns:
        found = False
        with _explained(pattern):
            for file in _files(pattern):
                found = True
                song_id = paths.song_id(file.path, root)
                if len(patterns) > 1 or pattern.startswith("@"):  # else nothing is found twice
                    if song_id in seen:
                        if seen[song_id] != hash(file.path):
                            raise GansynthError(
                                f"{file.path} would be called {song_id}, as another input is; render them in two jobs."
                            )
                        continue
                    seen[song_id] = hash(file.path)
                yield Source(song_id, file.url, file.size)
        if not found:
            raise ConfigError(
                f"--input {pattern}: no MIDI file found; give a file, a folder, an archive, @LIST, or a pattern such "
                "as 'midi/**/*.mid' (in quotes)."
            )


@contextlib.contextmanager
def _explained(pattern: str) -> Iterator[None]:
    try:
        yield
    except GansynthError as error:
        raise ConfigError(f"--input {pattern}: {error}") from None
    except Exception as error:  # every file system has errors of its own
        raise ConfigError(f"--input {pattern}: cannot be listed ({urls.reason(error, pattern)}).") from None


def _absolute(pattern: str) -> str:
    fs, path = urls.filesystem(pattern)
    return path if urls.is_local(pattern) else str(fs.unstrip_protocol(path.rstrip("/")))


def _root(pattern: str) -> str:
    """The folder that the song ids of a pattern's files are relative to."""
    with _explained(pattern):
        if pattern.startswith("@"):
            return paths.common_root(
                url if archives.archive_kind(url) else posixpath.dirname(url) for url in _lines(pattern)
            )
        url = _absolute(pattern)
        match listing.kind(url):
            case "folder":
                return url
            case "file":
                return url if archives.archive_kind(url) else posixpath.dirname(url)
        return paths.pattern_root(url)


def _files(pattern: str) -> Iterator[_Found]:
    if pattern.startswith("@"):
        for url in _lines(pattern):
            yield from _opened(url, None)
        return
    url = _absolute(pattern)
    kind = listing.kind(url)
    if kind == "file":
        yield from _opened(url, listing.size(url))
    elif kind == "folder":
        yield from (_Found(url, url, size) for url, size in listing.find(url) if paths.has_midi_suffix(url))
    elif paths.is_pattern(url):
        for name, size in listing.match(url):
            yield from _opened(name, size)


def _opened(url: str, size: int | None) -> Iterator[_Found]:
    """The file itself, or what is in it."""
    if not archives.archive_kind(url):
        yield _Found(url, url, size)
        return
    for name, member, length in listing.members(url):
        yield _Found(f"{url}/{name}", member, length)


def _lines(pattern: str) -> Iterator[str]:
    """The entries of a list of inputs: paths (relative to the current folder) and URLs; empty lines and # are none."""
    for line in files.read_lines(pattern[1:]):
        if line.strip() and not line.startswith("#"):
            yield _absolute(line.strip())


def check_names(sources: Iterable[Source]) -> None:
    """Refuses songs whose files would overwrite each other's in a folder that takes X.wav and x.wav for the same.

    Raises:
        ConfigError: names two of them.
    """
    seen: dict[str, str] = {}
    for source in sources:
        other = seen.setdefault(paths.output_name(source.song_id).casefold(), source.song_id)
        if other != source.song_id:
            raise ConfigError(
                f"--output: takes upper and lower case for the same, so that the files of {other} and {source.song_id} "
                "would overwrite each other; choose a folder on another file system, or render them in two jobs."
            )


def check_readable(source: Source) -> None:
    """Tries to read a file of an object store: that it is listed does not mean that it may be read.

    Raises:
        ConfigError: it may not, with the reason.
    """
    if urls.is_local(source.url):
        return
    try:
        files.read_bytes(source.url, 1)
    except (FileNotFoundError, GansynthError):
        return  # of this file alone, which will be reported as failed
    except Exception as error:
        raise ConfigError(f"--input {source.url}: cannot be read ({urls.reason(error, source.url)}).") from None


def size(source: Source) -> int:
    """Bytes of an input file; 0 where the file system cannot tell."""
    if source.size is not None:
        return source.size
    try:
        return listing.size(source.url)
    except OSError:
        return 0
