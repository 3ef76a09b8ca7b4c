"""From patterns to files: what is to be rendered, and what each song is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gansynth import paths, storage
from gansynth.errors import ConfigError
from transforms.elements import Source


def list_sources(patterns: Sequence[str]) -> Iterator[Source]:
    """Every file that the patterns name, each once, sorted within a pattern.

    Args:
        patterns: files, folders (all MIDI files below them, by suffix) or globs, local or fsspec URLs.

    Raises:
        ConfigError: a pattern matches nothing; the message says which.
    """
    absolute = [_absolute(pattern) for pattern in patterns]
    root = paths.common_root([_root(pattern) for pattern in absolute])
    seen: set[str] = set()
    for pattern, given in zip(absolute, patterns, strict=True):
        found = False
        for url in _match(pattern):
            found = True
            song_id = paths.song_id(url, root)
            if song_id not in seen:
                seen.add(song_id)
                yield Source(song_id, url)
        if not found:
            raise ConfigError(
                f"--input {given}: no MIDI file found; give a file, a folder, or a pattern such as 'midi/**/*.mid' "
                "(in quotes)."
            )


def _absolute(pattern: str) -> str:
    _, path = storage.filesystem(pattern)
    return path if storage.is_local(pattern) else f"{pattern.split('://', 1)[0]}://{path.rstrip('/')}"


def _root(pattern: str) -> str:
    fs, path = storage.filesystem(pattern)
    if not fs.exists(path) and paths.is_pattern(pattern):
        return paths.pattern_root(pattern)
    return pattern if fs.isdir(path) else pattern.rsplit("/", 1)[0]


def _match(pattern: str) -> Iterator[str]:
    fs, path = storage.filesystem(pattern)
    prefix = "" if storage.is_local(pattern) else pattern.split("://", 1)[0] + "://"
    if fs.isfile(path):
        yield pattern
    elif fs.isdir(path):
        yield from (prefix + name for name in sorted(fs.find(path)) if paths.has_midi_suffix(name))
    elif paths.is_pattern(pattern):
        details = fs.glob(path, detail=True)
        yield from (prefix + name for name in sorted(details) if details[name]["type"] == "file")


def size(source: Source) -> int:
    """Bytes of an input file; 0 where the file system cannot tell."""
    fs, path = storage.filesystem(source.url)
    try:
        return int(fs.size(path) or 0)
    except OSError:
        return 0
