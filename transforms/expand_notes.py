"""Songs to render plans and chunks of notes with their latents, or to dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam

from gansynth.config import SoundConfig
from gansynth.score.plan import NoteChunk, RenderPlan, plan_song
from gansynth.score.spec import SynthSpec
from transforms.counters import count
from transforms.dead_letters import DeadLetterDoFn
from transforms.elements import Failure, ReadSong


@dataclass
class ExpandNotes(beam.PTransform):
    """PCollection[ReadSong] to `chunks` ((song_id, NoteChunk)), `plans` ((song_id, RenderPlan)) and `failures`.

    Attributes:
        sound: settings of notes, instruments, envelope, mix and stems.
        spec: the checkpoint's properties.
        attempts: folder of the markers of attempts; None to write none.
    """

    sound: SoundConfig
    spec: SynthSpec
    attempts: str | None = None

    def expand(self, songs: beam.PCollection[ReadSong]) -> beam.pvalue.DoOutputsTuple:
        """Plans every song and cuts it into chunks."""
        plan = beam.ParDo(_Plan(self.sound, self.spec).marked(self.attempts)).with_output_types(
            tuple[str, NoteChunk], plans=tuple[str, RenderPlan], failures=tuple[str, Failure]
        )
        return songs | "Plan" >> plan.with_outputs("plans", "failures", main="chunks")


class _Plan(DeadLetterDoFn):
    stage = "expand"

    def __init__(self, sound: SoundConfig, spec: SynthSpec) -> None:
        self._sound, self._spec = sound, spec

    def handle(self, song: ReadSong) -> Iterator[object]:
        song_id = song.source.song_id
        plan, chunks = plan_song(song_id, song.song, self._sound, self._spec)
        for outcome, number in plan.counts.items():
            count(f"notes_{outcome}", number)
        yield beam.pvalue.TaggedOutput("plans", (song_id, plan))
        for chunk in chunks:
            yield song_id, chunk

    def identify(self, song: ReadSong) -> tuple[str, str, str]:
        return song.source.song_id, song.song.digest, song.source.url
