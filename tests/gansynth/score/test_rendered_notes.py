"""Files of the notes that are heard: small, readable by other programs, and aligned to the audio."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.config import SoundConfig
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Notes, Song
from gansynth.score import rendered_notes
from gansynth.score.instruments import Bank
from gansynth.score.plan import RenderPlan, plan_song
from gansynth.score.spec import SynthSpec
from tests.support.notes import make_notes

RATE = 16000
BANK = Bank(("piano", "flute", "bass"), np.eye(3, 4), programs={73: 1, 33: 2})
VOICE = SynthSpec(range(24, 85), RATE, 64000, BANK)


def score_of(song: Notes, /, **sections: dict[str, Any]) -> RenderPlan:
    return plan_song("x.mid", Song(song, ""), SoundConfig.model_validate(sections), VOICE)[0]


def midi_of(plan: RenderPlan) -> bytes:
    return rendered_notes.to_midi(plan.notes, plan.instruments, RATE)


def table_of(plan: RenderPlan) -> dict[str, Any]:
    return json.loads(rendered_notes.to_json(plan.notes, plan.instruments, RATE))


def apart(rows: list[tuple[int, int, int, int, int]]) -> Notes:
    """Draws notes without overlaps of equal pitch and program, which a MIDI file cannot represent."""
    free: dict[tuple[int, int], int] = {}
    found = []
    for pitch, gap, length, velocity, program in rows:
        start = free.get((pitch, program), 0) + gap
        free[pitch, program] = start + length
        found.append((pitch, start / 1000, (start + length) / 1000, velocity, program))
    return make_notes(*found)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(24, 84),
            st.integers(0, 5000),
            st.integers(1, 3000),
            st.integers(1, 127),
            st.sampled_from([0, 33, 73, 127]),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_midi_reads_back_as_the_notes_that_were_played(rows: list[tuple[int, int, int, int, int]]) -> None:
    notes = apart(rows)
    again = load_midi(midi_of(score_of(notes))).notes

    def table(one: Notes) -> list[tuple[int, ...]]:
        columns = (np.rint(1000 * one.start), np.rint(1000 * one.end), one.pitch, one.velocity, one.program)
        return sorted(zip(*(column.astype(int).tolist() for column in columns), strict=True))

    assert table(again) == table(notes)


def test_midi_says_what_is_heard_and_not_what_was_written() -> None:
    notes = make_notes((90, 0, 1, 100, 73), (60, 1, 9, 50, 0), (36, 1, 2, 50, 0, 1))
    again = load_midi(
        midi_of(score_of(notes, notes={"time_stretch": 2.0, "out_of_range": "fold"}, envelope={"max_sustain": 3}))
    ).notes
    assert again.pitch.tolist() == [78, 60, 36]  # folded
    assert again.start.tolist() == [0, 2, 2]
    assert again.end.tolist()[:2] == [2, 5]  # sustained for 3 s at most
    assert again.is_drum.tolist() == [False, False, True]
    assert again.program.tolist()[:2] == [73, 0]


def test_midi_tracks_carry_program_channel_and_instrument() -> None:
    notes = make_notes((60, 1, 2, 100, 73), (60, 0, 1, 100, 0), (40, 3, 4, 100, 0, 1), (41, 0, 0, 9, 5))
    file = mido.MidiFile(file=io.BytesIO(midi_of(score_of(notes, notes={"drums": "play"}))))
    assert file.ticks_per_beat == 1000
    assert [track.name for track in file.tracks] == ["", "piano", "bass", "flute", "bass"]
    programs = [m.program for track in file.tracks for m in track if m.type == "program_change"]
    assert programs == [0, 5, 73]
    channels = [{m.channel for m in track if hasattr(m, "channel")} for track in file.tracks[1:]]
    assert channels == [{0}, {1}, {2}, {9}]
    # A note without length still has one in MIDI, for readers drop it otherwise.
    (empty,) = [track for track in file.tracks if any(m.type == "note_on" and m.note == 41 for m in track)]
    assert [m.time for m in empty if m.type == "note_on"] == [0, 1]


def test_many_parts_never_take_the_drums_channel() -> None:
    notes = make_notes(*((60, 0, 1, 100, program) for program in range(128)))
    file = mido.MidiFile(file=io.BytesIO(midi_of(score_of(notes))))
    assert len(file.tracks) == 129
    channels = [m.channel for track in file.tracks for m in track if m.type == "program_change"]
    assert set(channels) == set(range(16)) - {9}


@pytest.mark.parametrize("name", ["\udcff", "日本語", "a\x00b\n", "x" * 70000])
def test_any_name_of_an_instrument_can_be_written(name: str) -> None:
    spec = SynthSpec(VOICE.pitches, RATE, 64000, Bank((name,), np.eye(1, 4)))
    plan, _ = plan_song("x.mid", Song(make_notes((60, 0, 1)), ""), SoundConfig(), spec)
    assert len(load_midi(midi_of(plan)).notes) == 1
    assert table_of(plan)["instruments"] == [name]


def test_json_is_exact_to_the_sample() -> None:
    notes = make_notes(*((60, i / 16000 + i * 0.37, i * 0.4 + 1) for i in range(200)))
    plan = score_of(notes)
    table = table_of(plan)
    columns = table["notes"]
    assert {len(column) for column in columns.values()} == {200}
    np.testing.assert_array_equal(np.rint(np.array(columns["start"]) * RATE), plan.notes.start)
    np.testing.assert_array_equal(np.rint(np.array(columns["end"]) * RATE), plan.notes.start + plan.notes.sustain)
    assert table["release_seconds"] == 0.3
    last = np.rint((max(columns["end"]) + table["release_seconds"]) * RATE)
    assert last == plan.samples


def test_json_names_the_instruments_between_which_a_note_lies() -> None:
    notes = make_notes((60, 0, 1), (62, 5, 6), (64, 10, 10.5))
    instruments = {"mode": "interpolate", "instruments": ["flute", "bass"], "times": [0, 1]}
    table = table_of(score_of(notes, instruments=instruments))
    assert table["instruments"] == ["flute", "bass"]
    assert table["notes"]["instrument"] == [0, 0, 0]
    assert table["notes"]["next_instrument"] == [1, 1, 1]
    assert table["notes"]["fraction"] == pytest.approx([0.001, 0.477, 0.952], abs=2e-3)
    table = table_of(score_of(make_notes((60, 0, 1, 100, 33), (60, 0, 1, 100, 73))))
    assert [table["instruments"][i] for i in table["notes"]["instrument"]] == ["bass", "flute"]
    assert table["notes"]["fraction"] == [0, 0]


def test_notes_that_came_out_silent_are_left_out() -> None:
    plan = score_of(make_notes(*((60 + i, i, i + 1) for i in range(5))))
    assert plan.notes.without(()) is plan.notes
    left = plan.notes.without((1, 3))
    assert left.pitch.tolist() == [60, 62, 64]
    assert left.start.tolist() == [0, 32000, 64000]
    assert left.release == plan.notes.release


def test_a_large_song_stays_small() -> None:
    random = np.random.default_rng(0)
    start = np.sort(random.uniform(0, 3500, 200_000))
    notes = Notes(
        pitch=random.integers(24, 85, 200_000).astype(np.int16),
        velocity=random.integers(1, 128, 200_000).astype(np.int16),
        start=start,
        end=start + random.exponential(1, 200_000),
        program=random.integers(0, 128, 200_000).astype(np.int16),
        track=random.integers(0, 99, 200_000).astype(np.int32),
        is_drum=np.zeros(200_000, np.bool_),
    )
    assert len(pickle.dumps(score_of(notes))) < 5_200_000


def test_same_notes_same_bytes() -> None:
    notes = make_notes(*((60 + i % 20, i * 0.1, i * 0.1 + 1, 100, i % 7) for i in range(100)))
    assert midi_of(score_of(notes)) == midi_of(score_of(notes))
    assert table_of(score_of(notes)) == table_of(score_of(notes))
