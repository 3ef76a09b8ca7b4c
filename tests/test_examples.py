"""The example songs: the committed files are those that the script writes, and contain the stated music."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mido
import note_seq
import pytest

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "pipeline" / "examples"
SIXTEENTHS_PER_BAR = 16

Sequence = note_seq.NoteSequence


def load(name: str) -> Sequence:
    return note_seq.midi_to_note_sequence((COMMITTED / f"{name}.mid").read_bytes())


def onsets(name: str, bar: int, instrument: int = 0) -> list[tuple[int, int]]:
    """Returns (sixteenth of the bar, pitch) of the notes that one instrument begins in a bar."""
    file = mido.MidiFile(COMMITTED / f"{name}.mid")
    ticks_per_sixteenth = file.ticks_per_beat // 4
    found, now = [], 0
    for message in file.tracks[instrument + 1]:
        now += message.time
        sixteenth = now // ticks_per_sixteenth - SIXTEENTHS_PER_BAR * (bar - 1)
        if message.type == "note_on" and 0 <= sixteenth < SIXTEENTHS_PER_BAR:
            found.append((sixteenth, message.note))
    return found


def pitches(name: str, bar: int) -> list[int]:
    return [pitch for _, pitch in onsets(name, bar)]


def test_the_script_writes_the_committed_bytes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "examples" / "make_examples.py", tmp_path], check=True)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in COMMITTED.glob("*.mid")}
    assert written == committed
    assert len(committed) == 3
    assert sum(map(len, committed.values())) < 50_000


@pytest.mark.parametrize(
    ("name", "seconds", "notes", "programs"),
    [
        ("bach_prelude_bwv846", (125, 140), 32 * 16 + 2 * 16 + 5, {0}),
        ("bach_cello_suite_bwv1007", (130, 145), 41 * 16 - 3 + 3, {42}),
        ("riff", (30, 42), 591, {4, 33, 19, 73, 11}),
    ],
)
def test_each_song_parses_as_a_note_sequence(
    name: str, seconds: tuple[float, float], notes: int, programs: set[int]
) -> None:
    song = load(name)
    assert seconds[0] < song.total_time < seconds[1]
    assert len(song.notes) == notes
    assert {note.program for note in song.notes if not note.is_drum} == programs
    assert all(24 <= note.pitch <= 84 for note in song.notes)
    assert all(note.end_time - note.start_time > 0.05 for note in song.notes)
    assert all(30 < note.velocity < 110 for note in song.notes)
    assert (song.time_signatures[0].numerator, song.time_signatures[0].denominator) == (4, 4)
    assert len(song.tempos) > 1
    assert all(info.name for info in song.instrument_infos)


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("*.mid")), ids=lambda path: path.stem)
def test_every_note_ends_before_it_is_struck_again(path: Path) -> None:
    file = mido.MidiFile(path)
    assert file.type == 1
    for track in file.tracks:
        assert track.name
        sounding: set[tuple[int, int]] = set()
        for message in track:
            if message.type == "note_on":
                assert (message.channel, message.note) not in sounding
                sounding.add((message.channel, message.note))
            elif message.type == "note_off":
                sounding.remove((message.channel, message.note))
        assert not sounding


def test_the_prelude_opens_on_the_broken_c_major_chord() -> None:
    half = [60, 64, 67, 72, 76, 67, 72, 76]
    assert onsets("bach_prelude_bwv846", 1) == list(enumerate(half * 2))
    assert onsets("bach_prelude_bwv846", 4) == onsets("bach_prelude_bwv846", 1)


def test_the_prelude_holds_its_two_lower_voices() -> None:
    song = load("bach_prelude_bwv846")
    quarter = 60 / song.tempos[0].qpm
    lengths = {note.pitch: (note.end_time - note.start_time) / quarter for note in song.notes[:8]}
    assert lengths == pytest.approx({60: 2, 64: 1.75, 67: 0.25, 72: 0.25, 76: 0.25}, rel=1e-3)


def test_the_prelude_has_the_chromatic_bass_and_the_score_s_last_bars() -> None:
    bass = [pitches("bach_prelude_bwv846", bar)[0] for bar in range(19, 33)]
    assert bass == [48, 48, 41, 42, 44, *[43] * 8, 36]
    assert pitches("bach_prelude_bwv846", 33)[2:8] == [53, 57, 60, 65, 60, 57]
    assert pitches("bach_prelude_bwv846", 34)[-3:] == [65, 64, 62]
    assert pitches("bach_prelude_bwv846", 35) == [36, 48, 64, 67, 72]


def test_the_cello_suite_follows_the_score() -> None:
    assert onsets("bach_cello_suite_bwv1007", 1) == list(enumerate([43, 50, 59, 57, 59, 50, 59, 50] * 2))
    # The pause on D in bar 22 is the one long note between the first bar and bar 29.
    assert onsets("bach_cello_suite_bwv1007", 22)[5:8] == [(5, 61), (6, 62), (9, 45)]
    assert pitches("bach_cello_suite_bwv1007", 38)[::2] == [59, 60, 61, 62, 63, 64, 65, 66]
    assert pitches("bach_cello_suite_bwv1007", 42) == [43, 59, 67]


def test_the_riff_has_drums_and_a_sustain_pedal_on_the_keys() -> None:
    song = load("riff")
    assert {note.pitch for note in song.notes if note.is_drum} == {36, 37, 38, 42, 43, 45, 48, 49, 51}
    pedal = [change for change in song.control_changes if change.control_number == 64]
    assert [change.control_value for change in pedal] == [127, 0] * 9
    assert {change.program for change in pedal} == {4}
    assert pitches("riff", 1) == [62, 69, 74, 77, 76, 74, 69, 65]
