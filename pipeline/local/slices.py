"""Slices of a corpus: runs of songs that one process can hold in memory, since the in-process runner holds them all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from gansynth.audio.envelope import LONGEST_NOTE
from gansynth.midi.load import read_midi
from gansynth.midi.repair import prepare
from pipeline import inputs
from pipeline.config import JobConfig
from transforms.elements import Source

SLICE_SECONDS = 3600.0
"""Seconds of sound that one process has in memory at once, but for a longer song; 0.4 GiB for a thousand."""


@dataclass(frozen=True)
class Slice:
    """Some songs of the corpus.

    Attributes:
        name: start of the names of its files of rows.
        sources: the songs.
    """

    name: str
    sources: tuple[Source, ...]


@dataclass
class SliceResult:
    """The outcome of a slice.

    Attributes:
        songs: number of its songs.
        counters: what Beam counted.
        lost: songs that killed their process.
    """

    songs: int
    counters: Counter[str] = field(default_factory=Counter)
    lost: tuple[Source, ...] = ()


def workers(config: JobConfig) -> int:
    """Returns the number of processes: the config's, or one for each core that this process may use."""
    return config.compute.workers or len(os.sched_getaffinity(0))


def cut(sources: Collection[Source], config: JobConfig) -> Iterator[Slice]:
    """Cuts a corpus into slices that are bounded in songs and in bytes of MIDI.

    The last ones are smaller, so that all processes end at about the same time.
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


def bounded(whole: Slice, config: JobConfig) -> Iterator[Slice]:
    """Cuts a slice where its songs are too long to be in memory together: ten kilobytes may sound for an hour.

    The songs of the slices that it yields carry their files' content, so that no file is read or scanned twice.
    """
    if len(whole.sources) == 1:
        yield whole
        return
    with ThreadPoolExecutor(8) as pool:  # where files are far away, waiting is most of it
        read = list(pool.map(lambda source: _read(source, config), whole.sources))
    songs: list[Source] = []
    total, number = 0.0, 0
    for source, seconds in read:
        if songs and total + seconds > SLICE_SECONDS:
            yield Slice(f"{whole.name}-{number}", tuple(songs))
            songs, total, number = [], 0.0, number + 1
        songs.append(source)
        total += seconds
    yield Slice(f"{whole.name}-{number}" if number else whole.name, tuple(songs))


def _read(source: Source, config: JobConfig) -> tuple[Source, float]:
    """Reads and scans a song's file; estimates how many seconds of sound it holds, at most."""
    note_seconds = (config.envelope.max_sustain or LONGEST_NOTE) + config.envelope.release
    try:
        file = read_midi(source.url, config.notes)
    except Exception:  # ReadMidi reports it
        return source, 0.0
    try:
        prepared = prepare(file.data, config.notes)
    except Exception:  # ReadMidi reports it
        return replace(source, file=file), 0.0
    last_end = prepared.seconds * config.notes.time_stretch + config.envelope.release
    seconds = min(last_end, prepared.notes * note_seconds)
    return replace(source, file=replace(file, prepared=prepared)), seconds
