"""Songs to chunks of notes, each with the latents it is played with; or a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam

from gansynth.config import SoundConfig
from gansynth.score import Voice, write_score
from transforms.counters import count
from transforms.elements import Failure, ReadSong


@dataclass
class ExpandNotes(beam.PTransform):
    """PCollection[ReadSong] to `chunks` ((song_id, NoteChunk)), `scores` and `failures` (both keyed too).

    Attributes:
        sound: policies and schedule.
        voice: what the checkpoint can play.
    """

    sound: SoundConfig
    voice: Voice

    def expand(self, songs: beam.PCollection[ReadSong]) -> beam.pvalue.DoOutputsTuple:
        """Writes every song's score and cuts it into chunks."""
        return songs | "Score" >> beam.ParDo(_Score(self.sound, self.voice)).with_outputs(
            "scores", "failures", main="chunks"
        )


class _Score(beam.DoFn):
    def __init__(self, sound: SoundConfig, voice: Voice) -> None:
        self._sound, self._voice = sound, voice

    def process(self, song: ReadSong) -> Iterator[object]:
        song_id = song.source.song_id
        try:
            score, chunks = write_score(song_id, song.song, self._sound, self._voice)
        except Exception as error:
            count("failed_expand")
            failure = Failure.of(song_id, "expand", error, song.song.digest)
            yield beam.pvalue.TaggedOutput("failures", (song_id, failure))
            return
        for outcome, number in score.counts.items():
            count(f"notes_{outcome}", number)
        yield beam.pvalue.TaggedOutput("scores", (song_id, score))
        for chunk in chunks:
            yield song_id, chunk
