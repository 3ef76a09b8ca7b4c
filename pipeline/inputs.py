"""Input patterns resolved to files and song ids."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import posixpath
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gansynth.errors import ConfigError, GansynthError
from gansynth.io import archives, files, listing, paths, retry, urls
from pipeline import no_input, outputs
from transforms.elements import Source

_LOG = logging.getLogger(__name__)
_SAMPLED = 100_000


class _Found(NamedTuple):
    """A file, or what cannot be listed.

    Attributes:
        path: its path; an archive counts as a folder.
        url: path or URL from which it is read.
        size: size in bytes if known.
        problem: reason why it cannot be read; empty if nothing is known against it.
    """

    path: str
    url: str
    size: int | None = None
    problem: str = ""


class Listing(Collection[Source]):
    """The files of a job, listed once and kept on disk, since the list may be larger than memory.

    Args:
        sources: the files.

    Attributes:
        path: the local file that holds them, one JSON array [song_id, url, size, problem] per line.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        handle, path = tempfile.mkstemp(prefix="gansynth-inputs-")
        self.path = Path(path)
        weakref.finalize(self, os.unlink, path)
        self._count = self._bytes = 0
        with os.fdopen(handle, "w") as f:
            for source in sources:
                f.write(json.dumps([source.song_id, source.url, source.size, source.problem]) + "\n")
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

    def bounds(self, count: int) -> tuple[str, ...]:
        """Chooses the song ids that cut the files, sorted by song id, into `count` parts of about equal size."""
        step = 1 + len(self) // _SAMPLED
        ids = sorted(source.song_id for source in itertools.islice(self, 0, None, step))
        return tuple(ids[len(ids) * number // count] for number in range(1, count))

    @property
    def size(self) -> int:
        """Total size of the files in bytes; files of unknown size count as 0."""
        return self._bytes


def list_sources(patterns: Sequence[str]) -> Iterator[Source]:
    """Lists every file that the patterns match, each once, sorted within a pattern.

    A folder or an archive that cannot be listed, or a line that cannot be a path, becomes a source with a problem,
    unless nothing else is found.

    Args:
        patterns: files, folders (all MIDI files below them, by suffix), globs, archives (.zip, .tar, .tar.gz: all
            MIDI files in them), and lists ("@FILE": one path or URL per line); local paths or fsspec URLs.

    Raises:
        ConfigError: a pattern matches nothing or cannot be read, or two files would get the same song id.
    """
    root = paths.common_root(_root(pattern) for pattern in patterns)
    seen: dict[str, int] = {}
    usable, first_problem = False, ""
    for pattern in patterns:
        found = False
        with _explained(pattern):
            for file in _files(pattern):
                found = True
                usable |= pattern.startswith("@") or not file.problem
                if file.problem and not first_problem:
                    first_problem = f"--input {pattern}: {file.problem}"
                song_id = paths.song_id(file.path, root)
                if file.problem and song_id in seen:  # a line such as foo://x may look like another song's path
                    song_id = f"{pattern}: {song_id}"
                if len(patterns) > 1 or pattern.startswith("@"):  # a single pattern never finds a file twice
                    if song_id in seen:
                        if seen[song_id] != hash(file.path):
                            raise GansynthError(
                                f"{file.path} would have the same song id as another input, {song_id}; render them in "
                                "two jobs."
                            )
                        continue
                    seen[song_id] = hash(file.path)
                yield Source(song_id, file.url, file.size, file.problem)
        if not found:
            with _explained(pattern):
                reason = no_input.explain(pattern)
            if reason.startswith(no_input.MISSING) and pattern != patterns[0]:
                reason = f"{no_input.MISSING}; if it is the output folder, write --output {pattern}."
            raise ConfigError(f"--input {pattern}: {reason}")
    if not usable:
        raise ConfigError(first_problem)


@contextlib.contextmanager
def _explained(pattern: str) -> Iterator[None]:
    try:
        yield
    except GansynthError as error:
        raise ConfigError(f"--input {pattern}: {error}") from None
    except FileNotFoundError:
        raise ConfigError(f"--input {pattern}: {no_input.MISSING}.") from None
    except Exception as error:  # each file system has its own exception types
        raise ConfigError(f"--input {pattern}: cannot be listed ({urls.reason(error, pattern)}).") from None


def _absolute(pattern: str) -> str:
    fs, path = urls.filesystem(pattern)
    return path if urls.is_local(pattern) else str(fs.unstrip_protocol(path.rstrip("/")))


def _root(pattern: str) -> str:
    """Finds the folder that the song ids of a pattern's files are relative to."""
    with _explained(pattern):
        if pattern.startswith("@"):
            return paths.common_root(
                line.path if archives.archive_kind(line.path) else posixpath.dirname(line.path)
                for line in _lines(pattern)
                if not line.problem
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
        for line in _lines(pattern):
            yield from [line] if line.problem else _opened(line.url, None)
        return
    url = _absolute(pattern)
    kind = listing.kind(url)
    unlisted: list[_Found] = []

    def on_error(folder: str, error: Exception) -> None:
        unlisted.append(_problem(folder, f"the folder cannot be listed ({urls.reason(error, folder)})"))

    if kind == "file":
        yield from _opened(url, listing.size(url))
    elif kind == "folder":
        found = listing.find(url, on_error=on_error)
        midi = ((name, size) for name, size in found if paths.has_midi_suffix(name))
        yield from (_Found(name, name, size) for name, size in _without_outputs(midi, url, pattern))
    elif paths.is_pattern(url):
        for name, size in _without_outputs(listing.match(url, on_error), paths.pattern_root(url), pattern):
            yield from _opened(name, size)
    yield from unlisted


def _problem(url: str, problem: str) -> _Found:
    return _Found(url, url, 0, problem)


def _without_outputs(found: Iterable[tuple[str, int]], root: str, pattern: str) -> Iterator[tuple[str, int]]:
    """Leaves out the files that jobs of this program have written, and tells their number."""
    is_output, left_out = outputs.recogniser(root), 0
    for name, size in found:
        if is_output(name):
            left_out += 1
        else:
            yield name, size
    if left_out:
        _LOG.warning("--input %s: %d files were left out, since this program has written them.", pattern, left_out)


def _opened(url: str, size: int | None) -> Iterator[_Found]:
    """Yields the file itself, or the members of an archive, as far as it can be listed."""
    if not archives.archive_kind(url):
        yield _Found(url, url, size)
        return
    try:
        for name, member, length in listing.members(url):
            yield _Found(f"{url}/{name}", member, length)
    except GansynthError as error:
        yield _problem(url, str(error))
    except Exception as error:  # each file system has its own exception types
        yield _problem(url, f"cannot be listed ({urls.reason(error, url)})")


def _lines(pattern: str) -> Iterator[_Found]:
    """Reads a list of inputs: paths (relative to the current folder) and URLs; empty lines and # lines are skipped."""
    for number, line in enumerate(files.read_lines(pattern[1:])):
        text = line.removeprefix("\ufeff" if number == 0 else "").strip()  # a byte order mark
        if not text or text.startswith("#"):
            continue
        try:
            if "\0" in text:
                raise ValueError("it contains a NUL character")
            url = _absolute(text)
        except Exception as error:  # each file system has its own exception types
            yield _problem(
                text, f"line {number + 1} of {pattern[1:]} is not a path or URL ({urls.reason(error, text)})"
            )
        else:
            yield _Found(url, url)


def check_names(sources: Iterable[Source]) -> None:
    """Rejects songs whose files would overwrite each other in a folder that ignores case.

    Raises:
        ConfigError: the output names of two songs differ only in case.
    """
    seen: dict[str, str] = {}
    for source in sources:
        other = seen.setdefault(paths.output_name(source.song_id).casefold(), source.song_id)
        if other != source.song_id:
            raise ConfigError(
                f"--output: the file system ignores case, so the files of {other} and {source.song_id} would overwrite "
                "each other; choose a folder on another file system, or render them in two jobs."
            )


def check_readable(source: Source) -> None:
    """Checks that a remote file can be read: permission to list it does not imply permission to read it.

    Raises:
        ConfigError: it cannot be read.
    """
    if urls.is_local(source.url):
        return
    if source.problem:
        return
    try:
        files.read_bytes(source.url, 1)
    except (FileNotFoundError, ValueError, retry.StalledError, GansynthError):
        return  # concerns only this file, which will be reported as failed
    except Exception as error:
        if retry.is_transient(error):
            return
        raise ConfigError(f"--input {source.url}: cannot be read ({urls.reason(error, source.url)}).") from None


def size(source: Source) -> int:
    """Returns the size of an input file in bytes; 0 if the file system cannot tell."""
    if source.size is not None:
        return source.size
    try:
        return listing.size(source.url)
    except Exception:  # each file system has its own exception types; reading the file reports it
        return 0
