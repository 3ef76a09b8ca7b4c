"""Files to songs: read and parsed, or a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from gansynth.config import NotesConfig
from gansynth.notes import digest_of, load_midi, read_midi
from transforms.elements import Failure, ReadSong, Source


@dataclass
class ReadMidi(beam.PTransform):
    """PCollection[Source] to `songs` (ReadSong) and `failures` ((song_id, Failure)).

    Attributes:
        notes: limits, salvage and pedal.
    """

    notes: NotesConfig

    def expand(self, sources: beam.PCollection[Source]) -> beam.pvalue.DoOutputsTuple:
        """Reads and parses every file."""
        return sources | "Parse" >> beam.ParDo(_Parse(self.notes)).with_outputs("failures", main="songs")


class _Parse(beam.DoFn):
    def __init__(self, config: NotesConfig) -> None:
        self._config = config
        self._read = Metrics.counter("gansynth", "songs_read")
        self._failed = Metrics.counter("gansynth", "failed_read")

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
