from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from apache_beam.testing.util import assert_that, equal_to

from gansynth.config import EnvelopeConfig
from gansynth.score.plan import NoteChunk
from gansynth.score.planned_notes import PlannedNotes
from tests.support.fakes import DeadlyRenderer, FragileRenderer
from transforms.attempts import Attempts, WorkerDied, digest
from transforms.model_settings import ModelSettings
from transforms.synthesize import Synthesize


def chunk(song_id: str, pitches: list[int]) -> NoteChunk:
    n = len(pitches)
    notes = PlannedNotes(
        start=np.arange(n) * 1000,
        sustain=np.full(n, 4000, np.int32),
        pitch=np.array(pitches, np.uint8),
        velocity=np.full(n, 100, np.uint8),
        program=np.zeros(n, np.uint8),
        track=np.zeros(n, np.int32),
        left=np.zeros(n, np.int16),
        right=np.zeros(n, np.int16),
        fraction=np.zeros(n),
        release=4800,
    )
    return NoteChunk(song_id, 0, 0, notes, np.ones([1, 4]))


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    FragileRenderer.loaded.clear()


def settings(name: str, renderer: type[FragileRenderer] = FragileRenderer) -> ModelSettings:
    return ModelSettings(name, 8, 0, 0, "cpu", "float32", False, loader=renderer.load)


def test_one_bad_chunk_costs_its_song_alone_and_the_model_is_loaded_once() -> None:
    songs = [chunk(f"{i}.mid", [60 + i]) for i in range(20)]
    pipeline = BeamPipeline()
    played = (
        pipeline
        | beam.Create([(song.song_id, song) for song in songs])
        | Synthesize(settings("fake-once"), EnvelopeConfig(), 16)
    )
    good = [(f"{i}.mid", 1) for i in range(20) if i != 6]
    assert_that(
        played.mixes | beam.MapTuple(lambda key, chunk_mix: (key, chunk_mix.notes)), equal_to(good), label="mixes"
    )
    failures = played.failures | beam.MapTuple(lambda key, f: (key, f.stage, f.error, f.message, "boom" in f.trace))
    assert_that(failures, equal_to([("6.mid", "synthesize", "RuntimeError", "boom", True)]), label="failures")
    result = pipeline.run()
    result.wait_until_finish()
    assert FragileRenderer.loaded == ["fake-once"]
    counters = result.metrics().query(MetricsFilter().with_namespace("gansynth"))["counters"]
    found = {c.key.metric.name: c.result for c in counters}
    assert found["synthesis_notes"] == 19
    assert found["failed_synthesize"] == 1


def test_a_worker_that_plays_nothing_fails_its_bundle_not_the_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FragileRenderer, "broken", True)
    pipeline = BeamPipeline()
    (
        pipeline
        | beam.Create([("a.mid", chunk("a.mid", [60]))])
        | Synthesize(settings("fake-broken"), EnvelopeConfig(), 16)
    )
    with pytest.raises(Exception, match="this machine cannot play it"):
        pipeline.run().wait_until_finish()


def test_of_a_batch_that_killed_its_worker_only_the_chunk_that_kills_again_is_a_dead_letter(tmp_path: Path) -> None:
    attempts = Attempts(str(tmp_path / "synthesize"))
    songs = [chunk("a.mid", [60, 61]), chunk("b.mid", [64, 66])]
    with pytest.raises(WorkerDied), attempts.trying(["0 a.mid", "0 b.mid", "1 c.mid"]):
        raise WorkerDied
    pipeline = BeamPipeline()
    played = (
        pipeline
        | beam.Create([(song.song_id, song) for song in [*songs, chunk("d.mid", [62])]])
        | Synthesize(settings("fake-deadly", DeadlyRenderer), EnvelopeConfig(), 16, attempts=str(tmp_path))
    )
    mixes = played.mixes | beam.MapTuple(lambda key, chunk_mix: (key, chunk_mix.notes))
    assert_that(mixes, equal_to([("a.mid", 2), ("d.mid", 1)]), label="mixes")
    failures = played.failures | beam.MapTuple(lambda key, failure: (key, failure.stage, failure.code))
    assert_that(failures, equal_to([("b.mid", "synthesize", "worker-died")]), label="failures")
    pipeline.run().wait_until_finish()
    attempts.tidy()
    assert attempts.suspects() == {digest("0 b.mid")}
