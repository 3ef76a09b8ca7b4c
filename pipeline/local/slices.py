"""Slices of a corpus: groups of songs small enough for memory, since the in-process runner keeps all elements in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from gansynth.audio.envelope import LONGEST_NOTE, longest_release
from gansynth.midi.load import read_midi, scan_midi
from pipeline import inputs
from pipeline.config import JobConfig
from transforms.elements import Source

SLICE_SECONDS = 3600.0
"""Maximum seconds of audio in one process's memory, unless one song is longer; 1,000 s take 0.4 GiB."""


@dataclass(frozen=True)
class Slice:
    """A group of songs of the corpus, rendered by one pipeline.

    Attributes:
        name: prefix of the names of its files of rows.
        sources: the songs.
    """

    name: str
    sources: tuple[Source, ...]


@dataclass
class SliceResult:
    """The outcome of a slice.

    Attributes:
        songs: number of songs.
        counters: counters of the pipeline, by name.
        lost: songs whose process died.
    """

    songs: int
    counters: Counter[str] = field(default_factory=Counter)
    lost: tuple[Source, ...] = ()


def workers(config: JobConfig) -> int:
    """Returns the number of processes: the configured one, or one per core that this process may use."""
    return config.compute.workers or len(os.sched_getaffinity(0))


def cut(sources: Collection[Source], config: JobConfig) -> Iterator[Slice]:
    """Cuts a corpus into slices of bounded number of songs and bytes of MIDI.

    The last slices are smaller, so that all processes end at about the same time.

    Args:
        sources: the corpus.
        config: the job's settings: slice_songs, slice_bytes and the number of processes.
    """
    songs: list[Source] = []
    total = number = 0
    count, left = workers(config), len(sources)
    most, limit = (size // count for size in (config.compute.slice_songs, config.compute.slice_bytes))
    for source in sources:
        size = inputs.size(source)
        enough = min(most, max(most // 4, left // (2 * count)))
        full = len(songs) >= enough or total + size > limit
        if songs and full:
            yield Slice(f"part-{number:06d}", tuple(songs))
            left -= len(songs)
            songs, total, number = [], 0, number + 1
        songs.append(source)
        total += size
    if songs:
        yield Slice(f"part-{number:06d}", tuple(songs))


def bounded(songs: Slice, config: JobConfig) -> Iterator[Slice]:
    """Cuts a slice into smaller ones if its audio is too long to be in memory at once: 10 kB of MIDI may last an hour.

    The sources of these slices carry the content of their files, so that no file is read or scanned twice.
    """
    if len(songs.sources) == 1:
        yield songs
        return
    with ThreadPoolExecutor(8) as pool:  # reading remote files is mostly waiting
        read = list(pool.map(lambda source: _read(source, config), songs.sources))
    sources: list[Source] = []
    total, number = 0.0, 0
    for source, seconds in read:
        if sources and total + seconds > SLICE_SECONDS:
            yield Slice(f"{songs.name}-{number}", tuple(sources))
            sources, total, number = [], 0.0, number + 1
        sources.append(source)
        total += seconds
    yield Slice(f"{songs.name}-{number}" if number else songs.name, tuple(sources))


def _read(source: Source, config: JobConfig) -> tuple[Source, float]:
    """Reads and scans a song's file; estimates the most seconds of sound that it holds."""
    try:
        file = scan_midi(read_midi(source.url, config.notes), config.notes)
    except Exception:  # ReadMidi reports it
        return source, 0.0
    span, notes = file.extent
    release = longest_release(config.envelope)
    note_seconds = (config.envelope.max_sustain or LONGEST_NOTE) + release
    seconds = min(span * config.notes.time_stretch + release, notes * note_seconds)
    return replace(source, file=file), seconds
