"""Files to songs: read and parsed, or a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.metrics import Metrics

from gansynth.errors import GansynthError
from gansynth.notes import load_midi
from transforms.elements import Failure, ReadSong, Source


@dataclass
class ReadMidi(beam.PTransform):
    """PCollection[Source] to `songs` (ReadSong) and `failures` ((song_id, Failure)).

    Attributes:
        sustain_pedal: whether notes are held while the pedal is down.
    """

    sustain_pedal: bool

    def expand(self, sources: beam.PCollection[Source]) -> beam.pvalue.DoOutputsTuple:
        """Reads and parses every file."""
        return sources | "Parse" >> beam.ParDo(_Parse(self.sustain_pedal)).with_outputs("failures", main="songs")


class _Parse(beam.DoFn):
    def __init__(self, sustain_pedal: bool) -> None:
        self._sustain_pedal = sustain_pedal
        self._read = Metrics.counter("gansynth", "songs_read")
        self._failed = Metrics.counter("gansynth", "failed_read")

    def process(self, source: Source) -> Iterator[ReadSong | beam.pvalue.TaggedOutput]:
        try:
            song = load_midi(source.url, self._sustain_pedal)
        except Exception as error:
            self._failed.inc()
            foreseen = OSError if isinstance(error, OSError) else GansynthError
            yield beam.pvalue.TaggedOutput(
                "failures", (source.song_id, Failure.of(source.song_id, "read", error, foreseen))
            )
            return
        self._read.inc()
        yield ReadSong(source, song)
