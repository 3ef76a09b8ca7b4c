"""The expected sound of ../shared/channels (see EXPECTED.md there), measured on the rendered audio.

Each test measures a kind: level in dB, pitch in Hz, onsets and ends in ms. The bundled checkpoint plays.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import gansynth
from gansynth.config import SoundConfig
from gansynth.rendering.performance import Performance, perform
from gansynth.score.instruments import load_bank

MINI = Path(gansynth.__file__).parent / "mini"
SHARED = Path(__file__).parents[4] / "shared" / "channels"
RATE = 16000
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/channels, small MIDI files")
Play = Callable[[str], Performance]


@pytest.fixture(scope="module")
def play() -> Play:
    synth = gansynth.Synthesizer.from_checkpoint("mini")
    config = SoundConfig.model_validate({"mix": {"clip_peak": "none"}, "envelope": {"release": 0.3}})
    return lambda name: perform(str(SHARED / name), synth, config, name)


def level(clip: Performance, start: float, end: float) -> float:
    """RMS level in dB from `start` to `end` seconds."""
    piece = np.zeros(round((end - start) * RATE))
    found = clip.audio[round(start * RATE) :][: len(piece)]
    piece[: len(found)] = found
    return float(20 * np.log10(np.sqrt(np.mean(piece**2)) + 1e-9))


def off_pitch(clip: Performance, start: float, end: float, wanted: float) -> float:
    """Cents between the strongest peak within a fifth of a fundamental and the fundamental itself."""
    piece = clip.audio[round(start * RATE) : round(end * RATE)].astype(np.float64)
    size = 1 << 18
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), size))
    frequency = np.arange(len(spectrum)) * RATE / size
    near = np.abs(1200 * np.log2(np.maximum(frequency, 1) / wanted)) < 700
    found = frequency[near][spectrum[near].argmax()]
    return float(abs(1200 * np.log2(found / wanted)))


def onsets(clip: Performance) -> list[float]:
    """Seconds at which sound begins after silence."""
    frames = np.abs(clip.audio[: len(clip.audio) // 80 * 80].reshape(-1, 80)).max(axis=1) > 1e-4
    return (np.flatnonzero(np.diff(np.concatenate([[False], frames]).astype(int)) == 1) * 0.005).tolist()


def end_of(clip: Performance, start: float, stop: float) -> float:
    """Seconds at which the sound between two times falls 40 dB below its highest level."""
    piece = np.abs(clip.audio[round(start * RATE) : round(stop * RATE)])
    return start + float(np.flatnonzero(piece > piece.max() / 100)[-1] + 1) / RATE


def test_volume_follows_40_log10(play: Play) -> None:
    clip = play("cc7_three_levels.mid")
    first, second, third = (level(clip, t + 0.2, t + 0.9) for t in (0, 2, 4))
    assert second - first == pytest.approx(-15.2, abs=0.3)
    assert third - first == pytest.approx(-27.3, abs=0.3)


def test_a_muted_part_is_silent_and_costs_no_note(play: Play) -> None:
    clip = play("cc7_zero_muted_part.mid")
    assert level(clip, 4.0, 5.0) < -100
    assert level(clip, 0.1, 0.9) > -40
    assert clip.plan.counts["muted"] == 1
    assert len(clip.plan.notes) == 2


def test_expression_swells_within_a_note_and_between_notes(play: Play) -> None:
    clip = play("cc11_crescendo.mid")
    swell = [level(clip, t, t + 0.25) for t in np.arange(0.25, 2.25, 0.25)]
    assert (np.diff(swell) > 1).all()
    four = [level(clip, t + 0.2, t + 0.9) for t in (4, 6, 8, 10)]
    steps = [40 * np.log10(b / a) for a, b in ((10, 50), (50, 90), (90, 127))]
    np.testing.assert_allclose(np.diff(four), steps, atol=0.3)


def test_breath_is_not_volume_and_is_counted(play: Play) -> None:
    clip = play("cc2_hairpin_long_note.mid")
    assert clip.plan.ignored["breath"] == 28
    assert np.ptp([level(clip, t, t + 0.25) for t in np.arange(1.0, 2.5, 0.25)]) < 6  # the strings' own movement


def test_master_volume_sets_four_levels(play: Play) -> None:
    clip = play("sysex_master_volume_fade.mid")
    levels = [level(clip, t + 0.2, t + 0.9) for t in (0, 2, 4, 6)]
    values = (127, 80, 40, 10)
    wanted = [40 * np.log10(b / a) for a, b in pairwise(values)]
    np.testing.assert_allclose(np.diff(levels), wanted, atol=0.5)


def test_bends_by_their_range_and_a_glide(play: Play) -> None:
    clip = play("pitch_bend_rpn0.mid")
    for start, wanted in ((0.2, 220.0), (2.2, 246.94), (4.2, 440.0)):
        assert off_pitch(clip, start, start + 0.7, wanted) < 10
    assert off_pitch(clip, 6.05, 6.25, 220.0) < 100
    assert off_pitch(clip, 7.75, 8.0, 440.0) < 100


def test_quarter_tones(play: Play) -> None:
    clip = play("quarter_tones.mid")
    for start, wanted in ((0.2, 261.6), (2.2, 269.3), (4.2, 261.6), (6.2, 254.2)):
        assert off_pitch(clip, start, start + 0.7, wanted) < 10


def test_coarse_tuning(play: Play) -> None:
    clip = play("rpn2_coarse_tune.mid")
    assert off_pitch(clip, 0.2, 0.9, 440.0) < 10
    assert off_pitch(clip, 2.2, 2.9, 220.0) < 10


def test_drum_channels_by_sysex_and_bank(play: Play) -> None:
    clip = play("gs_rhythm_ch11_melody_ch10.mid")
    assert clip.plan.counts["drums_played"] == 8
    assert clip.plan.counts["played"] == 16
    flute = play("gm2_melodic_bank121_ch10.mid")
    assert flute.plan.counts.get("drums_played", 0) == 0
    assert flute.plan.programs == {73: "flute"}
    assert off_pitch(flute, 1.08, 1.33, 261.63) < 15


def test_programs_of_a_setup_track(play: Play) -> None:
    assert {73, 32} == set(play("setup_track_programs.mid").plan.programs)


@pytest.mark.parametrize("name", ["pedal_on_own_track.mid", "pedal_in_track_control.mid"])
def test_the_pedal_holds_all_notes_of_its_channel(name: str, play: Play) -> None:
    clip = play(name)
    assert level(clip, 2.3, 2.5) > level(clip, 1.0, 1.2) - 25
    assert end_of(clip, 2.4, 2.8) == pytest.approx(2.8, abs=0.1)


def test_the_pedal_of_an_mpe_zone_is_the_masters(play: Play) -> None:
    clip = play("mpe_pedal_master.mid")
    assert (clip.plan.notes.start + clip.plan.notes.sustain)[:2].tolist() == pytest.approx([2.5 * RATE] * 2, abs=1)
    assert level(clip, 2.2, 2.5) > -60


def test_reset_all_controllers_lifts_the_pedal(play: Play) -> None:
    clip = play("cc121_lifts_pedal.mid")
    for start in (4.0, 6.0, 8.0):
        assert level(clip, start + 0.62, start + 1.0) < -90


def test_a_program_change_leaves_held_notes_and_the_pedal(play: Play) -> None:
    clip = play("program_change_pedal_down.mid")
    assert clip.plan.notes.program.tolist() == [0, 48, 48]
    under = play("program_change_under_note.mid")
    assert under.plan.notes.program.tolist() == [48, 73]


def test_sostenuto_holds_what_was_down(play: Play) -> None:
    clip = play("sostenuto_cc66.mid")
    assert level(clip, 2.6, 2.95) > -60
    assert off_pitch(clip, 2.0, 2.9, 130.81) < 15  # the bass alone: the others are over
    assert level(clip, 3.4, 3.9) < -90


@pytest.mark.parametrize(("name", "ends"), [("cc123_only.mid", (1.0, 3.0)), ("cc123_each_bar.mid", (1.0, 3.0, 5.0))])
def test_all_notes_off_ends_notes(name: str, ends: tuple[float, ...], play: Play) -> None:
    clip = play(name)
    for end in ends:
        assert level(clip, end - 0.1, end) > -60
        assert level(clip, end + 0.31, end + 0.6) < -90


def test_all_sound_off_is_silence_within_5_ms(play: Play) -> None:
    clip = play("cc120_then_late_off.mid")
    assert level(clip, 0.4, 0.5) > -60
    assert not clip.audio[round(0.505 * RATE) : round(0.99 * RATE)].any()


@pytest.mark.parametrize(
    ("name", "last"), [("last_note_hangs.mid", 4.0), ("no_note_offs.mid", 5.0), ("no_note_offs_cut_short.mid", 5.0)]
)
def test_hanging_notes_end(name: str, last: float, play: Play) -> None:
    clip = play(name)
    assert "hanging_notes" in clip.plan.repairs
    assert clip.plan.repaired_notes["hanging_notes"] > 0
    assert clip.seconds == pytest.approx(last + 0.3, abs=0.01)


def test_restruck_hanging_notes_are_all_heard(play: Play) -> None:
    clip = play("hang_restruck.mid")
    assert (clip.plan.notes.sustain / RATE).tolist() == [0.5] * 6
    attacks = [level(clip, t + 0.02, t + 0.12) for t in np.arange(0, 3, 0.5)]
    assert np.ptp(attacks) < 5  # what is left of the note before adds to the next


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("zero_length_notes.mid", [0.0, 1.0, 2.0, 3.0, 4.0]),
        ("zero_length_piano_run.mid", None),
        ("zero_length_drum_groove.mid", None),
    ],
)
def test_notes_without_length_are_heard(name: str, starts: list[float] | None, play: Play) -> None:
    clip = play(name)
    assert "zero_length_notes" in clip.plan.repairs
    if starts:
        assert onsets(clip) == pytest.approx(starts, abs=0.015)
    for start in (clip.plan.notes.start / RATE).tolist():
        assert level(clip, start, start + 0.1) > -50


def test_an_off_ends_the_oldest_note(play: Play) -> None:
    overlap = play("repeated_notes_overlap_10ticks.mid")
    assert level(overlap, 1.7, 1.95) > -45
    fugue = play("fugue_on_on_off_off.mid")
    assert level(fugue, 1.2, 1.45) > -45


def test_formats_and_lengths(play: Play) -> None:
    assert play("format2_two_songs.mid").seconds == pytest.approx(4.3, abs=0.01)
    for name in ("end_of_track_81min_late.mid", "end_of_track_hours_late.mid", "trailing_lyrics_controller_late.mid"):
        assert play(name).seconds == pytest.approx(2.3, abs=0.01)
    assert play("song.mid.gz").seconds == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize(("number", "seconds"), [(56, 0.19), (73, 0.29), (48, 1.0), (19, 1.0), (16, 0.13)])
def test_notes_end_as_their_instruments_do(number: int, seconds: float) -> None:
    from tests.support.midi_bytes import midi, note, program, track

    synth = gansynth.Synthesizer.from_checkpoint("mini")
    bank = load_bank(str(MINI / "instruments.yaml"), synth.latent_size)
    name = bank.names[bank.for_program(number)]
    assert bank.program_releases.get(number, bank.releases[name]) == seconds
    data = midi(track(program(0, number), *note(0, 1920, 60)))
    configs = [SoundConfig.model_validate({"envelope": {"release": release}}) for release in ("instrument", 0.3)]
    heard = [perform(data, synth, config) for config in configs]
    assert [clip.seconds for clip in heard] == pytest.approx([2.0 + seconds, 2.3], abs=0.01)
    # The same sound under both envelopes: what differs is the fall, straight in dB and straight in amplitude.
    fall = [level(heard[0], 2 + at, 2.02 + at) - level(heard[1], 1.98, 2.0) for at in (0.04, 0.09)]
    assert fall[0] - fall[1] == pytest.approx(60 * 0.05 / seconds, abs=2.5)


def test_a_long_chord_lasts_as_written(play: Play) -> None:
    from tests.support.midi_bytes import midi, note, program, track  # a case of this test's own

    data = midi(track(program(0, 19), *(event for pitch in (60, 64, 67) for event in note(0, 9600, pitch))))
    clip = perform(data, gansynth.Synthesizer.from_checkpoint("mini"), SoundConfig(), "long")
    assert clip.seconds == pytest.approx(11.0, abs=0.01)
    assert level(clip, 9.5, 9.9) > level(clip, 1.0, 1.4) - 3
