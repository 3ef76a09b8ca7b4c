"""Files to songs: read and parsed, or a dead letter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import apache_beam as beam

from gansynth import storage
from gansynth.config import NotesConfig
from gansynth.notes import digest_of, load_midi, read_midi
from gansynth.records import Records
from gansynth.storage import StorageConfig
from transforms.counters import count
from transforms.elements import Failure, Finished, ReadSong, Source


@dataclass
class ReadMidi(beam.PTransform):
    """PCollection[Source] to `songs` (ReadSong), `finished` ((song_id, Finished)) and `failures` ((song_id, Failure)).

    Attributes:
        notes: limits, salvage and pedal.
        storage: as whom the files are read.
        records: of songs that need no rendering; None to render all.
    """

    notes: NotesConfig
    storage: StorageConfig = field(default_factory=StorageConfig)
    records: Records | None = None

    def expand(self, sources: beam.PCollection[Source]) -> beam.pvalue.DoOutputsTuple:
        """Reads and parses every file."""
        parse = beam.ParDo(_Parse(self.notes, self.storage, self.records))
        return sources | "Parse" >> parse.with_outputs("finished", "failures", main="songs")


class _Parse(beam.DoFn):
    def __init__(self, config: NotesConfig, storage_config: StorageConfig, records: Records | None) -> None:
        self._config, self._storage, self._records = config, storage_config, records

    def setup(self) -> None:
        storage.configure(self._storage)

    def process(self, source: Source) -> Iterator[ReadSong | beam.pvalue.TaggedOutput]:
        digest = ""
        try:
            data = read_midi(source.url, self._config)
            count("bytes_read", len(data))
            digest = digest_of(data)
            if self._records is not None and (row := self._records.find(source.song_id, digest)) is not None:
                count("songs_resumed")
                finished = Finished(source.song_id, json.dumps(row | {"source": source.url}, sort_keys=True))
                yield beam.pvalue.TaggedOutput("finished", (source.song_id, finished))
                return
            song = load_midi(data, self._config)
        except Exception as error:
            count("failed_read")
            failure = Failure.of(source.song_id, "read", error, digest)
            yield beam.pvalue.TaggedOutput("failures", (source.song_id, failure))
            return
        count("songs_read")
        yield ReadSong(source, song)
