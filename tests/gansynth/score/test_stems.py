"""Stems, which contain every note and are bounded in number and memory; and panning positions."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.audio.mix import BLOCK, FixedPointNote
from gansynth.config import SoundConfig, StemsConfig
from gansynth.midi.note_seq import _pan
from gansynth.midi.notes import Notes, Song
from gansynth.score import stems
from gansynth.score.instruments import Bank, random_bank
from gansynth.score.panning import gains, panned
from gansynth.score.plan import plan_song
from gansynth.score.schedule import Schedule
from gansynth.score.spec import SynthSpec
from tests.support.notes import make_notes

VOICE = SynthSpec(range(24, 85), 16000, 64000, random_bank(129, 4, 0))


def schedule(count: int) -> Schedule:
    zeros = np.zeros(count, np.int32)
    return Schedule(np.zeros((1, 4)), ("piano",), zeros, zeros, np.zeros(count))


def sort_notes(track: np.ndarray, start: np.ndarray, samples: np.ndarray, max_files: int = 32, channels: int = 1):  # type: ignore[no-untyped-def]
    config = StemsConfig(by="track", max_files=max_files)
    names = {int(t): f"t{t}" for t in track}
    found = stems.sort_notes(config, schedule(len(track)), track, names, start, samples, channels)
    assert found is not None
    return found


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 10**7), st.integers(0, 60_000)), min_size=1, max_size=300))
def test_no_more_stems_than_may_be_and_the_longest_have_their_own(rows: list[tuple[int, int, int]]) -> None:
    track, start, samples = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    found = sort_notes(track.astype(np.int32), start, samples, max_files=8)
    groups = np.unique(track)
    assert len(found.names) == min(8, len(groups))
    assert (found.names[-1] == stems.REST) == (len(groups) > 8)
    assert found.number.max() + 1 == len(found.names)
    sounding = {int(t): int(samples[track == t].sum()) for t in groups}
    own = {name for name in found.names if name != stems.REST}
    for t in groups:
        (number,) = set(found.number[track == t].tolist())
        assert found.names[number] == (f"t{t}" if f"t{t}" in own else stems.REST)
    shared = [sounding[int(t)] for t in groups if f"t{t}" not in own]
    assert max(shared, default=0) <= min(sounding[int(name[1:])] for name in own)
    first = [int(np.flatnonzero(found.number == n)[0]) for n in range(len(own))]
    assert first == sorted(first)


@pytest.mark.parametrize("channels", [1, 2])
def test_stems_of_a_long_song_stay_in_bounds(channels: int) -> None:
    blocks = 3600 * 16000 // BLOCK
    start = np.tile(np.arange(blocks, dtype=np.int64) * BLOCK, 30)
    track = np.repeat(np.arange(30, dtype=np.int32), blocks)
    samples = np.full(len(start), 100) + track
    found = sort_notes(track, start, samples, channels=channels)
    touched = len(np.unique(found.number * np.int64(blocks) + start // BLOCK))
    assert touched * 4 * BLOCK * channels <= stems.MAX_BYTES
    assert found.names == ({1: ("t28", "t29", stems.REST), 2: (stems.REST,)}[channels])


def test_a_stem_holds_notes_of_one_kind_and_the_numbers_come_back() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (int(rng.integers(30, 80)), s := float(rng.uniform(0, 60)), s + 0.2, 100, int(rng.integers(0, 5)))
        for _ in range(1500)
    ]
    config = SoundConfig(stems=StemsConfig(by="instrument"))
    plan, chunks = plan_song("x.mid", Song(make_notes(*rows), ""), config, VOICE)
    assert len(plan.stems) == 5
    assert plan.notes.stem is not None
    place = 0
    for chunk in chunks:
        assert chunk.first_note == place
        numbers = list(plan.note_rows(range(place, place + len(chunk))))
        place += len(chunk)
        assert set(plan.notes.stem[numbers].tolist()) == {chunk.stem}
        np.testing.assert_array_equal(plan.notes.start[numbers], chunk.notes.start)
        np.testing.assert_array_equal(plan.notes.pitch[numbers], chunk.notes.pitch)
    assert place == len(rows)
    assert plan.note_rows([]) == ()


def test_a_sliding_note_belongs_to_the_nearer_instrument_and_namesakes_are_one() -> None:
    bank = Bank(("a", "b"), np.eye(2))
    notes = make_notes(*((60, i, i + 0.5) for i in range(10)))
    config = SoundConfig.model_validate(
        {
            "instruments": {"mode": "interpolate", "instruments": ["a", "b", "a"], "times": [0, 0.5, 1]},
            "stems": {"by": "instrument"},
        }
    )
    plan, _ = plan_song("x.mid", Song(notes, ""), config, SynthSpec(range(24, 85), 16000, 64000, bank))
    assert plan.stems == ("a", "b")
    assert plan.notes.stem is not None
    assert plan.notes.stem.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0]


@given(st.integers(0, 127))
def test_panning_keeps_the_power(position: int) -> None:
    left, right = gains(position)
    assert left**2 + right**2 == pytest.approx(1)
    assert min(left, right) >= 0
    assert (left > right) == (position < 64)
    note = FixedPointNote(np.array([1000, -2000, 3], np.int32), 2000)
    stereo = panned(note, position)
    assert stereo.samples.dtype == np.int32
    assert np.abs(stereo.samples).max() <= stereo.peak
    np.testing.assert_allclose(stereo.samples, [note.samples * left, note.samples * right], atol=0.5)


def test_ends_and_middle_of_the_stage() -> None:
    assert gains(0) == gains(1) == (1.0, 0.0)
    assert gains(127) == (0.0, 1.0)
    assert gains(64) == (gains(64)[1], pytest.approx(math.sqrt(0.5)))


def test_a_note_without_a_controller_is_in_the_middle() -> None:
    notes: Notes = make_notes((60, 0, 1), (62, 1, 2))
    config = SoundConfig.model_validate({"mix": {"panning": "midi"}})
    plan, (chunk,) = plan_song("x.mid", Song(notes, ""), config, VOICE)
    assert chunk.notes.pan is not None
    assert chunk.notes.pan.tolist() == [64, 64]
    assert plan.notes.without([0]).pan is not None


CHANGES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 127)), max_size=30)


@settings(max_examples=60)
@given(CHANGES, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=20))
def test_each_note_is_where_its_tracks_controller_was_last(
    changes: list[tuple[int, int, int]], rows: list[tuple[int, int]]
) -> None:
    events = [SimpleNamespace(instrument=track, time=time / 7, control_value=value) for track, time, value in changes]
    notes = replace(
        make_notes(*((60, start / 7, start / 7 + 1) for _, start in rows)),
        track=np.array([track for track, _ in rows], np.int32),
    )
    found = _pan(notes, events)
    expected = []
    for track, start in rows:
        before = [(time, i, value) for i, (t, time, value) in enumerate(changes) if t == track and time <= start]
        expected.append(max(before)[2] if before else 64)
    assert (found is None and not changes) or (found is not None and found.tolist() == expected)
