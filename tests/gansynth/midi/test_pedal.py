"""Sustain pedal compared with note_seq, note by note."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gansynth.config import NotesConfig
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Notes
from gansynth.midi.pedal import hold

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "midi" / "good"
FILES = [*sorted(ROOT.glob("tests/data/midi/s*.mid")), *sorted(ROOT.glob("pipeline/examples/*.mid"))]
FILES += sorted(SHARED.glob("*.mid")) if SHARED.is_dir() else []

TIME = st.integers(0, 12).map(lambda time: time / 4)
NOTES = st.lists(st.tuples(TIME, TIME.filter(bool), st.integers(60, 62), st.integers(0, 1), st.booleans()), max_size=14)
PEDAL = st.lists(st.tuples(TIME, st.integers(0, 1), st.integers(0, 127)), max_size=10)


def note_seqs(content: bytes) -> Notes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import note_seq

        held = note_seq.apply_sustain_control_changes(note_seq.midi_to_note_sequence(content)).notes
    columns = {
        "pitch": [note.pitch for note in held],
        "velocity": [note.velocity for note in held],
        "start": [note.start_time for note in held],
        "end": [note.end_time for note in held],
        "program": [note.program for note in held],
        "track": [note.instrument for note in held],
        "is_drum": [note.is_drum for note in held],
    }
    return Notes(**{name: np.array(values) for name, values in columns.items()})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_real_songs_sound_as_with_note_seq(path: Path) -> None:
    song = load_midi(path, NotesConfig(reader="note_seq", sustain_pedal=True))
    for name, theirs in vars(note_seqs(path.read_bytes())).items():
        if name != "pan":  # note_seq's notes have no pan
            np.testing.assert_array_equal(getattr(song.notes, name), theirs)


@given(NOTES, PEDAL)
@example([(0.0, 1.0, 60, 0, False), (0.0, 1.0, 60, 0, False)], [(0.0, 0, 127), (3.0, 0, 0)])
@example([(0.0, 1.0, 60, 0, False), (1.0, 1.0, 60, 0, False)], [(0.5, 0, 127), (1.0, 0, 0), (1.0, 0, 127)])
def test_any_notes_and_pedals_as_with_note_seq(
    notes: list[tuple[float, float, int, int, bool]], pedal: list[tuple[float, int, int]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import note_seq
    sequence = note_seq.NoteSequence()
    for start, length, pitch, track, drum in notes:
        sequence.notes.add(
            start_time=start, end_time=start + length, pitch=pitch, velocity=9, instrument=track, is_drum=drum
        )
    for at, track, value in pedal:
        sequence.control_changes.add(time=at, control_number=64, control_value=value, instrument=track)
    expected = note_seq.apply_sustain_control_changes(sequence).notes
    pitched = [note for note in notes if not note[4]]
    start, length, pitch, track = (np.array([note[i] for note in pitched], float) for i in range(4))
    end, kept = hold(
        start,
        start + length,
        pitch.astype(int),
        track.astype(int),
        np.array([at for at, _, _ in pedal], float),
        np.array([track for _, track, _ in pedal], int),
        np.array([value >= 64 for _, _, value in pedal], bool),
    )
    found = list(zip(start[kept], end[kept], pitch[kept], track[kept], strict=True))
    assert found == [(n.start_time, n.end_time, n.pitch, n.instrument) for n in expected if not n.is_drum]


def test_time_grows_with_the_number_of_notes_alone() -> None:
    # note_seq searches all active notes for each that ends, and all notes for each that is struck twice.
    count = 100_000
    start = np.arange(count) / 1000
    pitch = np.arange(count) % 128
    end = 200.0 - pitch / 1000  # all at once, the last struck first
    track = np.zeros(count, int)
    twice = (np.concatenate([column, column]) for column in (start, end, pitch, track))
    began = time.process_time()
    held, kept = hold(*twice, np.array([50.0, 201.0]), np.zeros(2, int), np.array([True, False]))
    assert time.process_time() - began < 5
    assert kept.sum() == 200_000 - count // 2
    assert held.max() == 201.0
