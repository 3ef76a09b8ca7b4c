"""Clips compared with the reference's combine_notes, and sums independent of order and partition."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.audio.envelope import envelope, peak_divisor, sustain_samples
from gansynth.audio.mix import BLOCK, UNIT, SparseMix, clip_samples, finish, merged
from gansynth.config import EnvelopeConfig, MixConfig
from tests.support.notes import snr

DATA = Path(__file__).parents[2] / "data" / "goldens"
CASES = json.loads((DATA / "combine_notes.json").read_text())
REFERENCE = MixConfig(peak=0.5, clip_peak="positive", tail="reference")


@pytest.mark.parametrize("name", sorted(CASES))
def test_equals_the_references_combine_notes(name: str) -> None:
    case, expected = CASES[name], np.load(DATA / "combine_notes.npz")[f"{name}_out"]
    n, config = len(case["start_times"]), EnvelopeConfig(max_sustain=3.0, note_peak="positive")
    audio = np.random.RandomState(case["audio_seed"]).standard_normal((n, case["length"])).astype(np.float32)
    assert hashlib.sha256(audio.tobytes()).hexdigest() == case["audio_sha256"]
    mix = SparseMix()
    start, end = np.array(case["start_times"]), np.array(case["end_times"])
    sustain = sustain_samples(end - start, config, 16000)
    for i in range(n):
        shape = envelope(int(sustain[i]), config, 16000)
        note = audio[i, : len(shape)] * shape
        mix.add(int(start[i] * 16000), note * (case["velocities"][i] / 127.0 / peak_divisor(note, "positive")))
    clip = finish(mix, clip_samples(end.max(), 0, REFERENCE, 16000), REFERENCE)
    assert clip.shape == expected.shape
    assert np.abs(clip - expected).max() < 2**-17  # below half a step of 16 bits
    assert snr(expected, clip) > 100


PIECES = st.lists(
    st.tuples(st.integers(0, 3 * BLOCK), st.integers(1, BLOCK + 50), st.integers(0, 2**31)), min_size=1, max_size=6
)


def sound(length: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, length)


def same(one: SparseMix, other: SparseMix) -> bool:
    return one.blocks.keys() == other.blocks.keys() and all(
        values.dtype == other.blocks[block].dtype and (values == other.blocks[block]).all()
        for block, values in one.blocks.items()
    )


@settings(max_examples=40)
@given(PIECES, st.data())
def test_order_and_grouping_do_not_matter(pieces: list[tuple[int, int, int]], data: st.DataObject) -> None:
    def mixed(some: list[tuple[int, int, int]]) -> SparseMix:
        mix = SparseMix()
        for start, length, seed in some:
            mix.add(start, sound(length, seed))
        return mix

    quantize = mixed(pieces).packed()
    shuffled = data.draw(st.permutations(pieces))
    assert same(mixed(shuffled).packed(), quantize)
    cut = data.draw(st.integers(0, len(pieces)))
    one, other = mixed(shuffled[:cut]).packed(), mixed(shuffled[cut:]).packed()
    assert same(merged([one, other]).packed(), quantize)
    assert same(merged([other, SparseMix(), one]).packed(), quantize)
    assert same(merged(mixed([piece]).packed() for piece in shuffled), quantize)
    dense = np.zeros(6 * BLOCK)
    for start, length, seed in pieces:
        dense[start : start + length] += sound(length, seed)
    found = finish(quantize, len(dense), MixConfig(clip_peak="none"))
    assert np.abs(found - dense).max() <= 0.51 * len(pieces) / UNIT + 1e-6


def test_merging_changes_neither_the_other_nor_a_copy() -> None:
    one, other = SparseMix(), SparseMix()
    other.add(0, np.ones(3))
    before = other.blocks[0].copy()
    one.merge(other)
    one.merge(other)
    one.add(1, np.ones(3))
    assert (other.blocks[0] == before).all()


def test_sums_beyond_32_bits() -> None:
    loud = SparseMix()
    loud.add(0, np.full(10, 1500.0))
    packed = loud.packed()
    assert packed.blocks[0].dtype == np.int32
    twice = merged([packed, packed])
    assert twice.blocks[0].dtype == np.int64
    assert (twice.blocks[0][:10] == 3000 * UNIT).all()
    assert twice.packed().blocks[0].dtype == np.int64
    negative = SparseMix()
    negative.add(0, np.full(10, -1500.0))
    assert merged([twice, negative]).blocks[0].dtype == np.int32  # and back
    assert finish(merged([twice, negative]), 10, MixConfig(clip_peak="none")).tolist() == [1500.0] * 10
    alone = SparseMix()
    alone.add(0, np.full(2, 5000.0))
    assert alone.packed().blocks[0].dtype == np.int64


def test_notes_that_add_up_beyond_32_bits() -> None:
    mix = SparseMix()
    for _ in range(3):
        mix.add(0, np.full(10, 1000.0))
    assert (mix.blocks[0][:10] == 3000 * UNIT).all()
    for _ in range(3):
        mix.add(0, np.full(10, -1000.0))
    assert not mix.packed().blocks[0].any()
    assert mix.packed().blocks[0].dtype == np.int32


def test_many_notes_that_never_sound_together_need_no_64_bits() -> None:
    mix = SparseMix()
    for block in range(3):
        for _ in range(1000):
            mix.add(block * BLOCK, np.full(10, 2.0))
    assert {values.dtype for values in mix.blocks.values()} == {np.dtype(np.int32)}
    assert (mix.blocks[2][:10] == 2000 * UNIT).all()


def test_only_where_there_is_sound() -> None:
    mix = SparseMix()
    mix.add(3600 * 16000, np.ones(100))
    assert len(mix.blocks) == 1
    assert mix.packed().nbytes == 4 * BLOCK
    mix.add(BLOCK - 1, np.ones(2))
    assert sorted(mix.blocks) == [0, 1, 3600 * 16000 // BLOCK]
    mix.add(5, np.zeros(0))
    assert len(mix.blocks) == 3


# The clip


def test_silence_stays_silent() -> None:
    for measure in ("positive", "absolute", "none"):
        assert finish(SparseMix(), 100, MixConfig(clip_peak=measure)).tolist() == [0.0] * 100
        zero = SparseMix()
        zero.add(0, np.zeros(10))
        assert not finish(zero, 100, MixConfig(clip_peak=measure)).any()
    assert finish(SparseMix(), 0, MixConfig()).shape == (0,)


def test_what_the_clip_is_measured_by() -> None:
    mix = SparseMix()
    mix.add(0, np.array([0.5, -2.0, 1.0]))
    measures = ("positive", "absolute", "none")
    clips = {measure: finish(mix, 3, MixConfig(peak=0.5, clip_peak=measure)) for measure in measures}
    assert clips["positive"].tolist() == [0.25, -1.0, 0.5]
    assert clips["absolute"].tolist() == [0.125, -0.5, 0.25]
    assert clips["none"].tolist() == [0.5, -2.0, 1.0]
    assert clips["none"].dtype == np.float32


def test_a_clip_that_is_never_positive_is_not_turned_over() -> None:
    mix = SparseMix()
    mix.add(0, np.full(BLOCK, -2.0))
    assert finish(mix, BLOCK, MixConfig(peak=0.5, clip_peak="positive"))[0] == -0.5


@given(st.integers(0, 3 * BLOCK))
def test_sound_beyond_the_end_is_cut(samples: int) -> None:
    mix = SparseMix()
    mix.add(0, np.ones(2 * BLOCK))
    clip = finish(mix, samples, MixConfig(peak=1))
    assert clip.shape == (samples,)
    assert (clip[: 2 * BLOCK] == 1).all()
    assert not clip[2 * BLOCK :].any()


def test_the_peak_is_reached() -> None:
    mix = SparseMix()
    mix.add(100, sound(3 * BLOCK, 1) * 37)
    assert np.abs(finish(mix, 4 * BLOCK, MixConfig(peak=0.9))).max() == pytest.approx(0.9)


def test_tails() -> None:
    reference, release = MixConfig(tail="reference"), MixConfig(tail="release")
    assert clip_samples(1.0, 777, reference, 16000) == 64000
    assert clip_samples(1.99, 777, reference, 16000) == 64000  # whole seconds
    assert clip_samples(0.0, 777, reference, 16000) == 48000
    assert clip_samples(1.0, 777, release, 16000) == 777
