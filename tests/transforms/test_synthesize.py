from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from apache_beam.testing.util import assert_that, equal_to

from gansynth import model_process
from gansynth.config import EnvelopeConfig
from gansynth.errors import ConfigError
from gansynth.score import NoteChunk
from gansynth.sounds import Renderer, SoundCache
from transforms.synthesize import ModelSettings, Synthesize

LOADED: list[str] = []


class FakeSynth(Renderer):
    """Plays every note as a constant, and breaks on pitch 66."""

    sample_rate = 16000
    note_samples = 64000
    cache = SoundCache(0)
    broken = False

    def check(self) -> None:
        if self.broken:
            raise ConfigError("this machine cannot play it")

    @classmethod
    def from_checkpoint(cls, name: str, **_: Any) -> FakeSynth:
        LOADED.append(name)
        return cls()

    def bucket(self, samples: int) -> int:
        return 128

    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        return iter([8] * -(-notes // 8))

    def batches(self, z: Any, pitches: Any, bucket: int) -> Iterator[tuple[slice, Any]]:
        if self.broken or (pitches == 66).any():
            raise RuntimeError("boom")
        for first in range(0, len(z), 8):
            where = slice(first, min(first + 8, len(z)))
            yield where, np.ones([where.stop - first, 64000], np.float32)


def chunk(song_id: str, pitches: list[int]) -> NoteChunk:
    n = len(pitches)
    return NoteChunk(
        song_id=song_id,
        index=0,
        first_note=0,
        pitch=np.array(pitches, np.int16),
        velocity=np.full(n, 100, np.int16),
        start=np.arange(n) * 1000,
        sustain=np.full(n, 4000, np.int32),
        latents=np.ones([1, 4]),
        left=np.zeros(n, np.int16),
        right=np.zeros(n, np.int16),
        fraction=np.zeros(n),
    )


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    LOADED.clear()
    monkeypatch.setattr(model_process, "Synthesizer", FakeSynth)


def test_one_bad_chunk_costs_its_song_alone_and_the_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    songs = [chunk(f"{i}.mid", [60 + i]) for i in range(20)]
    pipeline = BeamPipeline()
    played = (
        pipeline
        | beam.Create([(song.song_id, song) for song in songs])
        | Synthesize(ModelSettings("fake-once", 8, 0, 0, "cpu", "float32", False), EnvelopeConfig(), 16)
    )
    good = [(f"{i}.mid", 1) for i in range(20) if i != 6]
    assert_that(played.bars | beam.MapTuple(lambda key, bar: (key, bar.notes)), equal_to(good), label="bars")
    failures = played.failures | beam.MapTuple(lambda key, f: (key, f.stage, f.error, f.message, "boom" in f.trace))
    assert_that(failures, equal_to([("6.mid", "synthesize", "RuntimeError", "boom", True)]), label="failures")
    result = pipeline.run()
    result.wait_until_finish()
    assert LOADED == ["fake-once"]
    counters = result.metrics().query(MetricsFilter().with_namespace("gansynth"))["counters"]
    found = {c.key.metric.name: c.result for c in counters}
    assert found["synthesis_notes"] == 19
    assert found["failed_synthesize"] == 1


def test_a_worker_that_plays_nothing_fails_its_bundle_not_the_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSynth, "broken", True)
    pipeline = BeamPipeline()
    settings = ModelSettings("fake-broken", 8, 0, 0, "cpu", "float32", False)
    pipeline | beam.Create([("a.mid", chunk("a.mid", [60]))]) | Synthesize(settings, EnvelopeConfig(), 16)
    with pytest.raises(Exception, match="this machine cannot play it"):
        pipeline.run().wait_until_finish()
