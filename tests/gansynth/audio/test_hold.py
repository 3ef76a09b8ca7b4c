from __future__ import annotations

import numpy as np
import pytest

from gansynth.audio.hold import can_hold, held, held_from
from tests.support.sound_measures import RATE, decibels, frequency, levels, spectrum, tone

BEGINNING = held_from(4 * RATE)
HARMONICS = (0.5, 0.25, 0.12, 0.06, 0.03)


def hertz_of(pitch: int) -> float:
    return 440 * 2 ** ((pitch - 69) / 12)


def most_uneven(audio: np.ndarray, seconds: float = 0.05) -> float:
    """Measures the largest distance in dB of a level from the median of the 21 levels around it."""
    level = levels(audio, seconds)
    near = np.lib.stride_tricks.sliding_window_view(level, 21)
    return float(np.abs(level[10:-10] - np.median(near, axis=1)).max())


def strongest_sideband(audio: np.ndarray, pitch: int, nearest: float, furthest: float) -> float:
    """Measures the strongest line at a distance in Hz from a harmonic, in dB relative to the strongest harmonic."""
    frequencies, level = spectrum(audio, 2)
    worst = -np.inf
    for harmonic in np.arange(1, 7900 / hertz_of(pitch)) * hertz_of(pitch):
        near = np.abs(frequencies - harmonic) < 8
        line = frequencies[near][level[near].argmax()]
        beside = (np.abs(frequencies - line) > nearest) & (np.abs(frequencies - line) < furthest)
        worst = max(worst, level[beside].max())
    return float(worst - level.max())


@pytest.mark.parametrize("pitch", [24, 35, 36, 60, 84])
def test_a_steady_tone_goes_on_at_its_level_and_pitch(pitch: int) -> None:
    out = held(tone(hertz_of(pitch), BEGINNING, HARMONICS).astype(np.float32), 12 * RATE, pitch, RATE)
    assert (out.dtype, len(out)) == (np.float32, 12 * RATE)
    assert most_uneven(out, 0.05 if pitch >= 60 else 0.5) < 0.2
    after = out[4 * RATE :]
    for number, amplitude in enumerate(HARMONICS, 1):
        near = number * hertz_of(pitch)
        assert abs(frequency(after, near) - near) < 0.05
        frequencies, level = spectrum(after, 4)
        assert level[np.abs(frequencies - near) < 2].max() == pytest.approx(20 * np.log10(amplitude), abs=0.1)


@pytest.mark.parametrize("fall", [4.0, 8.0, 20.0])
def test_a_decaying_tone_goes_on_decaying(fall: float) -> None:
    source = tone(220.0, BEGINNING, HARMONICS) * 10 ** (-fall / 20 * np.arange(BEGINNING) / RATE)
    level = levels(held(source.astype(np.float32), 8 * RATE, 57, RATE), 0.1)
    np.testing.assert_allclose(level, level[5] - fall * 0.1 * (np.arange(80) - 5), atol=0.05 * fall)


def test_a_swell_is_no_decay() -> None:
    swell = 1 + 0.9 * np.sin(2 * np.pi * np.arange(BEGINNING) / RATE / 3 - 0.5)
    level = levels(held((tone(220.0, BEGINNING, HARMONICS) * swell).astype(np.float32), 10 * RATE, 57, RATE))
    assert np.ptp(level[70:]) < 1
    assert level[70:].mean() == pytest.approx(level[58], abs=1.5)


def test_bins_of_a_partial_that_drift_apart_do_not_beat() -> None:
    source = tone(440.0, BEGINNING) + 0.5 * tone(440.3, BEGINNING)  # a beat of 3.3 s, of which the loop has a part
    out = held(source.astype(np.float32), 14 * RATE, 69, RATE)
    assert np.ptp(levels(out[3 * RATE :], 0.1)) < 0.5
    assert np.ptp(levels(source, 0.1)) > 5


def test_the_beginning_stays_as_it_is_whatever_the_length() -> None:
    source = (tone(330.0, BEGINNING, HARMONICS) + np.random.RandomState(0).normal(0, 0.01, BEGINNING)).astype(
        np.float32
    )
    longest = held(source, 9 * RATE, 64, RATE)
    np.testing.assert_array_equal(longest[: BEGINNING - 2048], source[:-2048])
    for samples in (1000, BEGINNING, 4 * RATE + 1, 8 * RATE):
        np.testing.assert_array_equal(held(source, samples, 64, RATE), longest[:samples])


def test_silence_stays_silent_and_short_notes_are_refused() -> None:
    assert not held(np.zeros(BEGINNING, np.float32), 8 * RATE, 60, RATE).any()
    assert can_hold(4 * RATE)
    assert not can_hold(RATE)
    with pytest.raises(ValueError, match="too short"):
        held(np.zeros(held_from(RATE), np.float32), 8 * RATE, 60, RATE)


NAMES = ("church_organ", "strings", "flute", "trombone", "clarinet", "trumpet", "piano")


@pytest.fixture(scope="module")
def notes() -> dict[tuple[str, int], np.ndarray]:
    """Renders notes of the bundled checkpoint, held for 12 s."""
    from gansynth import Synthesizer
    from gansynth.config import InstrumentsConfig
    from gansynth.score.spec import synth_spec

    synth = Synthesizer.from_checkpoint("mini", threads=1)
    bank = synth_spec(synth.shape, InstrumentsConfig()).bank
    wanted = [(name, pitch) for name in NAMES for pitch in (38, 48, 60, 72, 84)]
    latents = np.stack([bank.latents[list(bank.names).index(name)] for name, _ in wanted])
    sounds = synth.synthesize(latents, [pitch for _, pitch in wanted], held_from(synth.note_samples))
    return {note: held(sound, 12 * RATE, note[1], RATE) for note, sound in zip(wanted, sounds, strict=True)}


@pytest.mark.parametrize("name", ["church_organ", "strings", "flute", "trombone", "clarinet", "trumpet"])
@pytest.mark.parametrize("pitch", [38, 48, 60, 72, 84])
def test_held_notes_of_the_bundled_voice_are_steady(
    notes: dict[tuple[str, int], np.ndarray], name: str, pitch: int
) -> None:
    audio = notes[name, pitch]
    assert most_uneven(audio[round(2.6 * RATE) :]) < 1.5
    # Frames are read over in 2 s. Strings have lines of their own there, which no frame differs from another by.
    assert strongest_sideband(audio[round(3.2 * RATE) :], pitch, 0.4, 1.5) < (-42 if name == "strings" else -45)
    level = levels(audio, 0.5)
    assert np.ptp(level[8:]) < 1.5  # it neither falls nor swells
    assert abs(level[8:].mean() - level[2:6].mean()) < 3.0
    edge = np.abs(np.diff(audio.astype(np.float64), 3))  # a click is sharp
    assert edge[BEGINNING - 4096 :].max() < 1.5 * edge[RATE:BEGINNING].max()


@pytest.mark.parametrize("pitch", [38, 48, 60, 72, 84])
def test_a_held_piano_goes_on_decaying(notes: dict[tuple[str, int], np.ndarray], pitch: int) -> None:
    level = levels(notes["piano", pitch], 0.5)
    before = (level[5] - level[3]) / 1.0
    assert before < -3
    after = np.diff(level[6:20]) / 0.5
    assert after.max() < 0.3 * before
    assert after.min() > 2.5 * before
    assert decibels(notes["piano", pitch][10 * RATE :], notes["piano", pitch]) < -40
