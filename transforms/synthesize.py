"""Chunks of notes to chunk mixes: batched synthesis with one model per process, or a model server for several."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from gansynth.config import EnvelopeConfig
from gansynth.model.sound_bank import MissingSoundError
from gansynth.model.sounds import Tally
from gansynth.rendering.player import ChunkMix, play
from gansynth.score.plan import NoteChunk
from transforms import model
from transforms.attempts import WorkerDied
from transforms.counters import NAMESPACE, count, counting
from transforms.dead_letters import DeadLetterDoFn
from transforms.elements import Failure
from transforms.model_settings import ModelSettings
from transforms.worker_context import CONTEXT


@dataclass
class Synthesize(beam.PTransform):
    """PCollection[(song_id, NoteChunk)] to `mixes` ((song_id, ChunkMix)) and `failures` ((song_id, Failure)).

    Notes of many songs share a batch. A batch is one element of the step that plays it; if it fails, it is halved until
    the chunk that causes the error is alone.

    Attributes:
        model: settings with which the model is loaded.
        envelope: shape of the notes.
        batch_notes: notes that are handed to the model together, fewer where they are long.
        kit: the drum kit, see SoundConfig.drums.
        hints: Beam resource hints of the workers that play, e.g. {"accelerator": ..., "min_ram": "16GB"}.
        attempts: folder of the markers of attempts; None to write none.
    """

    model: ModelSettings
    envelope: EnvelopeConfig
    batch_notes: int
    kit: str = "standard"
    hints: dict[str, Any] = field(default_factory=dict)
    attempts: str | None = None

    def expand(self, chunks: beam.PCollection[tuple[str, NoteChunk]]) -> beam.pvalue.DoOutputsTuple:
        """Batches chunks and plays them."""
        # The second half of the reshuffle is fused with these steps, and gets their hints (docs/dataflow.md). On the
        # whole reshuffle the hints would reach ReadMidi and ExpandNotes, which are fused with its first half.
        gather = beam.BatchElements(self.batch_notes, self.batch_notes, element_size_fn=lambda chunk: chunk.weight)
        step = _Play(self.model, self.envelope, self.kit).marked(self.attempts)
        play = beam.ParDo(step).with_output_types(tuple[str, ChunkMix], failures=tuple[str, Failure])
        play.with_resource_hints(**self.hints)
        return (
            chunks
            | "Chunks" >> beam.Values()
            | "Spread" >> beam.Reshuffle()
            | "Gather" >> gather.with_resource_hints(**self.hints)
            | "Play" >> play.with_outputs("failures", main="mixes")
        )


class _Play(DeadLetterDoFn):
    stage = "synthesize"

    def __init__(self, model: ModelSettings, envelope: EnvelopeConfig, kit: str) -> None:
        self._model, self._envelope, self._kit = model, envelope, kit
        self._fill = Metrics.distribution(NAMESPACE, "batch_fill_percent")

    def setup(self) -> None:
        began = time.perf_counter()
        shares = self.attempts is not None and self._model.device == "gpu"  # local ways have a server of their own
        self._synth = model.source(model.share_machine(self._model) if shares else self._model)
        self._loading = int(1000 * (time.perf_counter() - began))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_synth"}  # a child process has its own

    def process(self, chunks: Sequence[NoteChunk]) -> Iterator[object]:
        suspects = [chunk for chunk in chunks if self.is_suspect(self.keys([chunk]))]
        others = [chunk for chunk in chunks if not self.is_suspect(self.keys([chunk]))]
        if others:
            yield from self.attempt(others)
        if suspects:
            yield from self._play_alone(suspects)

    def keys(self, chunks: Sequence[NoteChunk]) -> tuple[str, ...]:
        return tuple(f"{chunk.index} {chunk.song_id}" for chunk in chunks)

    def _play_alone(self, chunks: Sequence[NoteChunk]) -> Iterator[object]:
        """Plays suspects in a child process; halves them when it dies, until the chunk that kills it is alone."""
        try:
            yield from self.attempt(chunks)
        except WorkerDied as error:
            if len(chunks) == 1:
                yield self.dead_letter(chunks[0].song_id, "", "", error)
                return
            assert self.attempts is not None
            half = len(chunks) // 2
            yield from self._play_alone(chunks[:half])
            yield from self._play_alone(chunks[half:])
            self.attempts.forget(self.keys(chunks))

    def handle(self, chunks: Sequence[NoteChunk]) -> Iterator[object]:
        # Counted here, since Beam loses counts made before a bundle begins.
        count("model_load_milliseconds", self._loading)
        self._loading = 0
        began, tally = time.perf_counter(), Tally()
        with counting("synthesis_", tally):
            yield from self._play(chunks, tally)
        count("synthesis_milliseconds", int(1000 * (time.perf_counter() - began)))
        if tally.slots:
            self._fill.update(100 * tally.rendered // tally.slots)

    def _play(self, chunks: Sequence[NoteChunk], tally: Tally) -> Iterator[object]:
        try:
            chunk_mixes: list[ChunkMix] = play(chunks, self._synth, self._envelope, tally, self._kit)
        except Exception as error:
            if len(chunks) == 1:
                if not isinstance(error, MissingSoundError) and (
                    CONTEXT.model_address is None or self.attempts is not None
                ):
                    model.check(self._model)  # raises if this worker cannot play any song; another may be able to
                yield self.dead_letter(chunks[0].song_id, "", "", error)
                return
            half = len(chunks) // 2
            yield from self._play(chunks[:half], tally)
            yield from self._play(chunks[half:], tally)
            return
        for chunk_mix in chunk_mixes:
            yield chunk_mix.song_id, chunk_mix
