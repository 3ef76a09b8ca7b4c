"""MIDI files to parsed songs, or to dead letters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam

from gansynth.config import NotesConfig
from gansynth.errors import GansynthError, InputError
from gansynth.io import urls
from gansynth.io.probe import check_writable
from gansynth.io.records import Records
from gansynth.io.retry import StalledError, is_transient
from gansynth.io.urls import StorageConfig
from gansynth.midi.load import MidiFile, parse_midi, read_midi
from transforms.counters import count
from transforms.dead_letters import DeadLetterDoFn
from transforms.elements import Failure, FinishedSong, ReadSong, Source


@dataclass
class ReadMidi(beam.PTransform):
    """PCollection[Source] to `songs` (ReadSong), `finished` ((song_id, FinishedSong)), `failures` ((song_id, Failure)).

    Attributes:
        notes: settings of limits, salvage and pedal.
        storage: credentials for reading.
        records: completion records of songs that need no rendering; None to render all songs.
        output: output folder of the job, by which an outage of all storage is told from an error of one file; None if
            the job writes nothing.
        attempts: folder of the markers of attempts; None to write none.
    """

    notes: NotesConfig
    storage: StorageConfig = field(default_factory=StorageConfig)
    records: Records | None = None
    output: str | None = None
    attempts: str | None = None

    def expand(self, sources: beam.PCollection[Source]) -> beam.pvalue.DoOutputsTuple:
        """Reads and parses every file."""
        step = _Parse(self.notes, self.storage, self.records, self.output).marked(self.attempts)
        parse = beam.ParDo(step).with_output_types(
            ReadSong, finished=tuple[str, FinishedSong], failures=tuple[str, Failure]
        )
        return sources | "Parse" >> parse.with_outputs("finished", "failures", main="songs")


class _Parse(DeadLetterDoFn):
    stage = "read"

    def __init__(
        self, config: NotesConfig, storage: StorageConfig, records: Records | None, output: str | None = None
    ) -> None:
        self._config, self._storage, self._records, self._output = config, storage, records, output
        self._digest = ""

    def setup(self) -> None:
        urls.configure(self._storage)

    def handle(self, source: Source) -> Iterator[ReadSong | beam.pvalue.TaggedOutput]:
        self._digest = ""
        if source.problem:
            raise InputError(source.problem)
        file = source.file or _read(source.url, self._config)
        count("bytes_read", len(file.data))
        self._digest = file.digest
        if self._records is not None and (row := self._records.find(source.song_id, file.digest)) is not None:
            count("songs_resumed")
            finished = FinishedSong(source.song_id, json.dumps(row | {"source": source.url}, sort_keys=True))
            yield beam.pvalue.TaggedOutput("finished", (source.song_id, finished))
            return
        song = parse_midi(file, self._config)
        count("songs_read")
        yield ReadSong(replace(source, file=None), song)

    def identify(self, source: Source) -> tuple[str, str, str]:
        return source.song_id, self._digest, source.url

    def dead_letter(self, song_id: str, digest: str, source: str, error: Exception) -> Any:
        if self._output is not None and (is_transient(error) or isinstance(error, StalledError)):
            check_writable(self._output)  # if all storage is down, the bundle fails, and the runner tries it again
        return super().dead_letter(song_id, digest, source, error)


def _read(url: str, config: NotesConfig) -> MidiFile:
    """Reads a file; errors that only its file system knows become an InputError, unless a retry may remove them."""
    try:
        return read_midi(url, config)
    except Exception as error:
        if isinstance(error, (GansynthError, OSError)) or is_transient(error):
            raise
        raise InputError(urls.reason(error, url)) from None
