"""NoteSequences read and written: note_seq's own tools make them of MIDI files, and MIDI files of ours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from gansynth.config import NotesConfig, SoundConfig
from gansynth.midi._note_seq import note_seq
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Channel, Notes, Song
from gansynth.score.instruments import Bank
from gansynth.score.plan import RenderPlan, plan_song
from gansynth.score.rendered_notes import to_note_sequence
from gansynth.score.spec import SynthSpec
from tests.support import midi_bytes as m

RATE = 16000
VOICE = SynthSpec(range(24, 85), RATE, 64000, Bank(("piano", "flute"), np.eye(2, 4), programs={73: 1}))


def song_bytes() -> bytes:
    """A flute that is bent by up to an octave and swells, a piano that fades, and drums of the kit 24."""
    swell = [m.cc(1000 + 100 * i, 11, 20 + 10 * i) for i in range(10)]
    glide = [m.bend(1000 + 50 * i, 400 * i) for i in range(20)]
    flute = m.track(m.program(0, 73), m.rpn(0, 0, 12), swell, glide, m.note(960, 2880, 60), m.note(3840, 5760, 64))
    fade = [m.cc(200 * i, 7, 100 - 10 * i, 1) for i in range(8)]
    piano = m.track(m.program(0, 0, 1), fade, m.cc(300, 1, 64, 1), m.note(0, 3000, 48, 1), m.note(3000, 4000, 52, 1))
    drums = m.track(m.program(0, 24, 9), *(m.note(480 * i, 480 * i + 100, 36 + 2 * i, 9) for i in range(6)))
    return m.midi(flute, piano, drums)


def table(notes: Notes) -> list[tuple[float, ...]]:
    columns = (notes.start, notes.end, notes.pitch, notes.velocity, notes.program, notes.is_drum)
    return sorted(zip(*(np.round(column.astype(float), 6).tolist() for column in columns), strict=True))


def states(song: Song) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Gain and bend every 10 ms of the channel of each program's first note, by program; drums apart."""
    times = np.arange(0.005, 6, 0.01)
    found = {}
    for program in np.unique(song.notes.program[~song.notes.is_drum]).tolist():
        n = np.flatnonzero((song.notes.program == program) & ~song.notes.is_drum)[0]
        assert song.notes.channel is not None
        state = song.channels.get(int(song.notes.channel[n]), Channel())
        found[program] = state.gain.at(times), state.bend.at(times)
    return found


def same_states(one: Song, other: Song, gain: float, bend: float) -> None:
    """Compares gains in dB and bends in semitones."""
    ours, theirs = states(one), states(other)
    assert ours.keys() == theirs.keys()
    for program, (gains, bends) in ours.items():
        assert np.abs(gains - theirs[program][0]).max() <= gain
        assert np.abs(bends - theirs[program][1]).max() <= bend


def rendered(song: Song) -> RenderPlan:
    return plan_song("x.mid", song, SoundConfig(), VOICE)[0]


def written(song: Song) -> note_seq.NoteSequence:
    plan = rendered(song)
    data = to_note_sequence(plan.notes, plan.instruments, RATE, plan.channels, "x.mid")
    return note_seq.NoteSequence.FromString(data)


def test_a_note_sequence_is_heard_as_the_file_that_note_seq_made_it_of(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(song_bytes())
    song = load_midi(song_bytes())
    again = load_midi(note_seq.midi_file_to_note_sequence(str(tmp_path / "a.mid")))
    assert len(song.notes) == 10
    assert table(again.notes) == table(song.notes)
    assert states(song)[73][1].max() > 5
    assert states(song)[0][0].min() < -10
    same_states(song, again, 1e-5, 1e-5)
    assert again.ignored == song.ignored == {"modulation": 1}
    assert again.digest.startswith("sha256:")


def test_with_the_reader_note_seq_it_is_read_as_magenta_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(song_bytes())
    sequence = note_seq.midi_file_to_note_sequence(str(tmp_path / "a.mid"))
    plain = load_midi(sequence, NotesConfig(reader="note_seq"))
    assert (plain.channels, plain.notes.channel) == ({}, None)
    assert table(plain.notes) == table(load_midi(sequence).notes)


def test_what_is_written_is_what_was_heard() -> None:
    song = load_midi(song_bytes())
    sequence = written(song)
    assert (sequence.id, sequence.filename) == ("x.mid", "x.mid")
    assert sequence.total_time == pytest.approx(song.notes.span, abs=1e-4)
    assert {info.name for info in sequence.instrument_infos} >= {"flute"}
    assert {note.program for note in sequence.notes if note.is_drum} == {24}
    again = load_midi(sequence)
    for mine, theirs in zip(table(again.notes), table(song.notes), strict=True):
        assert mine[2:] == theirs[2:]
        assert mine[0] == pytest.approx(theirs[0], abs=1 / RATE)
        if not mine[5]:  # drum hits last as long as they sound
            assert mine[1] == pytest.approx(theirs[1], abs=2 / RATE)
    # Volume has 127 steps: 2.7 dB apart at 6, 0.2 dB at 100.
    same_states(song, again, 1.4, 12 / 8192)
    assert written(song) == sequence


def test_note_seq_writes_our_sequences_to_midi_with_their_bends() -> None:
    song, file = load_midi(song_bytes()), io.BytesIO()
    note_seq.note_sequence_to_pretty_midi(written(song)).write(file)
    again = load_midi(file.getvalue())
    for mine, theirs in zip(table(again.notes), table(song.notes), strict=True):
        assert mine[2:5] == theirs[2:5] or theirs[5]
        assert mine[0] == pytest.approx(theirs[0], abs=0.001)
    ours, theirs = states(song), states(again)
    for program in (0, 73):
        gain, bend = (np.abs(one - other) for one, other in zip(ours[program], theirs[program], strict=True))
        assert (bend > 12 / 8192).mean() < 0.02  # steps are up to a tick early or late
        assert (gain > 1.4).mean() < 0.02


def test_odd_sequences_are_read_or_refused_by_name() -> None:
    sequence = note_seq.NoteSequence()
    sequence.notes.add(pitch=60, velocity=80, start_time=0.0, end_time=1.0, instrument=2_000_000_000)
    sequence.control_changes.add(time=float("nan"), control_number=7, control_value=1, instrument=2_000_000_000)
    sequence.control_changes.add(time=0.5, control_number=900, control_value=1)
    sequence.control_changes.add(time=0.5, control_number=7, control_value=-5, instrument=-3)
    sequence.pitch_bends.add(time=0.5, bend=1 << 30, instrument=2_000_000_000)
    song = load_midi(sequence)
    ((_, state),) = song.channels.items()
    assert state.bend.values.tolist() == pytest.approx([2.0], abs=0.001)
    assert not len(state.gain)


def test_each_of_many_instruments_has_its_own_channel_and_none_sets_up_a_zone() -> None:
    sequence = note_seq.NoteSequence()
    for instrument in range(60):
        sequence.notes.add(pitch=60, velocity=80, start_time=0.0, end_time=1.0, instrument=instrument)
        for control, value in ((101, 0), (100, 6), (6, 15)):  # MPE configuration
            sequence.control_changes.add(time=0.0, control_number=control, control_value=value, instrument=instrument)
        sequence.pitch_bends.add(time=0.5, bend=100 * instrument - 3050, instrument=instrument)
    song = load_midi(sequence)
    assert song.notes.channel is not None
    bends = [song.channels[number].bend.values.tolist() for number in song.notes.channel.tolist()]
    assert bends == [[pytest.approx((100 * instrument - 3050) / 4096)] for instrument in range(60)]
