"""The forecast of songs without synthesis: one row for each song, and the keys of all distinct sounds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from gansynth.config import SoundConfig
from gansynth.io import files, urls
from gansynth.io.records import Records
from gansynth.io.urls import StorageConfig
from gansynth.model.listed_sounds import as_list
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Want
from gansynth.rendering.player import distinct_sounds, longest
from gansynth.score.plan import NoteChunk, RenderPlan
from gansynth.score.spec import SynthSpec
from transforms.elements import Failure, FinishedSong, Source
from transforms.expand_notes import ExpandNotes
from transforms.read_midi import ReadMidi
from transforms.write_rows import WriteRows

_MOST_KEYS = 100_000
_BUCKET_BITS = 4
"""Leading bits of a sound's 64-bit key that hold its index on the ladder of rows; the rest hash latent and pitch."""


@dataclass
class PlanSongs(beam.PTransform):
    """PCollection[Source] to URLs of files: JSON rows of all songs, and the keys of their sounds (uint64, sorted).

    Songs are read and planned by the same transforms as for rendering, so the same songs fail, for the same reason.
    Songs share sounds: keys are grouped by value, so no key is in two files.

    Attributes:
        sound: settings of notes, instruments, envelope, mix and stems.
        spec: the checkpoint's properties.
        shape: shape of the checkpoint's notes.
        folder: folder for the files.
        name: prefix of their names, unique among the pipelines that share the folder.
        shards: number of files of keys.
        storage: credentials for reading songs and writing files.
        records: completion records of songs that need no rendering; None to plan all songs.
        lists_sounds: if true, each song's row has the list of its sounds, see gansynth.model.listed_sounds.
    """

    sound: SoundConfig
    spec: SynthSpec
    shape: NoteShape
    folder: str
    name: str
    shards: int = 1
    storage: StorageConfig = field(default_factory=StorageConfig)
    records: Records | None = None
    lists_sounds: bool = False

    def expand(self, sources: beam.PCollection[Source]) -> beam.PCollection[str]:
        """Reads and plans every song, and collects rows and sound keys."""
        read = sources | "ReadMidi" >> ReadMidi(self.sound.notes, self.storage, self.records)
        notes = read.songs | "ExpandNotes" >> ExpandNotes(self.sound, self.spec)
        rate, shape = self.spec.sample_rate, self.shape
        listed = (
            ()
            if not self.lists_sounds
            else (
                notes.chunks
                | "List sounds" >> beam.MapTuple(lambda song_id, chunk: (song_id, sounds_of(chunk, shape))),
            )
        )
        rows = (
            (
                sources
                | "By song" >> beam.WithKeys(lambda source: source.song_id).with_output_types(tuple[str, Source]),
                read.finished,
                read.failures,
                notes.plans | "Outline" >> beam.MapTuple(lambda song_id, plan: (song_id, _outline(plan, rate))),
                notes.failures,
                *listed,
            )
            | "All parts" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Row" >> beam.MapTuple(_row).with_output_types(tuple[str, str])
        )
        shards, folder, name, config = self.shards, self.folder, self.name, self.storage

        def write(shard: int, groups: Iterable[bytes]) -> str:
            urls.configure(config)
            url = urls.join(folder, f"{name}-{shard:05d}.sounds")
            keys = np.unique(np.concatenate([np.frombuffer(group, np.uint64) for group in groups]))
            files.write_bytes(url, keys.tobytes())
            return url

        sounds = (
            notes.chunks
            | "Sounds" >> beam.ParDo(_Sounds(self.shape, shards)).with_output_types(tuple[int, bytes])
            | "Gather sounds" >> beam.GroupByKey()
            | "Write sounds" >> beam.MapTuple(write).with_output_types(str)
        )
        rows = rows | "WriteRows" >> WriteRows(folder, name, storage=config)
        return (rows, sounds) | "Files" >> beam.Flatten()


def _outline(plan: RenderPlan, sample_rate: int) -> dict[str, Any]:
    """Makes a song's row, except for its URL; its notes are dropped."""
    return {
        "status": "planned",
        "song_id": plan.song_id,
        "source_digest": plan.digest,
        "repairs": plan.repairs,
        "repaired_notes": plan.repaired_notes,
        "ignored": plan.ignored,
        "notes": plan.counts,
        "seconds": plan.samples / sample_rate,
        "instruments": sorted(set(plan.instruments)),
        "parts": [{"rule": part.rule} for part in plan.parts],
    }


def _row(
    song_id: str, parts: Iterable[Source | FinishedSong | Failure | dict[str, Any] | frozenset[Want]]
) -> tuple[str, str]:
    url, row = "", None
    sounds: set[Want] = set()
    for part in parts:
        if isinstance(part, Source):
            url = part.url
        elif isinstance(part, frozenset):
            sounds |= part
        elif isinstance(part, FinishedSong):
            row = json.loads(part.row) | {"status": "finished"}
        else:
            row = part.row() if isinstance(part, Failure) else part
    if row is None:
        row = Failure(song_id, "expand", "LostSong", "the runner lost this song", code="song-lost").row()
    more = {"source": url} | ({"sounds": as_list(sounds)} if sounds else {})
    return song_id, json.dumps({**row, **more}, sort_keys=True)


class _Sounds(beam.DoFn):
    """Chunks to the keys of their sounds, by shard; removes duplicates within a bundle, as far as memory allows."""

    def __init__(self, shape: NoteShape, shards: int) -> None:
        self._shape, self._shards = shape, shards
        self._keys: set[int] = set()

    def process(self, element: tuple[str, NoteChunk]) -> Iterator[tuple[int, bytes]]:
        self._keys |= sound_keys(element[1], self._shape)
        if len(self._keys) >= _MOST_KEYS:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        window = GlobalWindow()
        for pair in self._flush():
            yield WindowedValue(pair, window.max_timestamp(), (window,))

    def _flush(self) -> Iterator[tuple[int, bytes]]:
        keys = np.array(sorted(self._keys), np.uint64)
        self._keys = set()
        shard = keys % np.uint64(self._shards)
        for number in np.unique(shard).tolist():
            yield number, keys[shard == number].tobytes()


def sounds_of(chunk: NoteChunk, shape: NoteShape) -> frozenset[Want]:
    """Returns a chunk's sounds, each with the rows of all its notes."""
    return frozenset(longest(distinct_sounds([chunk], shape), serves_shorter=False))


def sound_keys(chunk: NoteChunk, shape: NoteShape) -> set[int]:
    """The keys of a chunk's sounds, each at its longest; equal sounds have keys with equal hashes of 60 bits."""
    place = {rows: number for number, rows in enumerate(shape.ladder)}
    return {
        place[bucket] << (64 - _BUCKET_BITS)
        | int.from_bytes(hashlib.blake2b(latent + bytes([pitch]), digest_size=8).digest(), "big") >> _BUCKET_BITS
        for (latent, pitch), bucket in longest(distinct_sounds([chunk], shape), serves_shorter=True)
    }


def rows_of_keys(keys: np.ndarray, shape: NoteShape) -> dict[int, int]:
    """Counts distinct sounds by the number of rows with which they are rendered: those of its longest note.

    Args:
        keys: keys from `sound_keys`, uint64 [n], of all the notes of each sound.
        shape: shape of the checkpoint's notes.
    """
    bits = np.uint64(_BUCKET_BITS)
    keys = np.sort((keys << bits) | (keys >> (np.uint64(64) - bits)))  # hash first, then bucket
    last = np.append(keys[1:] >> bits != keys[:-1] >> bits, [True] * (len(keys) > 0))
    places, counts = np.unique(keys[last] & np.uint64((1 << _BUCKET_BITS) - 1), return_counts=True)
    return {list(shape.ladder)[place]: count for place, count in zip(places.tolist(), counts.tolist(), strict=True)}
