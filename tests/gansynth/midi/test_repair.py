"""Damaged files: their notes, their repairs, and their error codes."""

from __future__ import annotations

import gzip
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.io import files
from gansynth.midi import smf
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Song
from gansynth.midi.repair import REPAIRS, prepare

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"
OFF, SAFE, AGGRESSIVE = (
    NotesConfig(reader="note_seq", salvage=how, sustain_pedal=False) for how in ("off", "safe", "aggressive")
)

# Every file of ../shared/midi/bad: notes and repairs, or the code it fails with.
OUTCOMES: dict[str, tuple[int, set[str]] | str] = {
    "MidiTok__ValueError_Control168.mid": (6432, {"data_byte_ignored"}),
    "derived_all-pitches-below-24_jsf0.mid": (148, set()),
    "derived_bitflip-s1_bwv-988-v01.mid": "midi-data-byte",
    "derived_bitflip-s2_jsf0.mid": "midi-bad-event",
    "derived_header-only_14-bytes.mid": "midi-truncated",
    "derived_late-note_24h_GoodNight.mid": "midi-too-long",
    "derived_late-note_268M-ticks_jsf0.mid": "midi-too-long",
    "derived_no-eot_jsf0.mid": (148, {"end_of_track_missing"}),
    "derived_smpte-25x40_bwv-988-v01.mid": (551, {"smpte_division"}),
    "derived_tempo-0_bwv-988-v01.mid": "midi-bad-tempo",
    "derived_tempo-max_bwv-988-v01.mid": "midi-bad-tempo",
    "derived_trunc-half_bwv-988-v01.mid": (273, {"track_count_wrong", "track_truncated"}),
    "issue_abique-midi-parser-3_fuzz-timeout.mid": "midi-truncated",
    "midifile__MIDIBadHeaderFormat.mid": (4, {"format_unknown"}),
    "midifile__MIDIBadHeaderLength.mid": (4, {"header_length_wrong"}),
    "midifile__MIDIBadHeaderSMTPE.mid": "midi-bad-division",
    "midifile__MIDIBadHeaderTracksNum.mid": (4, {"track_count_wrong"}),
    "midifile__MIDIBadTrackLength.mid": (4, {"track_length_wrong"}),
    "test-midi-files__test-all-gm-percussion.mid": (183, set()),
    "test-midi-files__test-corrupt-file-extra-byte.mid": (8, {"trailing_bytes_ignored"}),
    "test-midi-files__test-corrupt-file-missing-byte.mid": (8, {"track_truncated"}),
    "test-midi-files__test-empty-file.mid": "midi-empty",
    "test-midi-files__test-empty.mid": (0, set()),  # select() fails it: midi-no-notes
    "test-midi-files__test-illegal-message-all.mid": "midi-bad-event",
    "test-midi-files__test-non-midi-track.mid": (8, {"foreign_chunk_skipped"}),
    "test-midi-files__test-not-a-midi-file.mid": "midi-not-midi",
}
# What is different with salvage: aggressive.
AGGRESSIVE_OUTCOMES: dict[str, tuple[int, set[str]] | str] = {
    "derived_bitflip-s1_bwv-988-v01.mid": "midi-too-long",
    "derived_bitflip-s2_jsf0.mid": (
        103,
        {"bad_event_ignored", "track_count_wrong", "track_length_wrong", "trailing_bytes_ignored"},
    ),
    "test-midi-files__test-illegal-message-all.mid": (8, {"bad_event_ignored"}),
}
# With salvage: off, these alone give notes: note_seq's verdict.
PLAYED_BY_NOTE_SEQ = {
    "derived_all-pitches-below-24_jsf0.mid": 148,
    "derived_no-eot_jsf0.mid": 148,
    "derived_tempo-max_bwv-988-v01.mid": 551,
    "midifile__MIDIBadHeaderFormat.mid": 4,
    "test-midi-files__test-all-gm-percussion.mid": 183,
    "test-midi-files__test-corrupt-file-extra-byte.mid": 8,
    "test-midi-files__test-empty.mid": 0,
}
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/midi, real and hostile files")


def outcome(content: bytes, config: NotesConfig) -> tuple[int, set[str]] | str:
    try:
        song = load_midi(content, config)
    except MidiError as error:
        return error.code
    return len(song.notes), set(song.repairs)


@needs_shared
def test_every_hostile_file_has_an_outcome() -> None:
    assert set(OUTCOMES) == {path.name for path in (SHARED / "midi" / "bad").iterdir()}


@needs_shared
@pytest.mark.parametrize("name", OUTCOMES)
def test_outcomes(name: str) -> None:
    content = (SHARED / "midi" / "bad" / name).read_bytes()
    assert outcome(content, SAFE) == OUTCOMES[name]
    assert outcome(content, AGGRESSIVE) == AGGRESSIVE_OUTCOMES.get(name, OUTCOMES[name])
    found = outcome(content, OFF)
    assert found == (PLAYED_BY_NOTE_SEQ[name], set()) if name in PLAYED_BY_NOTE_SEQ else isinstance(found, str)


def midi_files() -> list[Path]:
    found = [
        *sorted((ROOT / "tests" / "data" / "midi").glob("*.mid")),
        *sorted((ROOT / "pipeline" / "examples").glob("*.mid")),
    ]
    if SHARED.is_dir():
        corpus = sorted((SHARED / "corpus").rglob("*.mid"))
        found += [*sorted((SHARED / "midi" / "good").glob("*.mid")), *random.Random(0).sample(corpus, 40)]
    return found


@pytest.mark.parametrize("path", midi_files(), ids=lambda path: path.stem)
def test_sound_files_are_scanned_as_note_seq_reads_them_and_left_alone(path: Path) -> None:
    content = path.read_bytes()
    try:
        song = load_midi(content, OFF)
    except MidiError:
        assert path.parent.name != "good"
        return
    prepared = prepare(content, SAFE)
    assert prepared.data is content
    assert set(prepared.repairs) <= {"end_of_track_missing"}  # which stops no one
    scan = smf.scan(content)
    assert scan.notes == len(song.notes)
    assert scan.seconds == pytest.approx(song.notes.span, rel=1e-12)
    starts, ends = np.sort(song.notes.start), np.sort(song.notes.end)
    sounding = [int((starts <= at).sum() - (ends <= at).sum()) for at in np.unique(starts)]
    assert scan.polyphony == max(sounding, default=0)
    # Written anew, it is the same music.
    again = smf.scan(scan.midi())
    assert again.clean
    assert_same_notes(load_midi(scan.midi(), OFF), song)


def assert_same_notes(song: Song, other: Song) -> None:
    for column, same in zip(vars(song.notes).values(), vars(other.notes).values(), strict=True):
        np.testing.assert_array_equal(column, same)


# Files made here


END = b"\x00\xff\x2f\x00"
ON, OFF_LATER = b"\x00\x90\x3c\x40", b"\x83\x60\x80\x3c\x40"  # a quarter note of pitch 60, 480 ticks
NOTE = ON + OFF_LATER
OTHER = b"\x00\x91\x40\x40\x83\x60\x81\x40\x40"


def chunk(events: bytes, name: bytes = b"MTrk", length: int | None = None) -> bytes:
    return name + struct.pack(">I", len(events) if length is None else length) + events


def midi(*chunks: bytes, kind: int = 1, tracks: int | None = None, division: int = 480, header: bytes = b"") -> bytes:
    count = len(chunks) if tracks is None else tracks
    return struct.pack(">4sIHHH", b"MThd", 6 + len(header), kind, count, division) + header + b"".join(chunks)


def meta(kind: int, body: bytes, delta: int = 0) -> bytes:
    long = [len(body) >> 14 | 128, len(body) >> 7 & 127 | 128] if len(body) > 127 else []
    return bytes([delta, 0xFF, kind, *long, len(body) & 127]) + body


SOUND = midi(chunk(NOTE + END))
MACBINARY = bytes([0, 5, *b"a.mid", *bytes(58), *b"Midi", *bytes(14), *struct.pack(">I", len(SOUND)), *bytes(41)])
ONE = [(60, 0.0, 0.5)]
TWO = [(60, 0.0, 0.5), (64, 0.0, 0.5)]
META_DEFECTS = {
    (0x59, "key_signature_ignored"): {
        "key of 8 sharps": b"\x08\x00",
        "key of mode 2": b"\x00\x02",
        "key cut short": b"\x00",
    },
    (0x58, "time_signature_ignored"): {
        "no beats": b"\x00\x02\x18\x08",
        "beats too short": b"\x04\x1f\x18\x08",
        "time cut short": b"\x04\x02",
    },
    (0x54, "smpte_offset_ignored"): {
        "no such frame rate": b"\x80\x00\x00\x00\x00",
        "minute 60": b"\x00\x3c\x00\x00\x00",
        "second 60": b"\x00\x00\x3c\x00\x00",
        "hundred of a hundred": b"\x00\x00\x00\x00\x64",
        "offset cut short": b"\x00\x00",
    },
    (0x00, "meta_event_ignored"): {"number cut short": b"\x01"},
    (0x20, "meta_event_ignored"): {"no channel": b""},
    (0x01, "meta_event_ignored"): {"endless text": b"a" * 1_000_001},
}
LEFT_OUT = {
    **{
        name: (meta(kind, body), repair)
        for (kind, repair), bodies in META_DEFECTS.items()
        for name, body in bodies.items()
    },
    "escape": (b"\x00\xf7\x03\xf3\x01\xfa", "sysex_ignored"),
    "endless sysex": (b"\x00\xf0" + bytes([0xBD, 0x84, 0x41]) + b"\x00" * 1_000_001, "sysex_ignored"),
}
WHOLE = {
    **{name: (midi(chunk(event + NOTE + END)), [repair], ONE) for name, (event, repair) in LEFT_OUT.items()},
    "unknown meta": (
        midi(chunk(meta(0x60, b"", 120) + NOTE + END)),
        ["unknown_meta_event_ignored"],
        [(60, 0.125, 0.625)],
    ),
    "running status": (
        midi(chunk(ON + b"\x00\xf0\x02\x01\xf7" + b"\x83\x60\x3c\x00" + END)),
        ["running_status_restored"],
        ONE,
    ),
    "running status, dropped sysex": (
        midi(chunk(ON + b"\x00\xf7\x01\xfa" + b"\x83\x60\x3c\x00" + b"\x00\x3e\x40\x60\x3e\x00" + END)),
        ["running_status_restored", "sysex_ignored"],
        [(60, 0.0, 0.5), (62, 0.5, 0.6)],
    ),
    "foreign chunk": (midi(chunk(b"hello", b"Junk"), chunk(NOTE + END), tracks=1), ["foreign_chunk_skipped"], ONE),
    "padding": (midi(chunk(NOTE + END), b"\x00", chunk(OTHER + END), tracks=2), ["bytes_skipped"], TWO),
    "more tracks": (midi(chunk(NOTE + END), chunk(OTHER + END), tracks=1), ["track_count_wrong"], TWO),
    "fewer tracks": (midi(chunk(NOTE + END), tracks=9), ["track_count_wrong"], ONE),
    "no tracks, it says": (midi(chunk(NOTE + END), tracks=0), ["track_count_wrong"], ONE),
    "40,000 tracks, it says": (midi(chunk(NOTE + END), tracks=40_000), ["track_count_wrong"], ONE),
    "header of 22 bytes": (SOUND[:4] + b"\x00\x00\x00\x16" + SOUND[8:], ["header_length_wrong"], ONE),
    "header of no bytes": (SOUND[:4] + b"\x00\x00\x00\x00" + SOUND[8:], ["header_length_wrong"], ONE),
    "format 3": (midi(chunk(NOTE + END), kind=3), ["format_unknown"], ONE),
    "length too long": (midi(chunk(NOTE + END, length=99)), ["track_length_wrong"], ONE),
    "length into the next": (midi(chunk(NOTE + END, length=23), chunk(OTHER + END)), ["track_length_wrong"], TWO),
    "lengths of a stream": (
        midi(*(chunk(events + END, length=0xFFFFFFFF) for events in (NOTE, OTHER))),
        ["track_length_wrong"],
        TWO,
    ),
    "length never written": (midi(chunk(NOTE + END, length=0), chunk(OTHER + END)), ["track_length_wrong"], TWO),
    "length inside an event": (midi(chunk(NOTE + END, length=6), chunk(OTHER + END)), ["track_length_wrong"], TWO),
    "length between events": (midi(chunk(NOTE + END, length=4), chunk(OTHER + END)), ["track_length_wrong"], TWO),
    "cut off": (midi(chunk(NOTE + ON + b"\x60\x90", length=50)), ["track_truncated"], ONE),
    "cut off under a note": (midi(chunk(ON + b"\x83\x60\xc0\x05\x60", length=50)), ["track_truncated"], ONE),
    "cut off in the middle": (
        midi(chunk(NOTE + b"\x60", length=30), chunk(OTHER + END)),
        ["track_truncated"],
        TWO,
    ),
    "no end of track": (midi(chunk(NOTE), chunk(OTHER)), ["end_of_track_missing"], TWO),
    "empty track": (midi(chunk(b""), chunk(NOTE + END)), ["end_of_track_missing"], ONE),
    "bytes behind": (SOUND + b"\x1a\x00", ["trailing_bytes_ignored"], ONE),
    "padded track": (midi(chunk(NOTE + END + bytes(5)), chunk(OTHER + END)), ["trailing_bytes_ignored"], TWO),
    "late tempo": (
        midi(chunk(END), chunk(meta(0x51, b"\x0f\x42\x40") + NOTE + END)),
        ["tempo_moved"],
        [(60, 0.0, 1.0)],
    ),
    "riff": (
        b"RIFF\x99\x00\x00\x00RMIDDISP\x03\x00\x00\x00abc\x00data" + struct.pack("<I", len(SOUND)) + SOUND,
        ["riff_unwrapped"],
        ONE,
    ),
    "riff of no length": (b"RIFF\x00\x00\x00\x00RMID" + SOUND, ["leading_bytes_skipped"], ONE),
    "gzip": (gzip.compress(SOUND), ["gzip_unwrapped"], ONE),
    "macbinary": (MACBINARY + SOUND + bytes(128), ["macbinary_unwrapped"], ONE),
    "mail": (b"From: me\r\n\r\n" + SOUND, ["leading_bytes_skipped"], ONE),
}
# What fails with salvage: safe, and is played with aggressive.
BROKEN = {
    "velocity 200": (b"\x00\x91\x3c\xc8", "midi-data-byte", ["data_byte_ignored"]),
    "key 200": (b"\x00\x90\xc8\x40", "midi-data-byte", ["data_byte_ignored"]),
    "key 200 released": (b"\x00\x80\xc8\x40", "midi-data-byte", ["data_byte_ignored"]),
    "status 0xf4": (b"\x00\xf4", "midi-bad-event", ["bad_event_ignored"]),
    "status 0xfd": (b"\x00\xfd", "midi-bad-event", ["bad_event_ignored"]),
    "song position 200": (b"\x00\xf2\x01\xc8", "midi-bad-event", ["bad_event_ignored"]),
    "no status": (b"\x00\x40", "midi-bad-event", ["bad_event_ignored"]),
}
FATAL = {
    "nothing": (b"", "midi-empty"),
    "web page": (b"<html>gone</html>", "midi-not-midi"),
    "zip": (b"PK\x03\x04" + bytes(100), "midi-not-midi"),
    "far behind": (bytes(5000) + SOUND, "midi-not-midi"),
    "header cut off": (SOUND[:12], "midi-truncated"),
    "no track": (SOUND[:14], "midi-truncated"),
    "too many tracks": (midi(*[chunk(END)] * 32_767), "midi-too-many-tracks"),
    "no unit of time": (midi(chunk(NOTE + END), division=0), "midi-bad-division"),
    "no such frames": (midi(chunk(NOTE + END), division=0xF028), "midi-bad-division"),
    "no ticks in a frame": (midi(chunk(NOTE + END), division=0xE700), "midi-bad-division"),
    "tempo 0": (midi(chunk(meta(0x51, bytes(3)) + NOTE + END)), "midi-bad-tempo"),
    "tempo of a microsecond": (midi(chunk(meta(0x51, b"\x00\x00\x01") + NOTE + END)), "midi-bad-tempo"),
    "slowest tempo": (midi(chunk(meta(0x51, b"\xff\xff\xff") + NOTE + END)), "midi-bad-tempo"),
    "tempo cut short": (midi(chunk(meta(0x51, b"\x07") + NOTE + END)), "midi-bad-tempo"),
    "far too late": (midi(chunk(b"\xff\xff\xff\x7f" + NOTE[1:] + END)), "midi-too-long"),
}


def played(song: Song) -> list[tuple[int, float, float]]:
    notes = song.notes
    return sorted(zip(notes.pitch.tolist(), notes.start.tolist(), notes.end.tolist(), strict=True))


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_is_played(name: str) -> None:
    content, repairs, notes = WHOLE[name]
    for config in (SAFE, AGGRESSIVE):
        song = load_midi(content, config)
        assert list(song.repairs) == repairs
        assert played(song) == [(pitch, pytest.approx(start), pytest.approx(end)) for pitch, start, end in notes]
    prepared = prepare(content, SAFE)
    again = prepare(prepared.data, SAFE)
    assert again.data == prepared.data
    assert not again.repairs or prepared.data is content


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_played_if_asked_for(name: str) -> None:
    event, code, repairs = BROKEN[name]
    content = midi(chunk(event + NOTE + END))
    assert outcome(content, SAFE) == code
    assert outcome(content, OFF) == code
    song = load_midi(content, AGGRESSIVE)
    assert list(song.repairs) == repairs
    assert played(song) == ONE


def test_aggressive_leaves_out_no_more_than_the_event() -> None:
    pitch_200 = b"\x00\x90\xc8\x40"
    song = load_midi(midi(chunk(pitch_200 + b"\x00\x3c\x40\x83\x60\x3c\x00" + END)), AGGRESSIVE)  # its status goes on
    assert played(song) == ONE
    song = load_midi(midi(chunk(b"\x00\x90\x3c\xc8\x83\x60\x3c\x00" + END)), AGGRESSIVE)
    assert (played(song), song.notes.velocity.tolist()) == (ONE, [127])


def test_a_number_that_midi_cannot_write_ends_the_track_if_asked_for() -> None:
    content = midi(chunk(NOTE + b"\xff" * 300_000 + b"\x00" + NOTE + END), chunk(OTHER + END))
    assert outcome(content, SAFE) == outcome(content, OFF) == "midi-bad-event"
    song = load_midi(content, AGGRESSIVE)
    assert (played(song), song.repairs) == (TWO, ("track_truncated",))


@pytest.mark.parametrize("name", FATAL)
def test_what_fails(name: str) -> None:
    content, code = FATAL[name]
    began = time.process_time()
    assert outcome(content, SAFE) == code
    assert outcome(content, AGGRESSIVE) == code
    if "tempo" not in name:  # the absurd ones play with note_seq
        assert isinstance(outcome(content, OFF), str)
    assert time.process_time() - began < 5


def test_a_broken_track_beyond_the_headers_count_is_left_out() -> None:
    song = load_midi(midi(chunk(NOTE + END), chunk(b"\x00\x90\xff\x40" + END), tracks=1), SAFE)
    assert (played(song), song.repairs) == (ONE, ("trailing_bytes_ignored",))
    assert outcome(midi(chunk(NOTE + END), chunk(b"\x00\x90\xff\x40" + END)), SAFE) == "midi-data-byte"


def test_every_repair_is_made_somewhere_above() -> None:
    made = {repair for _, repairs, _ in WHOLE.values() for repair in repairs}
    made |= {repair for _, _, repairs in BROKEN.values() for repair in repairs}
    of_notes = {"hanging_notes", "sequences_joined", "zero_length_notes"}  # by the other reader
    assert made | {"smpte_division"} | of_notes == set(REPAIRS)


# Events that play nothing, with a data byte above 127, and what stands in the song's row.
HARMLESS = {
    "controller 168": b"\x00\xb0\xa8\x05",
    "value 200": b"\x00\xb0\x07\xc8",
    "value 200, running status": b"\x00\xb0\x07\x40\x00\x0a\xc8",
    "program 128": b"\x00\xc0\x80",
    "bend": b"\x00\xe0\x80\xff",
    "aftertouch": b"\x00\xd0\xff",
    "poly aftertouch": b"\x00\xa0\x3c\x81",
    "release velocity": b"\x00\x80\x05\xff",
}


@pytest.mark.parametrize("reader", ["channels", "note_seq"])
@pytest.mark.parametrize("kind", HARMLESS)
def test_a_bad_data_byte_that_plays_nothing_costs_its_event_alone(kind: str, reader: str) -> None:
    off, safe, aggressive = (
        NotesConfig.model_validate({"reader": reader, "salvage": salvage}) for salvage in ("off", "safe", "aggressive")
    )
    for events in (HARMLESS[kind] + NOTE, ON + HARMLESS[kind] + OFF_LATER):
        content = midi(chunk(events + END))
        song = load_midi(content, safe)
        assert (played(song), song.repairs) == (ONE, ("data_byte_ignored",))
        assert reader == "note_seq" or song.ignored["bad_data_bytes"] == 1
        assert_same_notes(load_midi(content, aggressive), song)
        assert isinstance(outcome(content, off), str)


BAD = HARMLESS["value 200"]


@pytest.mark.parametrize(
    "content",
    [
        midi(chunk(BAD + NOTE)),  # no end of track
        midi(chunk(BAD + NOTE + END, length=99)),
        midi(chunk(BAD + NOTE + END), chunk(NOTE)),
        midi(chunk(BAD + NOTE + END), tracks=2),
        midi(chunk(BAD + NOTE + END)) + b"behind",
        b"MThd\0\0\0\5" + midi(chunk(BAD + NOTE + END))[8:],  # wrong length of the header
        midi(chunk(BAD + NOTE + b"\x00\x3c\x40" + BAD + b"\x00\x07\x40" + END)),  # running status behind it
        midi(chunk(BAD * 2 + NOTE + END)),  # not a few
        midi(chunk(b"\x00\x80\x05\x40\x00\x05\xff" + NOTE + END)),  # a note-off in running status
    ],
)
def test_a_bad_data_byte_in_a_file_that_is_broken_otherwise_is_an_error(content: bytes) -> None:
    assert outcome(content, SAFE) == "midi-data-byte"


def test_a_release_velocity_that_is_bad_becomes_64() -> None:
    assert b"\x80\x3c\x40" in smf.scan(midi(chunk(ON + b"\x60\x80\x3c\xc8" + END))).midi()


@pytest.mark.parametrize(("frames", "second"), [(24, 24.0), (25, 25.0), (29, 30000 / 1001), (30, 30.0)])
@pytest.mark.parametrize("ticks", [1, 4, 40, 80, 91, 100, 255])
def test_smpte_time_is_kept_to_the_tick(frames: int, second: float, ticks: int) -> None:
    slow = meta(0x51, b"\x0f\x42\x40")  # means nothing here
    content = midi(
        chunk(slow + b"\x87\x68" + ON[1:] + b"\x87\x68\x80\x3c\x40" + END), division=(256 - frames) << 8 | ticks
    )
    song = load_midi(content, SAFE)
    assert song.repairs == ("smpte_division",)
    tick = 1 / (second * ticks)
    assert played(song) == [(60, pytest.approx(1000 * tick, rel=1e-12), pytest.approx(2000 * tick, rel=1e-12))]
    assert smf.scan(content).seconds == pytest.approx(2000 * tick, rel=1e-12)


def test_a_file_cut_off_anywhere_is_played_as_far_as_it_goes() -> None:
    content = (ROOT / "tests" / "data" / "midi" / "melody.mid").read_bytes()
    whole = load_midi(content, SAFE)
    last = 0
    for length in range(len(content)):
        found = outcome(content[:length], SAFE)
        if isinstance(found, str):
            assert found in ("midi-empty", "midi-not-midi", "midi-truncated")
            assert length < 22
            continue
        song = load_midi(content[:length], SAFE)
        assert song.repairs
        assert len(song.notes) >= last
        last = len(song.notes)
        # Every note begins where it does in the whole file, and those that were heard to their end are the same.
        wholly = {note[:2]: note[2] for note in played(whole)}
        for pitch, start, end in played(song):
            assert end <= wholly[pitch, start]
    assert last == len(whole.notes)


def test_tempo_of_later_tracks_counts_as_players_have_it() -> None:
    slow, fast = meta(0x51, b"\x0f\x42\x40"), meta(0x51, b"\x03\xd0\x90")
    notes = NOTE + NOTE + END
    one_track = load_midi(midi(chunk(slow + NOTE + fast + NOTE + END)), OFF)
    later = NOTE + fast + END
    moved = load_midi(midi(chunk(slow + END), chunk(notes), chunk(b"\x83\x60" + fast[1:] + END)), SAFE)
    assert moved.repairs == ("tempo_moved",)
    assert played(moved) == played(one_track) == [(60, 0.0, 1.0), (60, 1.0, 1.25)]
    # A copy of the first track's tempo changes nothing, nor do the tracks of format 2, which have tempos of their own.
    for content in (
        midi(chunk(slow + NOTE + fast + END), chunk(slow + later)),
        midi(chunk(slow + END), chunk(fast + notes), kind=2),
    ):
        assert prepare(content, SAFE).repairs == ()
        assert prepare(content, SAFE).data is content


# Limits


def test_limits_hold_before_anything_is_built_and_even_with_salvage_off() -> None:
    hundred = b"\x00\x90\x3c\x40" + b"\x01\x3c\x40" * 99 + b"\x01\x3c\x00" + END
    dense = midi(chunk(hundred))
    late = midi(chunk(b"\x84\x80\x00" + NOTE[1:] + END))  # 68 s
    for salvage in ("off", "safe", "aggressive"):
        limits = {
            "midi-too-many-notes": (dense, {"max_notes": 99}, {"max_notes": 100}),
            "midi-too-dense": (dense, {"max_polyphony": 99}, {"max_polyphony": 100}),
            "midi-too-long": (late, {"max_song_seconds": 68}, {"max_song_seconds": 69}),
            "midi-too-large": (dense, {"max_file_bytes": len(dense) - 1}, {"max_file_bytes": len(dense)}),
        }
        for code, (content, narrow, wide) in limits.items():
            assert (
                outcome(content, NotesConfig.model_validate({"reader": "note_seq", "salvage": salvage, **narrow}))
                == code
            )
            assert (
                outcome(content, NotesConfig.model_validate({"reader": "note_seq", "salvage": salvage, **wide})) != code
            )
    stretched = NotesConfig(reader="note_seq", max_song_seconds=100, time_stretch=2)
    assert outcome(late, stretched) == "midi-too-long"


def test_no_more_of_a_file_is_read_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_bytes("memory://limits/large.mid", SOUND + bytes(10_000))
    asked: list[int | None] = []
    read = files.read_bytes

    def watched(url: str, limit: int | None = None) -> bytes:
        asked.append(limit)
        return read(url, limit)

    monkeypatch.setattr(files, "read_bytes", watched)
    with pytest.raises(MidiError) as caught:
        load_midi("memory://limits/large.mid", NotesConfig(max_file_bytes=1000))
    assert caught.value.code == "midi-too-large"
    assert asked == [1001]


def test_tracks_that_claim_each_others_bytes_are_given_up_soon() -> None:
    # Each of 20,000 tracks claims all bytes to the end of the file, and none has an end of its own.
    content = midi(*(chunk(b"\x00\xc0\x05", length=1_000_000) for _ in range(20_000)))
    began = time.process_time()
    assert outcome(content, SAFE) == "midi-bad-event"
    assert time.process_time() - began < 5


def test_with_salvage_off_no_endless_number_reaches_the_parser() -> None:
    # To the scan the first track ends before the second, which no one needs; mido would read on into it.
    content = midi(chunk(NOTE + END, length=600_000), chunk(b"\xff" * 500_000), tracks=1)
    began = time.process_time()
    assert outcome(content, OFF) == "midi-bad-event"
    assert outcome(content, SAFE) == (1, {"track_length_wrong", "trailing_bytes_ignored"})
    # Text is no number.
    text = meta(0x01, b"\xe3\x81\x82" * 1000)
    assert outcome(midi(chunk(text + NOTE + END)), OFF) == (1, set())
    assert time.process_time() - began < 5


@given(st.binary(max_size=64), st.sampled_from([SAFE, AGGRESSIVE]))
def test_any_events_end_as_a_song_or_an_error_and_are_counted_as_note_seq_counts_them(
    events: bytes, config: NotesConfig
) -> None:
    content = midi(chunk(ON + events + OFF_LATER + END))
    found = outcome(content, config)
    if isinstance(found, str):
        assert found != "midi-unreadable"
        return
    prepared = prepare(content, config)
    assert smf.scan(prepared.data).clean
    assert smf.scan(content, config.salvage).notes == found[0]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "WAV"),
        (b"ID3\x03\x00", "MP3"),
        (b"\xff\xfb\x90\x64", "MP3"),
        (b"%PDF-1.7", "PDF"),
        (b"XMF_2.00" + SOUND, "XMF"),  # even with a MIDI file inside
        (b"SMF2CLIP", "MIDI 2.0 clip"),
        (b"\xef\xbb\xbf<?xml?>\n<score-timewise>", "MusicXML"),
        (b"PK\x03\x04" + b"META-INF/container.xml", "compressed MusicXML"),
    ],
)
def test_other_files_of_music_are_named(content: bytes, what: str) -> None:
    for reader in ("channels", "note_seq"):
        with pytest.raises(MidiError, match=f"the file is (a )?{what}") as caught:
            load_midi(content, NotesConfig.model_validate({"reader": reader}))
        assert caught.value.code == "midi-not-midi"


def test_gzip_is_unpacked_within_bounds() -> None:
    packed = gzip.compress(SOUND)
    limit = NotesConfig(max_file_bytes=len(SOUND))
    assert played(load_midi(packed, NotesConfig())) == ONE
    assert played(load_midi(gzip.compress(b"\x00" + SOUND), NotesConfig(max_file_bytes=200))) == ONE
    cases = [
        (gzip.compress(SOUND + b"\x00"), limit, "midi-too-large"),
        (gzip.compress(bytes(200_000_000), 1), NotesConfig(), "midi-too-large"),
        (packed[:-12], NotesConfig(), "midi-truncated"),
        (packed[:12] + b"\xff\xff" + packed[14:], NotesConfig(), "midi-not-midi"),
        (gzip.compress(packed), NotesConfig(), "midi-not-midi"),
        (gzip.compress(b"<html>"), NotesConfig(), "midi-not-midi"),
    ]
    for content, config, code in cases:
        assert outcome(content, config) == code
