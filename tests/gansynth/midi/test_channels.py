"""Notes and channel states as a General MIDI synthesizer plays them, of the files in ../shared/channels and others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Song
from gansynth.midi.pairing import MAX_TAIL, SHORTEST_NOTE
from tests.support.midi_bytes import (
    GM2_ON,
    GM_ON,
    GS_RESET,
    XG_ON,
    Event,
    bend,
    cc,
    gs,
    master,
    meta,
    midi,
    note,
    off,
    on,
    program,
    rpn,
    sysex,
    track,
    xg,
)

SHARED = Path(__file__).parents[3].parent / "shared" / "channels"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/channels")
CONFIG = NotesConfig()


def read(*tracks: bytes, kind: int = 1) -> Song:
    return load_midi(midi(*tracks, kind=kind), CONFIG)


def one(*events: Event | list[Event], end: int | None = None) -> Song:
    return read(track(*events, end=end))


def shared(name: str) -> Song:
    return load_midi((SHARED / name).read_bytes(), CONFIG)


def spans(song: Song) -> list[tuple[int, float, float]]:
    """Lists pitch, start and end of all notes, sorted by start and pitch."""
    notes = song.notes
    rows = zip(notes.pitch.tolist(), notes.start.tolist(), notes.end.tolist(), strict=True)
    return sorted(((p, round(s, 4), round(e, 4)) for p, s, e in rows), key=lambda row: (row[1], row[0]))


def gains(song: Song, *times: float, channel: int = 0) -> list[float]:
    if channel not in song.channels:
        return [0.0] * len(times)
    return [round(float(gain), 2) for gain in song.channels[channel].gain.at(np.array(times))]


def bends(song: Song, *times: float, channel: int = 0) -> list[float]:
    if channel not in song.channels:
        return [0.0] * len(times)
    return [round(float(semitones), 3) for semitones in song.channels[channel].bend.at(np.array(times))]


def hertz(pitch: int, semitones: float) -> float:
    return 440.0 * 2 ** ((pitch - 69 + semitones) / 12)


# Volume


@needs_shared
def test_volume() -> None:
    loud, middle, soft = gains(shared("cc7_three_levels.mid"), 0.0, 2.0, 4.0)
    assert (loud - middle, loud - soft) == (pytest.approx(15.2, abs=0.05), pytest.approx(27.25, abs=0.05))
    muted = shared("cc7_zero_muted_part.mid")
    assert gains(muted, 0.0, 4.5, channel=1) == [-math.inf, -math.inf]
    assert 0 not in muted.channels
    swell = shared("cc11_crescendo.mid").channels[0].gain
    assert (np.diff(swell.at(np.arange(0, 2.4, 0.1))) > 0).all()
    steps = [40 * math.log10(value / 127) for value in (10, 50, 90, 127)]
    assert swell.at(np.array([4.5, 6.5, 8.5, 10.5])) == pytest.approx(steps, abs=1e-4)
    fade = shared("sysex_master_volume_fade.mid").channels[0].gain
    levels = [0.0, *(40 * math.log10((v << 7 | v) / 16383) for v in (80, 40, 10))]
    assert fade.at(np.array([0.5, 2.5, 4.5, 6.5])) == pytest.approx(levels, abs=1e-4)


def test_nothing_that_moves_is_exactly_nothing() -> None:
    song = one(cc(0, 7, 100), cc(0, 11, 127), master(0, 1, 0x3FFF), bend(0, 0), rpn(0, 0, 2), note(0, 960))
    assert song.channels == {}
    assert song.notes.pan is None


def test_gains_add_and_master_volume_is_for_all_channels_of_its_port() -> None:
    song = one(cc(0, 7, 50), cc(0, 11, 64), master(960, 1, 8192), note(0, 1920), note(0, 1920, channel=1))
    own = 40 * math.log10(50 / 100) + 40 * math.log10(64 / 127)
    everyone = 40 * math.log10(8192 / 16383)
    assert gains(song, 0.5, 1.5) == [round(own, 2), round(own + everyone, 2)]
    assert gains(song, 0.5, 1.5, channel=1) == [0.0, round(everyone, 2)]
    ports = read(track(master(0, 1, 8192), note(0, 960)), track(meta(0, 0x21, b"\x01"), note(0, 960)))
    assert set(ports.channels) == {0}


def test_the_last_value_of_a_tick_counts_from_the_tick_on() -> None:
    song = one(on(480), cc(480, 7, 10), cc(480, 7, 50), off(960))
    line = song.channels[0].gain
    assert line.times.tolist() == [0.5]
    assert gains(song, 0.49, 0.5) == [0.0, round(40 * math.log10(0.5), 2)]


@pytest.mark.parametrize(
    ("message", "level"),
    [
        (gs(0, 0x40, 0x00, 0x04, 64), 40 * math.log10(64 / 127)),
        (xg(0, 0x00, 0x00, 0x04, 64), 40 * math.log10(64 / 127)),
        (gs(0, 0x40, 0x00, 0x04, 0), -math.inf),
        (master(0, 1, 0), -math.inf),
    ],
)
def test_master_volumes_of_makers(message: Event, level: float) -> None:
    song = one(message, note(0, 960))
    assert song.channels[0].gain.at(np.array([0.5]))[0] == pytest.approx(level, abs=1e-4)


# Bends and tuning


@needs_shared
def test_bends() -> None:
    song = shared("pitch_bend_rpn0.mid")
    found = [hertz(57, semitones) for semitones in bends(song, 0.5, 2.5, 4.5, 6.2, 7.5)]
    assert found == pytest.approx([220.0, 246.9, 440.0, 220.0, 440.0], rel=3e-4)
    found = [hertz(60, semitones) for semitones in bends(shared("quarter_tones.mid"), 0.5, 2.5, 4.5, 6.5)]
    assert found == pytest.approx([261.6, 269.3, 261.6, 254.2], abs=0.06)
    assert [hertz(69, s) for s in bends(shared("rpn2_coarse_tune.mid"), 0.5, 2.5)] == [440.0, 220.0]


def test_bend_ranges_have_cents_and_a_null_parameter_nothing() -> None:
    assert bends(one(rpn(0, 0, 1, lsb=50), bend(0, 4096), note(0, 960)), 0.5) == [0.75]
    null = [cc(0, 101, 127), cc(0, 100, 127), cc(0, 6, 24)]
    song = one(rpn(0, 0, 12), null, bend(0, -8192), note(0, 960))
    assert bends(song, 0.5) == [-12.0]
    assert song.ignored == {"data_entry": 1}


def test_a_data_entry_meant_for_an_nrpn_changes_no_rpn() -> None:
    nrpn = [cc(0, 99, 1), cc(0, 98, 8), cc(0, 6, 24), cc(0, 38, 0)]
    song = one(rpn(0, 0, 12), nrpn, bend(0, -8192), note(0, 960))
    assert bends(song, 0.5) == [-12.0]
    assert song.ignored == {"nrpn": 4}
    again = one(rpn(0, 0, 12), nrpn, cc(0, 100, 0), cc(0, 6, 3), bend(0, -8192), note(0, 960))
    assert bends(again, 0.5) == [-3.0]


def test_tuning_by_rpn_increments_and_the_whole_device() -> None:
    assert bends(one(rpn(0, 1, 96), note(0, 960)), 0.5) == [0.5]
    assert bends(one(rpn(0, 1, 64, lsb=64), note(0, 960)), 0.5) == [round(64 / 8192, 3)]
    assert bends(one(rpn(0, 2, 52), cc(0, 96, 0), note(0, 960)), 0.5) == [-11.0]
    steps = [cc(0, 97, 0)] * 50
    assert bends(one(rpn(0, 0, 2), steps, bend(0, -8192), note(0, 960)), 0.5) == [-1.5]
    assert bends(one(master(0, 3, 4096), note(0, 960)), 0.5) == [-0.5]
    assert bends(one(master(0, 4, 67 << 7), note(0, 960)), 0.5) == [3.0]
    assert bends(one(gs(0, 0x40, 0, 0, 0, 6, 0, 12), note(0, 960)), 0.5) == [round((0x60C - 0x400) / 1000, 3)]
    assert bends(one(gs(0, 0x40, 0, 5, 0x40 - 5), note(0, 960)), 0.5) == [-5.0]
    assert bends(one(xg(0, 0, 0, 6, 0x40 + 7), note(0, 960)), 0.5) == [7.0]


def test_a_transposition_of_the_device_leaves_drums_alone() -> None:
    song = one(master(0, 4, 67 << 7), note(0, 960, 36, 9), note(0, 960, 60, 0))
    assert set(song.channels) == {0}


# Programs, banks, drums


def voices(song: Song) -> list[tuple[int, int, bool]]:
    notes = song.notes
    return list(zip(notes.channel.tolist(), notes.program.tolist(), notes.is_drum.tolist(), strict=True))  # type: ignore[union-attr]


@needs_shared
def test_programs_and_drums_of_the_files() -> None:
    found = voices(shared("gs_rhythm_ch11_melody_ch10.mid"))
    assert sorted(found) == [(9, 0, False)] * 8 + [(10, 0, True)] * 8
    assert voices(shared("gm2_melodic_bank121_ch10.mid")) == [(9, 73, False)] * 8
    song = shared("setup_track_programs.mid")
    assert (voices(song), song.notes.pan.tolist()) == ([(0, 73, False), (1, 32, False)], [10, 117])  # type: ignore[union-attr]
    assert voices(shared("program_change_under_note.mid")) == [(0, 48, False), (0, 73, False)]
    song = shared("program_change_pedal_down.mid")
    assert (voices(song)[0], spans(song)[0]) == ((0, 0, False), (60, 0.0104, 1.0))
    song = shared("multi_port.mid")
    assert sorted(voices(song)) == [(0, 0, False), (16, 73, False), (16, 73, False), (17, 56, False), (25, 0, True)]


@pytest.mark.parametrize(
    ("reset", "bank", "channel", "is_drum"),
    [
        (xg(0, *XG_ON), (127, 0), 4, True),
        (xg(0, *XG_ON), (126, 0), 4, True),
        (xg(0, *XG_ON), (0, 0), 9, False),
        (xg(0, *XG_ON), None, 9, True),
        (xg(0, *XG_ON), (64, 0), 4, False),
        (sysex(0, *GM2_ON), (120, 0), 4, True),
        (sysex(0, *GM2_ON), (121, 0), 9, False),
        (sysex(0, *GM2_ON), (127, 0), 4, False),
        (sysex(0, *GM2_ON), (0, 0), 9, True),
        (gs(0, *GS_RESET), (127, 0), 4, False),
        (gs(0, *GS_RESET), (121, 0), 9, True),
        (sysex(0, *GM_ON), (120, 0), 4, False),
        (sysex(0, *GM_ON), (121, 0), 9, True),
        (meta(0, 1, b"none"), (127, 0), 4, False),
    ],
)
def test_bank_numbers_mean_what_the_reset_in_force_says(
    reset: Event, bank: tuple[int, int] | None, channel: int, is_drum: bool
) -> None:
    select = [cc(1, 0, bank[0], channel), cc(1, 32, bank[1], channel)] if bank else []
    song = one(reset, select, program(1, 5, channel), note(2, 960, channel=channel))
    assert voices(song) == [(channel, 5, is_drum)]
    assert song.notes.bank.tolist() == [(bank[0] << 7 | bank[1]) if bank else 0]  # type: ignore[union-attr]


def test_a_bank_counts_from_the_next_program_change_and_without_meaning_is_counted() -> None:
    song = one(xg(0, *XG_ON), cc(1, 0, 127, 3), note(2, 9, channel=3), program(10, 8, 3), note(11, 960, channel=3))
    assert voices(song) == [(3, 0, False), (3, 8, True)]
    assert one(cc(0, 0, 5), program(0, 1), note(1, 9)).ignored == {"bank_select": 1}
    assert one(cc(0, 0, 0), cc(0, 32, 0), program(0, 1), note(1, 9)).ignored == {}
    assert one(program(0, 1), note(1, 9), cc(10, 0, 0)).ignored == {"bank_select": 1}  # no program change follows


@pytest.mark.parametrize(("block", "channel"), [(0, 9), (1, 0), (9, 8), (10, 10), (15, 15)])
def test_gs_parts_are_channels(block: int, channel: int) -> None:
    rhythm = 0 if channel == 9 else 2
    song = one(gs(0, 0x40, 0x10 | block, 0x15, rhythm), note(10, 960, channel=channel))
    assert voices(song) == [(channel, 0, rhythm > 0)]
    wrong = sysex(0, 0x41, 0x10, 0x42, 0x12, 0x40, 0x10 | block, 0x15, rhythm, 1)  # the checksum
    song = one(wrong, note(10, 960, channel=channel))
    assert (voices(song)[0][2], song.ignored) == (channel == 9, {"sysex": 1})


def test_xg_part_modes_and_messages_in_pieces() -> None:
    assert voices(one(xg(0, 8, 3, 7, 2), note(10, 960, channel=3))) == [(3, 0, True)]
    assert voices(one(xg(0, 8, 9, 7, 0), note(10, 960, channel=9))) == [(9, 0, False)]
    pieces = [(0, bytes([0xF0, 4, 0x43, 0x10, 0x4C, 8])), (1, bytes([0xF7, 4, 3, 7, 2, 0xF7]))]
    assert voices(one(*pieces, note(10, 960, channel=3))) == [(3, 0, True)]


def test_a_reset_forgets_everything_and_silences() -> None:
    before = [cc(0, 7, 10), cc(0, 10, 5), program(0, 9), *rpn(0, 0, 12), bend(0, 100), cc(0, 64, 127), master(0, 1, 99)]
    song = one(before, on(10), sysex(480, *GM_ON), off(960), note(1000, 1100))
    assert voices(song) == [(0, 9, False), (0, 0, False)]
    assert spans(song) == [(60, 0.0104, 0.5), (60, 1.0417, 1.1458)]
    assert song.notes.cut.tolist() == [0.5, math.inf]  # type: ignore[union-attr]
    assert song.notes.pan.tolist() == [5, 64]  # type: ignore[union-attr]
    assert (gains(song, 0.6), bends(song, 0.6)) == ([0.0], [0.0])


def test_set_up_in_a_later_track_of_the_same_tick_comes_first() -> None:
    song = read(track(note(0, 960)), track(program(0, 30), cc(0, 10, 1), cc(0, 7, 50), end=0))
    assert (voices(song), song.notes.pan.tolist()) == ([(0, 30, False)], [1])  # type: ignore[union-attr]
    # In one track their order is what is written.
    assert voices(one(on(0), program(0, 30), off(960)))[0][1] == 0


# Pedals


@needs_shared
def test_pedals_of_the_files() -> None:
    assert spans(shared("pedal_on_own_track.mid")) == spans(shared("pedal_in_track_control.mid"))
    assert {end for _, _, end in spans(shared("pedal_on_own_track.mid"))} == {2.5}
    lifted = spans(shared("cc121_lifts_pedal.mid"))
    assert (lifted[0][2], [round(end - start, 4) for _, start, end in lifted[1:]]) == (1.0, [0.25] * 3)
    assert spans(shared("sostenuto_cc66.mid")) == [(48, 0.0, 3.0), (72, 1.0, 1.25), (60, 4.0, 4.25)]
    assert spans(shared("mpe_pedal_master.mid")) == [(60, 0.0104, 2.5), (64, 0.0208, 2.5), (67, 4.0, 4.25)]
    assert [end - start for _, start, end in spans(shared("half_pedal_residue.mid"))[1:]] == [0.25, 0.25]
    assert spans(shared("pedal_up_key_held.mid")) == [(60, 0.1198, 1.0), (64, 2.0, 2.4167), (64, 2.4167, 3.0)]


def test_a_pedal_holds_until_it_is_lifted_or_the_key_is_struck_again() -> None:
    song = one(cc(0, 64, 64), note(0, 96), note(480, 576), note(0, 96, 62), cc(960, 64, 63))
    assert spans(song) == [(60, 0.0, 0.5), (62, 0.0, 1.0), (60, 0.5, 1.0)]
    unheld = NotesConfig(sustain_pedal=False)
    content = midi(track(cc(0, 64, 127), note(0, 96), cc(960, 64, 0)))
    assert load_midi(content, unheld).notes.end.tolist() == [pytest.approx(0.1)]


def test_drums_know_no_pedal() -> None:
    assert spans(one(cc(0, 64, 127, 9), note(0, 96, channel=9), cc(960, 64, 0, 9))) == [(60, 0.0, 0.1)]
    assert spans(one(gs(0, 0x40, 0x10, 0x15, 0), cc(0, 64, 127, 9), note(1, 96, channel=9), cc(960, 64, 0, 9))) == [
        (60, 0.001, 1.0)
    ]


def test_sostenuto_and_sustain_together() -> None:
    song = one(on(0), cc(96, 66, 127), cc(192, 64, 127), off(288), cc(480, 64, 0), cc(960, 66, 0))
    assert spans(song) == [(60, 0.0, 1.0)]
    song = one(on(0), cc(96, 66, 127), off(288), cc(480, 64, 127), cc(576, 66, 0), cc(960, 64, 0))
    assert spans(song) == [(60, 0.0, 1.0)]


def test_a_pedal_that_is_never_lifted_or_hours_late_is_no_music() -> None:
    assert spans(one(cc(0, 64, 127), note(0, 480), end=960)) == [(60, 0.0, 1.0)]
    assert spans(one(cc(0, 64, 127), note(0, 480), end=9600)) == [(60, 0.0, 2.5)]
    late = one(cc(0, 64, 127), note(0, 480), cc(12_000_000, 64, 0))
    assert late.notes.span == 0.5 + MAX_TAIL


# All notes off, all sound off, reset all controllers


@needs_shared
def test_mode_messages_of_the_files() -> None:
    assert spans(shared("cc123_only.mid")) == [(60, 0, 1), (64, 0, 1), (67, 0, 1), (62, 2, 3), (65, 2, 3)]
    bars = shared("cc123_each_bar.mid")
    assert [(start, end) for _, start, end in spans(bars)] == [(0, 1)] * 2 + [(2, 3)] * 2 + [(4, 5)] * 2
    assert bars.ignored == {"note_offs": 6}
    song = shared("cc120_then_late_off.mid")
    assert spans(song) == [(60, 0.0, 0.5), (64, 1.0, 1.25)]
    assert song.notes.cut.tolist() == [0.5, math.inf]  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", range(123, 128))
def test_modes_end_notes_and_pedals_go_on_holding(mode: int) -> None:
    assert spans(one(on(0), cc(480, mode, 0), off(960))) == [(60, 0.0, 0.5)]
    assert spans(one(cc(0, 64, 127), on(0), cc(480, mode, 0), cc(960, 64, 0), off(1000))) == [(60, 0.0, 1.0)]
    assert spans(one(on(0), on(0, 60, 1), cc(480, mode, 0), off(960, 60, 1))) == [(60, 0.0, 0.5), (60, 0.0, 1.0)]


def test_all_sound_off_silences_whatever_pedal_or_release() -> None:
    song = one(cc(0, 64, 127), note(0, 96), on(100, 64), cc(480, 120, 0), off(960, 64), cc(1000, 64, 0))
    assert [end for _, _, end in spans(song)] == [0.5, 0.5]
    releasing = one(note(0, 470), cc(480, 120, 0), note(500, 960))
    assert releasing.notes.cut.tolist() == [0.5, math.inf]  # type: ignore[union-attr]
    assert releasing.notes.end[0] == pytest.approx(470 / 960)


def test_reset_all_controllers_leaves_what_rp_015_lists() -> None:
    stays = [cc(0, 7, 50), cc(0, 10, 5), program(0, 9), *rpn(0, 0, 12), *rpn(0, 2, 65), *rpn(0, 1, 96)]
    goes = [cc(0, 11, 10), bend(0, 8191), cc(0, 64, 127), cc(0, 66, 127)]
    song = one(stays, goes, note(0, 96), cc(480, 121, 0), note(480, 960), bend(600, -8192))
    assert spans(song) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]
    assert gains(song, 0.6) == [round(40 * math.log10(0.5), 2)]
    assert bends(song, 0.55, 0.7) == [1.5, -10.5]
    assert (voices(song)[1], song.notes.pan.tolist()) == ((0, 9, False), [5, 5])  # type: ignore[union-attr]
    null = one(rpn(0, 0, 12), cc(0, 121, 0), cc(0, 6, 24), bend(0, -8192), note(0, 960))
    assert (bends(null, 0.5), null.ignored) == ([-12.0], {"data_entry": 1})


# MPE


def test_zones() -> None:
    zone = rpn(0, 6, 15)
    song = one(zone, note(0, 960, 60, 9), note(0, 960, 60, 1), bend(0, 4096, 1), bend(0, -8192), cc(0, 7, 50))
    assert sorted(voices(song)) == [(1, 0, False), (9, 0, False)]
    assert (bends(song, 0.5, channel=1), bends(song, 0.5, channel=9)) == ([24.0 - 2.0], [-2.0])
    assert gains(song, 0.5, channel=9) == gains(song, 0.5, channel=1) == [round(40 * math.log10(0.5), 2)]
    loud = one(zone, cc(0, 7, 127), cc(0, 7, 127, 1), note(0, 960, 60, 1))
    assert gains(loud, 0.5, channel=1) == [4.15]
    one_for_all = one(zone, rpn(1, 0, 24, channel=5), bend(1, -8192, 2), note(1, 960, 60, 2))
    assert bends(one_for_all, 0.5, channel=2) == [-24.0]
    outside = one(rpn(0, 6, 3), bend(0, -8192, 4), note(0, 960, 60, 4), note(0, 960, 36, 9))
    assert (bends(outside, 0.5, channel=4), sorted(voices(outside))[-1]) == ([-2.0], (9, 0, True))
    ended = one(zone, rpn(10, 6, 0), note(20, 960, 36, 9))
    assert voices(ended) == [(9, 0, True)]


def test_an_upper_zone_and_two_that_meet() -> None:
    song = one(rpn(0, 6, 4, channel=15), bend(0, -8192, 15), note(0, 960, 60, 11), note(0, 960, 60, 10))
    assert (bends(song, 0.5, channel=11), bends(song, 0.5, channel=10)) == ([-2.0], [0.0])
    both = one(rpn(0, 6, 10, channel=15), rpn(1, 6, 8), bend(2, -8192), bend(2, 4096, 15), note(2, 960, 60, 8))
    assert bends(both, 0.5, channel=8) == [-2.0]
    elsewhere = one(rpn(0, 6, 8, channel=3), bend(0, -8192, 3), note(0, 960, 60, 4))
    assert (elsewhere.channels, elsewhere.ignored) == ({}, {"data_entry": 1})


def test_the_masters_messages_are_the_zones() -> None:
    zone = [*rpn(0, 6, 5), program(0, 40), cc(0, 10, 100)]
    song = one(zone, on(0, 60, 2), cc(480, 123, 0), on(500, 60, 3), cc(600, 120, 0), end=2000)
    assert voices(song) == [(2, 40, False), (3, 40, False)]
    assert [end for _, _, end in spans(song)] == [0.5, 0.625]
    assert song.notes.pan.tolist() == [100, 100]  # type: ignore[union-attr]


# Ports


def test_ports_have_channels_of_their_own() -> None:
    song = read(
        track(program(0, 5), cc(0, 7, 20), note(0, 960)),
        track(meta(0, 0x21, b"\x03"), program(0, 6), on(0), cc(0, 64, 127), off(96), cc(960, 64, 0)),
    )
    assert sorted(voices(song)) == [(0, 5, False), (48, 6, False)]
    assert set(song.channels) == {0}
    devices = [meta(0, 0x09, name) for name in (b"Synth A", b"Synth B", b"Synth A")]
    song = read(*(track(device, note(0, 960, 60 + n)) for n, device in enumerate(devices)))
    assert song.notes.channel.tolist() == [0, 16, 0]  # type: ignore[union-attr]


# Pairing


@needs_shared
def test_pairs_of_the_files() -> None:
    assert spans(shared("fugue_on_on_off_off.mid"))[:2] == [(69, 0.0, 0.5104), (69, 0.5, 1.5)]
    assert spans(shared("repeated_notes_overlap_10ticks.mid"))[:2] == [(60, 0.0, 1.0), (60, 0.9896, 2.0)]
    assert spans(shared("repeated_notes_on_before_off.mid")) == [(60, 0, 1), (60, 1, 2), (60, 2, 3)]
    assert spans(shared("layered_same_pitch.mid")) == [(60, 0.0, 1.0), (60, 0.5, 2.5)]
    song = shared("hang_restruck.mid")
    assert spans(song) == [(60, n / 2, n / 2 + 0.5) for n in range(6)]
    assert (song.repairs, song.repaired_notes) == (("hanging_notes",), {"hanging_notes": 5})
    song = shared("last_note_hangs.mid")
    assert (spans(song)[2], song.repairs) == ((67, 2.0, 4.0), ("hanging_notes",))
    whole, cut = shared("no_note_offs.mid"), shared("no_note_offs_cut_short.mid")
    assert [row[:2] for row in spans(whole)] == [row[:2] for row in spans(cut)] == [(60 + n, n / 2) for n in range(7)]
    assert np.abs(whole.notes.end - cut.notes.end).max() <= 2.0
    assert cut.repairs == ("hanging_notes", "track_truncated")
    for name, count in (("zero_length_notes", 2), ("zero_length_piano_run", 8), ("zero_length_drum_groove", 8)):
        song = shared(f"{name}.mid")
        assert (song.repairs, song.repaired_notes) == (("zero_length_notes",), {"zero_length_notes": count})
        assert (song.notes.end - song.notes.start >= SHORTEST_NOTE - 1e-9).all()
        assert len(song.notes) == {"zero_length_notes": 5}.get(name, 8)


def test_a_hanging_note_ends_soon_after_its_tracks_last_note_or_at_the_tracks_end() -> None:
    other = track(note(0, 9600, 40, 1))
    assert spans(read(track(on(0), end=9600), other))[1] == (60, 0.0, 2.0)
    assert spans(read(track(on(0), end=480), other))[1] == (60, 0.0, 0.5)
    assert spans(read(track(on(0), note(480, 960, 64), end=9600), other))[1] == (60, 0.0, 3.0)
    # One that another track strikes again is ended there, and a note-off of another track is one.
    assert spans(read(track(on(0), end=9600), track(note(480, 960))))[0] == (60, 0.0, 0.5)
    assert spans(read(track(on(0), end=9600), track(off(480), end=960)))[0] == (60, 0.0, 0.5)


def test_each_track_ends_its_own_notes_first() -> None:
    song = read(track(on(0), off(960)), track(on(240, 60, 0, 50), off(480)))
    assert spans(song) == [(60, 0.0, 1.0), (60, 0.25, 0.5)]


def test_a_zero_length_note_under_a_pedal_is_held() -> None:
    song = one(cc(0, 64, 127), note(0, 0), cc(960, 64, 0))
    assert (spans(song), song.repairs) == ([(60, 0.0, 1.0)], ())


# Formats and ends


@needs_shared
def test_what_follows_the_last_note_is_no_music() -> None:
    for name in ("end_of_track_81min_late", "end_of_track_hours_late", "trailing_lyrics_controller_late"):
        song = shared(f"{name}.mid")
        assert (song.notes.span, song.repairs) == (2.0, ())


@needs_shared
def test_format_2_is_one_sequence_after_another() -> None:
    song = shared("format2_two_songs.mid")
    assert spans(song) == [(60, 0, 1), (62, 1, 2), (72, 2, 3), (74, 3, 4)]
    assert voices(song)[2] == (0, 73, False)
    assert (song.repairs, sorted(song.track_names.values())) == (("sequences_joined",), ["Song A", "Song B"])


def test_sequences_have_channels_tempos_and_ends_of_their_own() -> None:
    slow = meta(0, 0x51, (1_000_000).to_bytes(3, "big"))
    first = track(slow, cc(0, 7, 50), program(0, 5), note(0, 960), cc(999, 7, 10), end=12_000_000)
    song = read(first, track(note(0, 960, 64), cc(480, 7, 20)), kind=2)
    # Two seconds of music; the end of its track is late, and what it says of the channel then is not heard.
    assert spans(song) == [(60, 0.0, 2.0), (64, 4.0, 5.0)]
    assert voices(song) == [(0, 5, False), (0, 0, False)]
    half, fifth = (round(40 * math.log10(v), 2) for v in (0.5, 0.2))
    assert gains(song, 0.0, 1.9, 4.0, 4.4, 4.6) == [half, half, 0.0, 0.0, fifth]


@needs_shared
def test_the_rest_is_as_it_was() -> None:
    assert spans(shared("tempo_under_notes.mid")) == [(60, 0.0, 1.9), (72, 0.5, 2.275), (62, 1.9, 2.65)]
    assert spans(shared("label_pitches.mid")) == [(24 + 4 * n, 4.0 * n, 4 * n + 2.9) for n in range(16)]
    assert shared("long_200s.mid").notes.span == pytest.approx(199.9)


@needs_shared
@pytest.mark.parametrize("name", ["song.mid.gz", "gz_named_mid.mid", "mixed_folder/f.mid.gz"])
def test_gzip(name: str) -> None:
    song = shared(name)
    assert (spans(song), song.repairs) == ([(60, 0.0, 1.0)], ("gzip_unwrapped",))


@needs_shared
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("score_musicxml.mid", "MusicXML"),
        ("score_mxl.mid", "compressed MusicXML"),
        ("midi2_clip.mid", "MIDI 2.0 clip"),
        ("midi2_clip.midi2", "MIDI 2.0 clip"),
        ("xmf.xmf", "XMF"),
    ],
)
def test_other_formats_are_named(name: str, what: str) -> None:
    with pytest.raises(MidiError, match=what) as caught:
        shared(name)
    assert caught.value.code == "midi-not-midi"


# What is ignored


@needs_shared
def test_what_the_files_have_that_is_not_played() -> None:
    hairpin = shared("cc2_hairpin_long_note.mid")
    assert (hairpin.ignored, hairpin.channels) == ({"breath": 28}, {})
    assert shared("portamento_glide_cc65.mid").ignored == {"portamento": 3}


def test_everything_without_effect_is_counted() -> None:
    events = [cc(0, control, 1) for control in (1, 2, 4, 5, 8, 65, 67, 68, 69, 71, 84, 91, 93, 16, 39, 122)]
    events += [
        (0, b"\xd0\x40"),
        (0, b"\xa0\x3c\x40"),
        (0, b"\xf8"),
        sysex(0, 1, 2, 3),
        sysex(0, 0x7F, 0x7F, 4, 2, 0, 0),
    ]
    song = one(events, note(0, 960), off(961, 61))
    assert song.ignored == {
        "aftertouch": 1,
        "balance": 1,
        "breath": 1,
        "effect_levels": 2,
        "fine_values": 1,
        "foot_controller": 1,
        "hold_2": 1,
        "legato_pedal": 1,
        "local_control": 1,
        "modulation": 1,
        "note_offs": 1,
        "other_controllers": 1,
        "poly_aftertouch": 1,
        "portamento": 3,
        "soft_pedal": 1,
        "sound_controllers": 1,
        "sysex": 2,
        "system_messages": 1,
    }
    assert song.channels == {}


# Limits


def test_limits() -> None:
    dense = midi(track([on(n, n % 128) for n in range(100)]))
    with pytest.raises(MidiError) as caught:
        load_midi(dense, NotesConfig(max_notes=99))
    assert caught.value.code == "midi-too-many-notes"
    with pytest.raises(MidiError) as caught:
        load_midi(dense, NotesConfig(max_polyphony=98))
    assert caught.value.code == "midi-too-dense"
    with pytest.raises(MidiError) as caught:
        load_midi(midi(track(note(0, 9600))), NotesConfig(max_song_seconds=9.9))
    assert caught.value.code == "midi-too-long"
    ticks = [(0x0FFFFFFF * n, b"\xb0\x01\x00") for n in range(1, 5000)]
    with pytest.raises(MidiError) as caught:
        load_midi(midi(track(note(0, 960), ticks)), CONFIG)
    assert caught.value.code == "midi-too-long"


def test_a_zone_does_not_multiply_what_its_master_does_without_bounds() -> None:
    everyone = [on(0, 60, channel) for channel in range(16)]
    moves = b"".join(b"\x01" + bytes([0xE0, n & 127, n >> 7 & 127]) for n in range(150_000))
    begin = track(rpn(0, 6, 15), everyone, ended=False)[8:]
    body = begin + moves + b"\x00\xff\x2f\x00"
    with pytest.raises(MidiError) as caught:
        load_midi(midi(b"MTrk" + len(body).to_bytes(4, "big") + body), CONFIG)
    assert caught.value.code == "midi-too-dense"


@pytest.mark.parametrize("defect", [b"\x00\xff\x59\x02\x08\x00", b"\x00\xf0\x02\x01\xf7\x00\x3c\x00"])
def test_with_salvage_off_what_would_be_mended_is_refused(defect: bytes) -> None:
    body = b"\x00\x90\x3c\x40" + defect + b"\x83\x60\x80\x3c\x40\x00\xff\x2f\x00"
    content = midi(b"MTrk" + len(body).to_bytes(4, "big") + body)
    assert len(load_midi(content, CONFIG).notes) == 1
    with pytest.raises(MidiError, match="salvage is off"):
        load_midi(content, NotesConfig(salvage="off"))
    assert len(load_midi(midi(track(note(0, 960))), NotesConfig(salvage="off")).notes) == 1
