"""Files to songs: read and parsed, or a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.metrics import Metrics

from gansynth import storage
from gansynth.config import NotesConfig
from gansynth.notes import digest_of, load_midi, read_midi
from gansynth.storage import StorageConfig
from transforms.elements import Failure, ReadSong, Source


@dataclass
class ReadMidi(beam.PTransform):
    """PCollection[Source] to `songs` (ReadSong) and `failures` ((song_id, Failure)).

    Attributes:
        notes: limits, salvage and pedal.
        storage: as whom the files are read.
    """

    notes: NotesConfig
    storage: StorageConfig = field(default_factory=StorageConfig)

    def expand(self, sources: beam.PCollection[Source]) -> beam.pvalue.DoOutputsTuple:
        """Reads and parses every file."""
        return sources | "Parse" >> beam.ParDo(_Parse(self.notes, self.storage)).with_outputs("failures", main="songs")


class _Parse(beam.DoFn):
    def __init__(self, config: NotesConfig, storage_config: StorageConfig) -> None:
        self._config, self._storage = config, storage_config
        self._read = Metrics.counter("gansynth", "songs_read")
        self._failed = Metrics.counter("gansynth", "failed_read")

    def setup(self) -> None:
        storage.configure(self._storage)

    def process(self, source: Source) -> Iterator[ReadSong | beam.pvalue.TaggedOutput]:
        digest = ""
        try:
            data = read_midi(source.url, self._config)
            digest = digest_of(data)
            song = load_midi(data, self._config)
        except Exception as error:
            self._failed.inc()
            failure = Failure.of(source.song_id, "read", error, digest)
            yield beam.pvalue.TaggedOutput("failures", (source.song_id, failure))
            return
        self._read.inc()
        yield ReadSong(source, song)
