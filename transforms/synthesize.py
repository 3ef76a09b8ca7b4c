"""Chunks of notes to partial mixes: batched inference with one model in each process, or one for several."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from gansynth.config import EnvelopeConfig
from gansynth.io.urls import StorageConfig
from gansynth.model.server import Load, ModelClient, load_model
from gansynth.model.sounds import SoundSource, Tally
from gansynth.model.synthesizer import Synthesizer
from gansynth.rendering.player import ChunkMix, play
from gansynth.score.plan import NoteChunk
from transforms.counters import NAMESPACE, count, counting
from transforms.dead_letters import DeadLetterDoFn
from transforms.worker_context import CONTEXT

_MODEL = Shared()


@dataclass(frozen=True)
class ModelSettings:
    """The checkpoint that a worker loads, and how it runs it; equal settings share one model in a process.

    Attributes:
        checkpoint: see Synthesizer.from_checkpoint, as for the next ones up to `xla`.
        storage: credentials for reading it.
        loader: called as `loader(storage, checkpoint, **options)`.
    """

    checkpoint: str
    batch_rows: int
    cache_bytes: int
    threads: int
    device: str
    precision: str
    xla: bool
    storage: StorageConfig = field(default_factory=StorageConfig)
    loader: Callable[..., Synthesizer] = load_model

    @property
    def load(self) -> Load:
        """Loads the model; needs nothing of Beam, wherever it is called."""
        options = vars(self).copy()
        return functools.partial(options.pop("loader"), options.pop("storage"), **options)

    def acquire(self) -> Synthesizer:
        """The process's own model, loaded by the first caller and kept for the others."""
        return _MODEL.acquire(self.load, tag=repr(self))

    def source(self) -> SoundSource:
        """Where this process gets sounds from: its own model, unless it shares another process's."""
        address = CONTEXT.model_address
        if address is None:
            return self.acquire()
        return _MODEL.acquire(lambda: ModelClient(address, self.load, self.cache_bytes), tag=f"{self!r} at {address}")


@dataclass
class Synthesize(beam.PTransform):
    """PCollection[(song_id, NoteChunk)] to `bars` ((song_id, Bar)) and `failures` (keyed too).

    Notes of many songs share a batch. Batches are gathered before the last reshuffle, so that the model runs in
    `process`, where one that fails can be halved until the chunk at fault is alone.

    Attributes:
        model: the checkpoint to load.
        envelope: shape of the notes.
        batch_notes: notes that are handed to the model together, fewer where they are long.
        kit: the drum kit, see SoundConfig.drums.
        hints: Beam resource hints of the workers that play, e.g. {"accelerator": ..., "min_ram": "16GB"}.
    """

    model: ModelSettings
    envelope: EnvelopeConfig
    batch_notes: int
    kit: str = "standard"
    hints: dict[str, Any] = field(default_factory=dict)

    def expand(self, chunks: beam.PCollection[tuple[str, NoteChunk]]) -> beam.pvalue.DoOutputsTuple:
        """Gathers chunks and plays them."""
        # Both steps behind the reshuffle have the hints: steps with different ones cannot be fused.
        gather = beam.BatchElements(self.batch_notes, self.batch_notes, element_size_fn=lambda chunk: chunk.weight)
        play = beam.ParDo(_Play(self.model, self.envelope, self.kit))
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
        self._synth = self._model.source()
        self._loading = int(1000 * (time.perf_counter() - began))

    def process(self, chunks: Sequence[NoteChunk]) -> Iterator[object]:
        # Counted here: what is counted before a bundle has begun is lost.
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
                if (
                    CONTEXT.model_address is None
                ):  # raises where nothing can be played: no song's fault, and another worker may
                    self._model.acquire().check()
                yield self.dead_letter(chunks[0].song_id, "", "", error)
                return
            half = len(chunks) // 2
            yield from self._play(chunks[:half], tally)
            yield from self._play(chunks[half:], tally)
            return
        for chunk_mix in chunk_mixes:
            yield chunk_mix.song_id, chunk_mix
