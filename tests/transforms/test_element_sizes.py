"""Sizes of elements are bounded for any song: 60,000 notes in a minute, or the longest allowed song."""

from __future__ import annotations

import pickle
from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
from numpy.typing import NDArray

from gansynth.config import SoundConfig, StemsConfig
from gansynth.midi.notes import Notes, Song
from gansynth.model.checkpoint import PITCHES
from gansynth.rendering.player import play
from gansynth.score.instruments import random_bank
from gansynth.score.plan import plan_song
from gansynth.score.spec import SynthSpec
from tests.support.fakes import Noise
from transforms.elements import ReadSong, Source
from transforms.mix_songs import GatherSong, MixedSong

MB = 1_000_000
ELEMENT = 64 * MB
"""Maximum size of an element in bytes: far below a gRPC message's 2 GiB and the memory of a worker's threads."""
GROUP = 1000 * MB
"""All parts of one song together; they are read one by one."""
LONGEST = SoundConfig().notes.max_song_seconds


def song(start: NDArray[np.float64], length: float) -> Song:
    n = len(start)
    pitch = np.resize(np.arange(24, 85, 5), n).astype(np.int16)
    zeros = np.zeros(n, np.int16)
    velocity = np.full(n, 127, np.int16)
    notes = Notes(
        pitch=pitch,
        velocity=velocity,
        start=start,
        end=start + length,
        program=zeros,
        track=zeros.astype(np.int32),
        is_drum=zeros.astype(np.bool_),
    )
    return Song(notes, "sha256:0")


SONGS = {
    "60,000 notes in a minute": (song(np.sort(np.random.default_rng(1).uniform(0, 60, 60_000)), 0.1), 60_000),
    "an hour of long notes": (song(np.arange(0, LONGEST - 8, 3.0), 3.0), 1_000),
    "an hour of short notes, far apart": (song(np.arange(0, LONGEST - 8, 1.1), 0.01), 3_000),
    "an hour with all the notes there may be": (song(np.linspace(0, LONGEST - 8, 199_000), 0.05), 199_000),
}


@pytest.mark.parametrize("name", SONGS)
def test_elements_and_groups_stay_small(name: str) -> None:
    made, least = SONGS[name]
    config = SoundConfig()
    spec = SynthSpec(PITCHES, 16000, 64000, random_bank(8, 256, 0))
    source = Source("song.mid", "gs://bucket/song.mid", 1)
    plan, chunks = plan_song(source.song_id, made, config, spec)
    assert len(plan.notes) >= least
    # The coder of these elements pickles them, so pickles are measured.
    assert encoded(ReadSong(source, made)) < ELEMENT
    assert encoded(plan) < ELEMENT
    gather = GatherSong()
    accumulator = gather.create_accumulator()
    sizes = []
    some = chunks[:: 1 + len(chunks) // 24]
    for chunk in some:
        assert encoded(chunk) < MB
        (chunk_mix,) = play([chunk], Noise(), config.envelope)  # type: ignore[arg-type]
        sizes.append(encoded(chunk_mix))
        accumulator = gather.add_input(accumulator, chunk_mix)
    print(f"{name}: {len(chunks)} chunks, bars of {np.mean(sizes) / MB:.2f} MB, at most {max(sizes) / MB:.2f}")
    assert max(sizes) < ELEMENT
    assert sum(sizes) * len(chunks) / len(some) < GROUP
    if len(some) == len(chunks):
        for part in (source, plan):
            accumulator = gather.add_input(accumulator, part)
        mixed = gather.extract_output(accumulator)
        assert isinstance(mixed, MixedSong)
        assert encoded(mixed) < 4 * MB + 1.1 * LONGEST * 16000 * 4


def test_stems_of_the_longest_song_stay_small_together() -> None:
    made, _ = SONGS["an hour with all the notes there may be"]
    notes = replace(made.notes, track=(np.arange(len(made.notes)) % 40).astype(np.int32))
    config = SoundConfig(stems=StemsConfig(by="track"))
    spec = SynthSpec(PITCHES, 16000, 64000, random_bank(8, 256, 0))
    plan, chunks = plan_song("song.mid", Song(notes, "sha256:0"), config, spec)
    assert 1 < len(plan.stems) < 10
    total = 0.0
    for stem in range(len(plan.stems)):
        mine = [chunk for chunk in chunks if chunk.stem == stem]
        some = mine[:: 1 + len(mine) // 4]
        sizes = [encoded(play([chunk], Noise(), config.envelope)[0]) for chunk in some]
        assert max(sizes) < ELEMENT
        total += sum(sizes) * len(mine) / len(some)
    assert total < GROUP


def encoded(element: object) -> int:
    size = len(beam.coders.registry.get_coder(object).encode(element))
    assert size < 2 * len(pickle.dumps(element, 5)) + 1000
    return size
