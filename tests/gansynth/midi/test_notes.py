"""MIDI files compared with the reference's reader, policies that count every note, and files that are not MIDI."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import warnings
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import gansynth
from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.io import files
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Notes, Timeline
from gansynth.midi.repair import MAX_TICKS
from gansynth.score.policies import apply_policies
from tests.support.notes import make_notes

DATA = Path(__file__).parents[2] / "data"
SONGS: dict[str, Any] = json.loads((DATA / "goldens" / "load_midi.json").read_text())
PLAYABLE = [name for name, song in SONGS.items() if "exception" not in song]
REFERENCE = NotesConfig(
    reader="note_seq",
    min_pitch=36,
    max_pitch=84,
    out_of_range="drop",
    drums="play",
    sustain_pedal=False,
    salvage="off",
)


def midi(*messages: Any, division: int = 480) -> bytes:
    file = mido.MidiFile(ticks_per_beat=division)
    file.tracks.append(mido.MidiTrack(messages))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def test_there_are_goldens() -> None:
    assert len(PLAYABLE) == 12
    assert set(SONGS) == {path.name for path in (DATA / "midi").iterdir()}


@pytest.mark.parametrize("salvage", ["off", "safe", "aggressive"])
@pytest.mark.parametrize("name", PLAYABLE)
def test_every_note_is_note_seqs(name: str, salvage: str) -> None:
    config = REFERENCE.model_copy(update={"salvage": salvage})
    notes, expected = load_midi(DATA / "midi" / name, config).notes, SONGS[name]["ns_notes"]
    assert len(notes) == SONGS[name]["ns_num_notes"]
    columns = (notes.pitch, notes.velocity, notes.start, notes.end, notes.is_drum, notes.track, notes.program)
    found = [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    assert found == expected
    assert (notes.pitch.dtype, notes.start.dtype, notes.is_drum.dtype) == (np.int16, np.float64, np.bool_)


@pytest.mark.parametrize("name", PLAYABLE)
def test_selection_is_the_references(name: str) -> None:
    song, expected = load_midi(str(DATA / "midi" / name), REFERENCE), SONGS[name]
    if not expected["pitches"]:
        with pytest.raises(MidiError):
            apply_policies(song.notes, REFERENCE)
        return
    notes, counts = apply_policies(song.notes, REFERENCE)
    assert notes.pitch.tolist() == expected["pitches"]
    assert notes.velocity.tolist() == expected["velocities"]
    assert notes.start.tolist() == expected["start_times"]
    assert notes.end.tolist() == expected["end_times"]
    assert counts["played"] == len(expected["pitches"])
    assert counts["total"] == expected["ns_num_notes"]


@pytest.mark.parametrize("name", sorted(set(SONGS) - set(PLAYABLE)))
def test_what_the_reference_cannot_read(name: str) -> None:
    with pytest.raises(MidiError) as caught:
        load_midi(DATA / "midi" / name, REFERENCE)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_path_url_and_bytes_give_the_same() -> None:
    path = DATA / "midi" / "melody.mid"
    files.write_bytes("memory://notes-test/melody.mid", path.read_bytes())
    songs = [load_midi(source) for source in (path, str(path), f"file://{path}", path.read_bytes())]
    songs.append(gansynth.load_midi("memory://notes-test/melody.mid"))
    assert len({song.digest for song in songs}) == 1
    assert songs[0].digest.startswith("sha256:")
    for song in songs[1:]:
        assert all((getattr(song.notes, f) == getattr(songs[0].notes, f)).all() for f in ("pitch", "start", "end"))


def test_reading_leaves_the_garbage_collector_as_it_was_and_nothing_to_collect() -> None:
    load_midi(DATA / "midi" / "melody.mid")
    gc.collect()
    notes = load_midi(DATA / "midi" / "melody.mid").notes
    assert gc.isenabled()
    assert gc.collect() < len(notes)  # no note, no event; opening a file leaves a few
    with contextlib.suppress(MidiError):
        load_midi(DATA / "midi" / "truncated.mid", REFERENCE)
    assert gc.isenabled()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_midi(tmp_path / "nowhere.mid")


@settings(max_examples=60)
@given(st.binary(max_size=200))
@example(b"")
@example(b"MThd")
@example(b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00MTrk\x00\x00\x00\x00")
@example(b"MThd\x00\x00\x00\x06\x00\x01\xff\xff\x01\xe0")
@example(b"MThd\xff\xff\xff\xff\x00\x00\x00\x01\x01\xe0")
@example(b"RIFF\x00\x00\x00\x00RMIDdata")
def test_garbage_is_only_ever_a_midi_error(content: bytes) -> None:
    with contextlib.suppress(MidiError):
        assert isinstance(load_midi(content).notes, Notes)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_damaged_files_are_only_ever_a_midi_error(place: int, byte: int, pedal: bool) -> None:
    content = bytearray((DATA / "midi" / "sustain.mid").read_bytes())
    content[place % len(content)] = byte
    with contextlib.suppress(MidiError):
        notes = load_midi(bytes(content), NotesConfig(sustain_pedal=pedal)).notes
        assert (notes.end >= notes.start).all()


def test_absurd_length_is_refused_at_once() -> None:
    # note_seq would build a table of every tick: 80 GB for this one.
    gaps = [mido.Message("note_on", note=60, velocity=1, time=0x0FFFFFFF) for _ in range(4)]
    for salvage in ("off", "safe"):
        with pytest.raises(MidiError) as caught:
            load_midi(midi(*gaps, mido.Message("note_off", note=60)), NotesConfig(reader="note_seq", salvage=salvage))
        assert caught.value.code == "midi-too-long"
    longest = NotesConfig(reader="note_seq", max_song_seconds=1e9)
    for ticks, code in ((MAX_TICKS - 1, None), (MAX_TICKS, "midi-too-long")):
        note = (mido.Message("note_on", note=60, velocity=1), mido.Message("note_off", note=60, time=ticks))
        with pytest.raises(MidiError) if code else contextlib.nullcontext() as caught:
            assert load_midi(midi(*note), longest).notes.span == pytest.approx(ticks / 960)
        assert code is None or (caught and caught.value.code == code)


def test_warnings_of_the_parser_stay_inside() -> None:
    # pretty_midi warns of tempo changes on other tracks, which is common and plays well.
    file = mido.MidiFile(type=1)
    for _ in range(2):
        file.tracks.append(mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=400000)]))
    file.tracks[1].extend([mido.Message("note_on", note=60, velocity=9), mido.Message("note_off", note=60, time=480)])
    buffer = io.BytesIO()
    file.save(file=buffer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_midi(buffer.getvalue()).notes) == 1


def test_sustain_pedal() -> None:
    down, up = (mido.Message("control_change", control=64, value=value, time=0) for value in (127, 0))
    content = midi(
        mido.Message("note_on", note=60, velocity=90),
        down,
        mido.Message("note_off", note=60, time=480),
        up.copy(time=960),
        mido.Message("note_on", note=62, velocity=90),
        mido.Message("note_off", note=62, time=480),
    )
    assert load_midi(content, REFERENCE).notes.end.tolist() == [0.5, 2.0]
    assert load_midi(content).notes.end.tolist() == [1.5, 2.0]


# Policies


PITCH = st.integers(0, 127)
NOTES = st.lists(
    st.tuples(PITCH, st.floats(0, 10), st.floats(0, 10), st.integers(1, 127), PITCH, st.booleans()),
    min_size=1,
    max_size=30,
).map(lambda rows: make_notes(*((p, s, s + d, v, program, drum) for p, s, d, v, program, drum in rows)))
CONFIGS = st.builds(
    lambda low, width, policy, drums, stretch: NotesConfig(
        min_pitch=low, max_pitch=min(127, low + width), out_of_range=policy, drums=drums, time_stretch=stretch
    ),
    st.integers(0, 127),
    st.integers(0, 60),
    st.sampled_from(["drop", "fold", "error"]),
    st.sampled_from(["skip", "play"]),
    st.floats(0.1, 10),
)


@given(NOTES, CONFIGS)
def test_every_note_is_accounted_for(notes: Notes, config: NotesConfig) -> None:
    try:
        played, counts = apply_policies(notes, config)
    except MidiError:
        return
    lost = counts.get("drums_skipped", 0) + counts.get("out_of_range_dropped", 0)
    assert counts["total"] == len(notes) == counts["played"] + lost
    assert counts["played"] == len(played) > 0
    assert counts.get("folded", 0) <= counts["played"]
    assert ((played.pitch >= config.min_pitch) & (played.pitch <= config.max_pitch)).all()
    assert config.drums == "play" or not played.is_drum.any()
    assert set(counts) <= {"total", "played", "folded", "drums_skipped", "out_of_range_dropped"}


@given(st.lists(st.integers(0, 127), min_size=1), st.integers(0, 116), st.integers(11, 60))
def test_folding_keeps_the_note_name(pitches: list[int], low: int, width: int) -> None:
    notes = make_notes(*((pitch, 0.0, 1.0) for pitch in pitches))
    config = NotesConfig(min_pitch=low, max_pitch=min(127, low + width), out_of_range="fold")
    folded, counts = apply_policies(notes, config)
    assert len(folded) == len(pitches)  # an octave holds every name
    assert ((folded.pitch >= low) & (folded.pitch <= config.max_pitch)).all()
    assert ((folded.pitch - np.array(pitches)) % 12 == 0).all()
    inside = (np.array(pitches) >= low) & (np.array(pitches) <= config.max_pitch)
    assert (folded.pitch[inside] == np.array(pitches)[inside]).all()
    assert counts.get("folded", 0) == (~inside).sum()
    # By the fewest octaves: one less would still be outside.
    moved = folded.pitch - np.array(pitches)
    before = folded.pitch - 12 * np.sign(moved)
    assert ((before < low) | (before > config.max_pitch) | (moved == 0)).all()


def test_folding_into_less_than_an_octave_drops_what_does_not_fit() -> None:
    notes = make_notes((60, 0, 1), (61, 0, 1), (73, 0, 1), (74, 0, 1), (49, 0, 1))
    folded, counts = apply_policies(notes, NotesConfig(min_pitch=61, max_pitch=62, out_of_range="fold"))
    assert folded.pitch.tolist() == [61, 61, 62, 61]
    assert counts == {"total": 5, "played": 4, "folded": 3, "drums_played": 0, "out_of_range_dropped": 1}


def test_stretched_notes_keep_their_pitch_up_to_an_octave() -> None:
    notes = make_notes((24, 0, 1), (12, 0, 1), (11, 0, 1), (84, 0, 1), (96, 0, 1), (97, 0, 1), (127, 0, 1))
    played, counts = apply_policies(notes, NotesConfig())
    assert played.pitch.tolist() == [24, 12, 23, 84, 96, 85, 91]
    assert (counts["stretched"], counts["folded"]) == (5, 3)
    drums = make_notes((100, 0, 1, 100, 0, 1), (60, 0, 1))
    assert apply_policies(drums, NotesConfig())[0].pitch.tolist() == [100, 60]  # a hit has a key, not a pitch


def test_out_of_range_is_an_error_if_asked_for() -> None:
    config = NotesConfig(min_pitch=36, max_pitch=84, out_of_range="error")
    with pytest.raises(MidiError, match=r"1 notes are outside pitches 36\.\.84"):
        apply_policies(make_notes((60, 0, 1), (20, 0, 1)), config)
    assert apply_policies(make_notes((60, 0, 1)), config)[1]["played"] == 1
    # A skipped drum is not heard: its pitch does not matter.
    apply_policies(make_notes((60, 0, 1), (20, 0, 1, 100, 0, 1)), config)


def test_limits() -> None:
    three = make_notes((60, 0, 1), (61, 1, 2), (62, 2, 3))
    assert len(apply_policies(three, NotesConfig(max_notes=3))[0]) == 3
    with pytest.raises(MidiError, match=r"3 notes are more than notes\.max_notes 2"):
        apply_policies(three, NotesConfig(max_notes=2))
    assert len(apply_policies(three, NotesConfig(max_song_seconds=3))[0]) == 3
    with pytest.raises(MidiError, match="lasts 3 s"):
        apply_policies(three, NotesConfig(max_song_seconds=2.9))
    with pytest.raises(MidiError, match="lasts 4 s"):
        apply_policies(three, NotesConfig(max_song_seconds=3, time_stretch=1.3))


def test_nothing_to_play() -> None:
    with pytest.raises(MidiError, match="no notes"):
        apply_policies(make_notes(), NotesConfig())
    with pytest.raises(MidiError, match="drums"):
        apply_policies(make_notes((60, 0, 1, 100, 0, 1)), NotesConfig(drums="skip"))
    with pytest.raises(MidiError, match="outside pitches"):
        apply_policies(make_notes((10, 0, 1)), NotesConfig(out_of_range="drop"))


def test_time_stretch() -> None:
    notes, _ = apply_policies(make_notes((60, 1, 2)), NotesConfig(time_stretch=1.3))
    assert (notes.start.tolist(), notes.end.tolist()) == ([1.3], [2.6])


def test_selection_leaves_its_argument_alone() -> None:
    notes = make_notes((10, 1, 2), (60, 1, 2))
    apply_policies(notes, NotesConfig(time_stretch=2))
    assert notes.pitch.tolist() == [10, 60]
    assert notes.start.tolist() == [1, 1]


def test_a_timeline_is_cut_from_its_start_up_to_but_without_its_end() -> None:
    line = Timeline(np.array([1.0, 2.0, 3.0]), np.array([10, 20, 30], np.float32))
    spans = (
        (1.0, 3.0, [1, 2], [10, 20]),
        (0.0, 1.0, [0], [0]),
        (1.5, 3.5, [1.5, 2, 3], [10, 20, 30]),
        (3.0, 3.0, [3], [30]),
        (9.0, 10.0, [9], [30]),
    )
    starts, ends = map(np.array, zip(*[span[:2] for span in spans], strict=True))
    for (start, end, times, values), together in zip(spans, line.cuts(starts, ends), strict=True):
        for cut in (together, line.between(start, end)):
            assert (cut.times.tolist(), cut.values.tolist()) == (times, values)


def test_a_timeline_moves_to_samples_and_keeps_the_last_step_of_each() -> None:
    line = Timeline(np.array([0.9, 1.0, 1.05, 1.26]), np.array([1, 2, 3, 4], np.float32)).on_samples(4)
    assert (line.times.tolist(), line.values.tolist()) == ([0.75, 1.0, 1.25], [1, 3, 4])
    assert len(Timeline().on_samples(16000)) == 0


def test_span_and_indexing() -> None:
    notes = make_notes((60, 0, 5), (61, 1, 2))
    assert notes.span == 5
    assert make_notes().span == 0
    assert len(notes[notes.pitch > 60]) == 1
    assert notes[1:].span == 2


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from([0.0, 0.0, 1.5, -np.inf])), max_size=6, unique_by=lambda s: s[0]
    ),
    st.integers(-1, 21),
    st.integers(0, 10),
)
def test_a_span_moves_if_any_of_its_values_is_not_zero(steps: list[tuple[int, float]], start: int, length: int) -> None:
    steps.sort()
    line = Timeline(np.array([t for t, _ in steps], np.float64), np.array([v for _, v in steps], np.float32))
    moves = line.moves(np.array([float(start)]), np.array([float(start + length)]))
    assert moves.tolist() == [line.between(start, start + length).values.any()]
