from __future__ import annotations

import itertools
import weakref
from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from apache_beam.testing.util import assert_that, equal_to

from gansynth.audio.mix import SparseMix
from gansynth.rendering.player import ChunkMix
from gansynth.score.plan import RenderPlan
from gansynth.score.planned_notes import PlannedNotes
from transforms.elements import Failure, Source
from transforms.mix_songs import GatherSong, MixedSong, MixSongs, SongElement, _Gathered

SOURCE = Source("a/x.mid", "/in/a/x.mid")


def plan(chunks: int, notes: int) -> RenderPlan:
    table = PlannedNotes(*[np.zeros(notes, np.uint8)] * 9, release=4800)
    return RenderPlan("a/x.mid", "sha256:0", chunks, 1000, {"played": notes}, ("piano",), (), table)


def chunk_mix(index: int, notes: int = 2) -> ChunkMix:
    mix = SparseMix()
    mix.add(10_000 * index, np.linspace(0.1, 0.2 + index, 20_000))
    return ChunkMix("a/x.mid", index, notes, (), (index,) if index == 1 else (), mix.packed())


def outcome(parts: list[SongElement]) -> MixedSong | Failure:
    gather = GatherSong()
    accumulator = gather.create_accumulator()
    for part in parts:
        accumulator = gather.add_input(accumulator, part)
    return gather.extract_output(accumulator)


def test_any_order_and_grouping_gives_the_same_mix() -> None:
    parts: list[SongElement] = [SOURCE, plan(3, 6), chunk_mix(0), chunk_mix(1), chunk_mix(2)]
    expected = outcome(parts)
    assert isinstance(expected, MixedSong)
    assert expected.broken == (1,)
    for order in itertools.permutations(parts):
        gather = GatherSong()
        halves = []
        for half in (order[:2], order[2:]):
            accumulator = gather.create_accumulator()
            for part in half:
                accumulator = gather.add_input(accumulator, part)
            halves.append(accumulator)
        result = gather.extract_output(gather.merge_accumulators(halves))
        assert isinstance(result, MixedSong)
        assert result.mix.blocks.keys() == expected.mix.blocks.keys()
        for block, values in expected.mix.blocks.items():
            np.testing.assert_array_equal(result.mix.blocks[block], values)


def test_missing_and_repeated_chunks_fail_the_song() -> None:
    for chunk_mixes in (
        [chunk_mix(0)],
        [chunk_mix(0), chunk_mix(1), chunk_mix(1)],
        [chunk_mix(0), chunk_mix(0)],
        [chunk_mix(0), chunk_mix(1, notes=1)],
    ):
        result = outcome([SOURCE, plan(2, 4), *chunk_mixes])
        assert isinstance(result, Failure)
        assert (result.error, result.stage) == ("LostNotes", "mix")
        assert (result.code, result.digest) == ("notes-lost", plan(2, 4).digest)
        assert f"of {4} notes" in result.message


def test_a_song_of_which_only_the_file_is_known_is_lost() -> None:
    result = outcome([SOURCE])
    assert isinstance(result, Failure)
    assert (result.song_id, result.error, result.code) == ("a/x.mid", "LostSong", "song-lost")
    assert isinstance(outcome([plan(1, 2), chunk_mix(0)]), Failure)


def test_a_failure_wins_and_there_is_one_of_it() -> None:
    first = Failure("a/x.mid", "expand", "MidiError", "no notes")
    later = Failure("a/x.mid", "synthesize", "RuntimeError", "boom")
    assert outcome([SOURCE, later, chunk_mix(0), first]) == replace(first, source=SOURCE.url)


@pytest.mark.parametrize("combine_before_shuffle", [True, False])
def test_in_a_pipeline_every_song_comes_out_once(combine_before_shuffle: bool) -> None:
    failure = Failure("b.mid", "read", "MidiError", "bad")
    with BeamPipeline() as p:
        parts = [
            *(("a/x.mid", part) for part in (SOURCE, chunk_mix(1), plan(2, 4), chunk_mix(0))),
            ("b.mid", failure),
            ("b.mid", Source("b.mid", "/in/b.mid")),
            ("c.mid", Source("c.mid", "/in/c.mid")),
        ]
        outcomes = p | beam.Create(parts) | MixSongs(combine_before_shuffle)
        names = outcomes | beam.Map(lambda o: (type(o).__name__, getattr(o, "song_id", None) or o.source.song_id))
        assert_that(names, equal_to([("MixedSong", "a/x.mid"), ("Failure", "b.mid"), ("Failure", "c.mid")]))


class Watched(_Gathered):
    __hash__ = object.__hash__  # type: ignore[assignment]


def test_on_a_cluster_no_worker_holds_the_sums_of_many_songs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle on a cluster may have elements of thousands of songs, each of hundreds of MB."""
    alive: weakref.WeakSet[Watched] = weakref.WeakSet()
    most = 0

    def create(self: GatherSong) -> _Gathered:
        nonlocal most
        gathered = Watched()
        alive.add(gathered)
        most = max(most, len(alive))
        return gathered

    monkeypatch.setattr(GatherSong, "create_accumulator", create)
    songs = [f"{i}.mid" for i in range(50)]
    parts = [(name, Source(name, f"/in/{name}")) for _ in range(3) for name in songs]
    held = {}
    for combine_before_shuffle in (True, False):
        alive.clear()
        most = 0
        with BeamPipeline() as p:
            p | beam.Create(parts) | MixSongs(combine_before_shuffle)
        held[combine_before_shuffle] = most
    assert held[True] >= 50
    assert held[False] <= 2
