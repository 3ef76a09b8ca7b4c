from __future__ import annotations

import numpy as np
import pytest

from gansynth.audio.bend import Curve, bent, nearest_semitone, source_samples, stretched
from tests.support.sound_measures import RATE, decibels, frequency, spectrum, tone

HARMONICS = tuple(0.5**n for n in range(1, 9))


def glide(samples: int, semitones: np.ndarray) -> tuple[Curve, np.ndarray]:
    """Makes a curve with a step every 5 ms, and its frequency ratio at every sample."""
    begins = np.arange(0, samples, 80)
    curve = Curve(begins / RATE, semitones[begins])
    return curve, 2 ** (np.repeat(semitones[begins], 80)[:samples] / 12)


@pytest.mark.parametrize("semitones", [-24, -12, -3.5, -0.5, -0.02, 0.02, 1, 2, 7, 12, 19])
def test_a_sine_comes_out_as_one_line_without_aliases_or_images(semitones: float) -> None:
    ratio, samples = 2 ** (semitones / 12), 24000
    curve = Curve.constant(semitones)
    for hertz in np.arange(110.0, 7990.0, 337.7):
        source = tone(hertz, source_samples(samples, curve, RATE)).astype(np.float32)
        frequencies, heard = spectrum(bent(source, curve, samples, RATE)[2000:-2000], 4)
        line = np.abs(frequencies - hertz * ratio) < 10
        assert heard[~line].max() < -80
        if hertz * ratio < 0.9 * RATE / 2 and hertz < 0.95 * RATE / 2:
            assert heard[line].max() == pytest.approx(0, abs=0.05)


def test_a_sweep_bent_up_by_an_octave_ends_at_half_its_way() -> None:
    curve, samples = Curve.constant(12.0), 32000
    needed = source_samples(samples, curve, RATE)
    sweep = tone(np.linspace(100, 7900, needed), needed).astype(np.float32)
    out = bent(sweep, curve, samples, RATE)
    upper = round((4000 - 100) / 7800 * samples)  # here the source passes 4 kHz, and the bent sweep half the rate
    assert decibels(out[upper + 400 :], out[: len(out) - upper - 400]) < -75


@pytest.mark.parametrize(
    "semitones",
    [
        np.linspace(0, 12, 48000),
        np.linspace(4, -12, 48000),
        0.5 * np.sin(np.arange(48000) * 2 * np.pi * 6 / RATE),
        np.where(np.arange(48000) % 8000 < 4000, -2.0, 2.0),
    ],
    ids=["octave up", "octave down", "vibrato", "leaps"],
)
def test_harmonics_follow_the_curve(semitones: np.ndarray) -> None:
    curve, ratio = glide(len(semitones), semitones)
    source = tone(330.0, source_samples(len(ratio), curve, RATE), HARMONICS).astype(np.float32)
    wanted = tone(330.0 * ratio, len(ratio), HARMONICS)
    difference = bent(source, curve, len(ratio), RATE) - wanted
    assert decibels(difference[1000:-1000], wanted) < -80


def test_aliases_of_a_bend_up_to_an_octave_are_below_60_db() -> None:
    samples = 48000
    curve, ratio = glide(samples, 12 * np.sin(np.linspace(0, np.pi, samples)))
    needed = source_samples(samples, curve, RATE)
    out = bent(tone(5200.0, needed).astype(np.float32), curve, samples, RATE)
    beyond = 5200 * ratio > RATE / 2
    assert 0.5 < beyond.mean() < 0.8
    assert np.square(out[beyond]).mean() < 0.5 * 10**-6.0


def test_the_curves_end_is_as_clean_as_its_beginning_where_blocks_of_the_source_meet() -> None:
    out = bent(tone(1000.0, 40000).astype(np.float32), Curve.constant(0.3), 39000, RATE)
    wanted = tone(1000.0 * 2 ** (0.3 / 12), 39000)
    assert np.abs(out - wanted)[200:-200].max() < 2e-5


def test_the_pitch_of_the_source_leaves_a_note_as_it_is() -> None:
    source = np.random.RandomState(0).normal(size=9000).astype(np.float32)
    np.testing.assert_array_equal(bent(source, Curve.constant(0.0), 8000, RATE), source[:8000])
    assert source_samples(8000, Curve.constant(0.0), RATE) == 8000


def test_a_constant_pitch_given_in_steps_is_the_same_as_one_without() -> None:
    source = np.random.RandomState(0).normal(size=9000).astype(np.float32)
    steps = Curve(np.array([0.0, 0.1, 0.2]), np.array([1.5, 1.5, 1.5]))
    once = bent(source, steps, 8000, RATE)
    np.testing.assert_array_equal(once, bent(source, Curve.constant(1.5), 8000, RATE))
    np.testing.assert_array_equal(once, bent(source, steps, 8000, RATE))


def test_samples_of_the_source_are_counted_along_the_curve() -> None:
    curve = Curve(np.array([0.0, 0.5]), np.array([12.0, -12.0]))
    assert source_samples(RATE, curve, RATE) == 16000 + 4000 + 1
    assert source_samples(0, curve, RATE) == 0
    source = tone(300.0, 20000).astype(np.float32)
    source[source_samples(8000, curve, RATE) + 2 :] = 0  # what is not needed is not heard
    assert decibels(bent(source, curve, 7900, RATE) - bent(tone(300.0, 20000), curve, 7900, RATE), source) < -60


def test_a_source_that_is_too_short_is_followed_by_silence() -> None:
    out = bent(np.ones(1000, np.float32), Curve.constant(12.0), 2000, RATE)
    assert len(out) == 2000
    assert np.abs(out[600:]).max() < 1e-4
    assert not bent(np.zeros(0, np.float32), Curve.constant(1.0), 10, RATE).any()


def test_a_curve_out_of_order_is_refused() -> None:
    for times, values in ([], []), ([0.1], [0.0]), ([0.0, 2.0, 1.0], [0.0] * 3), ([0.0], [0.0, 1.0]), ([0.0], [np.nan]):
        with pytest.raises(ValueError, match="pitch curve"):
            Curve(np.array(times), np.array(values))


def test_a_note_is_synthesised_at_the_semitone_nearest_to_its_median() -> None:
    scoop = Curve(np.array([0.0, 0.1, 0.2]), np.array([-2.0, -1.0, 0.2]))
    key, rest = nearest_semitone(60, scoop, RATE, RATE)
    assert key == 60
    np.testing.assert_allclose(rest.semitones, scoop.semitones)
    assert nearest_semitone(60, scoop, round(0.15 * RATE), RATE)[0] == 58  # a short note hears its beginning alone
    key, rest = nearest_semitone(57, Curve.constant(12.0), RATE, RATE)
    assert (key, rest.semitones.tolist()) == (69, [0.0])
    assert [nearest_semitone(60, Curve.constant(s), RATE, RATE)[0] for s in (0.5, -0.5, 0.51)] == [60, 59, 61]


def test_quarter_tones_and_keys_out_of_range_sound_at_their_pitch() -> None:
    for pitch, semitones in (60, 0.5), (60, -0.5), (90, 0.0), (20, 0.0), (100, 0.25), (3, 0.0):
        wanted = 440 * 2 ** ((pitch - 69 + semitones) / 12)
        key, curve = nearest_semitone(pitch, Curve.constant(semitones), RATE, RATE)
        key, curve = stretched(key, curve, 24, 84)
        assert 24 <= key <= 84
        source = tone(440 * 2 ** ((key - 69) / 12), source_samples(48000, curve, RATE), HARMONICS)
        octave = 12 * (pitch < 12) - 12 * (pitch > 96)
        wanted *= 2 ** (octave / 12)
        heard = frequency(bent(source.astype(np.float32), curve, 48000, RATE)[2000:-2000], wanted)
        assert abs(1200 * np.log2(heard / wanted)) < 2


def test_keys_within_the_range_and_up_to_an_octave_outside_do_not_fold() -> None:
    level = Curve.constant(0.0)
    for pitch in range(128):
        key, curve = stretched(pitch, level, 24, 84)
        moved = key + curve.semitones[0] - pitch
        assert abs(curve.semitones[0]) <= 12
        assert moved % 12 == 0
        assert (moved == 0) == (12 <= pitch <= 96)


@pytest.mark.parametrize("moving", [False, True])
def test_a_shorter_note_is_the_beginning_of_a_longer_one_from_the_same_source(moving: bool) -> None:
    source = np.random.RandomState(0).normal(size=30000).astype(np.float32)
    curve = Curve(np.array([0.0, 0.2]), np.array([0.7, 3.1])) if moving else Curve.constant(0.7)
    longest = bent(source, curve, 22000, RATE)
    for samples in (1, 3000, 6144, 15000):
        np.testing.assert_array_equal(bent(source, curve, samples, RATE), longest[:samples])
