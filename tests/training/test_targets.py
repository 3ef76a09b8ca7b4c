from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training import analysis, evaluate, figures, instruments, targets, tuning


def tone(pitch: int, strength: list[float], decay: float = 0.0) -> np.ndarray:
    time = np.arange(targets.SAMPLES) / targets.SAMPLE_RATE
    f0 = targets.frequency(pitch)
    waves = [a * np.cos(2 * np.pi * (h + 1) * f0 * time + h) for h, a in enumerate(strength)]
    return np.sum(waves, axis=0) * np.exp(-decay * time)


def steady(pitch: int) -> np.ndarray:
    """Ratios of second sinusoids that no one hears."""
    return np.full(targets.partials(pitch), 0.02)


@pytest.mark.parametrize("pitch", [30, 60, 84])
def test_envelopes_are_the_partials_amplitudes(pitch: int) -> None:
    found = analysis.take_apart(tone(pitch, [0.5, 0.0, 0.25]), pitch).harmonics
    assert found.shape == (targets.partials(pitch), analysis.FRAMES)
    inner = slice(30, -30)  # at the folded ends neighbours leak in a little
    np.testing.assert_allclose(found[0, inner], 0.5, rtol=0.01)
    np.testing.assert_allclose(found[2, inner], 0.25, rtol=0.01)
    assert found[1, inner].max() < 0.02


def test_partials_that_are_a_little_sharp_are_found_where_they_are() -> None:
    time = np.arange(targets.SAMPLES) / targets.SAMPLE_RATE
    f0 = targets.frequency(60)
    found = analysis.take_apart(np.cos(2 * np.pi * (8 * f0 + 15) * time) + np.cos(2 * np.pi * f0 * time), 60)
    assert found.harmonics[7, 100:400] == pytest.approx(1.0, rel=0.05)


def test_a_pluck_is_as_loud_at_its_onset_as_it_was() -> None:
    found = analysis.take_apart(tone(60, [1.0, 0.5], decay=5.0), 60).harmonics
    assert found[0, 0] == pytest.approx(1.0, rel=0.15)  # the mean of a window that decays
    assert found[0, 125] == pytest.approx(np.exp(-5.0), rel=0.05)


def test_a_quick_rise_is_held_from_the_onset_and_a_slow_one_is_not() -> None:
    rise = np.clip(np.arange(analysis.FRAMES) / np.array([[4], [60]]), 0.0, 1.0).astype(np.float32)
    np.testing.assert_allclose(analysis.hold_attack(rise[:1])[0, 0], 1.0, atol=0.06)
    np.testing.assert_array_equal(analysis.hold_attack(rise[1:]), rise[1:])


def test_stereo_does_not_cancel() -> None:
    left = tone(60, [1.0])
    found = analysis.take_apart(np.stack([left, -left], axis=1), 60).harmonics
    np.testing.assert_allclose(found[0, 30:-30], 1.0, rtol=0.02)


def test_rows_add_to_the_envelope_they_were_made_of() -> None:
    frames = np.arange(analysis.FRAMES)
    envelope = np.exp(-frames / 100)[np.newaxis].astype(np.float32)
    row = np.arange(targets.ROWS)
    window = np.stack([np.hanning(targets.FRAME + 1)[:-1] ** 2 / 1.5] * targets.ROWS)
    audio = np.zeros(targets.HOP * targets.ROWS + targets.FRAME)
    for i, amplitude in zip(row, analysis.rows(envelope)[0], strict=True):
        audio[i * targets.HOP : i * targets.HOP + targets.FRAME] += amplitude * window[i]
    heard = audio[targets.LEAD :: analysis.ENVELOPE_HOP][: analysis.FRAMES - 20]
    np.testing.assert_allclose(heard, envelope[0, : len(heard)], atol=0.02)


def test_noise_comes_out_as_loud_as_it_was() -> None:
    white = np.random.RandomState(0).normal(size=targets.SAMPLES) * 0.01
    audio = tone(60, [0.3, 0.1]) + white
    parts = analysis.take_apart(audio, 60)
    image = targets.image(analysis.rows(parts.harmonics), steady(60), parts.noise, 60, targets.gains(60))
    got = targets.invert(image, targets.phase_image(targets.frequency_images(60)))

    def between(sound: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sound[8000:40768] * np.hanning(32768))) ** 2
        return 10 * np.log10(power[int(3.4 * 261.6 * 2.048) : int(3.6 * 261.6 * 2.048)].mean())

    assert between(got) == pytest.approx(between(audio), abs=2.5)


def test_a_level_moves_by_as_much_as_it_is_told_to() -> None:
    flat = np.full([10, analysis.FRAMES], 0.1, np.float32)
    moving = analysis.swell(flat, 1.5)
    np.testing.assert_array_equal(moving[0], moving[9])
    assert analysis.movement(moving)[0] == pytest.approx(1.5, rel=0.35)
    assert analysis.movement(flat)[0] < 0.01


@pytest.mark.parametrize("pitch", [40, 60, 76])
def test_harmonics_beat_as_deeply_as_they_are_told_to_and_no_deeper(pitch: int) -> None:
    rows = np.full([targets.partials(pitch), targets.ROWS], 0.02)
    silence = np.zeros([targets.ROWS, targets.BINS])
    depths = []
    for ratio in (0.02, 0.3):
        image = targets.image(rows, np.full(len(rows), ratio), silence, pitch, targets.gains(pitch))
        audio = targets.invert(image, targets.phase_image(targets.frequency_images(pitch)))
        heard = analysis.take_apart(audio, pitch).harmonics[:, : len(audio) // analysis.ENVELOPE_HOP]
        split = np.flatnonzero(targets.beats(pitch).second.any(axis=1))
        depths.append(float(np.median(analysis.beating(heard)[split])))
    assert depths[0] < 0.5
    assert depths[1] == pytest.approx(0.3 * analysis.DEPTH, rel=0.35)


def test_a_partial_half_way_between_harmonics_is_made_softer() -> None:
    f0 = targets.frequency(76)
    time = np.arange(targets.SAMPLES) / targets.SAMPLE_RATE
    parts = analysis.take_apart(tone(76, [0.3, 0.2]) + 0.2 * np.cos(2 * np.pi * 1.5 * f0 * time), 76)
    softer = analysis.without_half_harmonics(parts, 76)
    fifth = round(1.5 * f0 * targets.FRAME / targets.SAMPLE_RATE) - 1
    np.testing.assert_allclose(softer.noise[:, fifth], 0.1 * parts.noise[:, fifth])
    np.testing.assert_array_equal(softer.harmonics, parts.harmonics)


def test_a_partial_that_is_no_harmonic_keeps_its_frequency() -> None:
    stray, time = 6.27 * targets.frequency(60), np.arange(targets.SAMPLES) / targets.SAMPLE_RATE
    audio = tone(60, [0.3]) + 0.2 * np.cos(2 * np.pi * stray * time)
    parts = analysis.take_apart(audio, 60)
    found = analysis.strongest(analysis.strays(parts.noise, 0.3))
    assert found[0] == pytest.approx(stray, abs=2.0)
    image = targets.image(analysis.rows(parts.harmonics), steady(60), parts.noise, 60, targets.gains(60))
    got = targets.invert(image, targets.phase_image(targets.frequency_images(60, found)))
    power = np.abs(np.fft.rfft(got[8000:40768] * np.hanning(32768)))
    near = slice(int((stray - 20) * 2.048), int((stray + 20) * 2.048))
    assert (near.start + power[near].argmax()) / 2.048 == pytest.approx(stray, abs=3.0)


@pytest.mark.parametrize("pitch", [24, 45, 60, 84])
def test_targets_survive_the_way_through_the_references_inverse(pitch: int) -> None:
    count = targets.partials(pitch)
    strength = np.where(np.arange(count) < 10, 0.3 / np.arange(1, count + 1), 0.0)
    amplitudes = strength[:, np.newaxis] * np.exp(-np.linspace(0, 3, analysis.FRAMES))
    silence = np.zeros([targets.ROWS, targets.BINS])
    rows = analysis.rows(amplitudes.astype(np.float32))
    image = targets.image(rows, steady(pitch), silence, pitch, targets.gains(pitch))
    got = targets.invert(image, targets.phase_image(targets.frequency_images(pitch)))
    wanted = targets.resynthesize(amplitudes, pitch, 4.0)
    # A high note has strong partials above 5 kHz, where the mel bands are too wide for their phases.
    assert evaluate.convergence(got, wanted) < (0.15 if pitch < 72 else 0.4)
    assert tuning.cents_off(got, pitch) < 8


def test_levels_are_brought_together() -> None:
    amplitudes = analysis.take_apart(tone(60, [0.01, 0.02]), 60).harmonics
    audio = targets.resynthesize(amplitudes * targets.level(amplitudes), 60)
    assert np.mean(audio[:2048] ** 2) == pytest.approx(0.02, rel=0.1)
    assert targets.level(np.zeros([2, 501])) == 0.0


def test_yin_hears_the_fundamental_and_not_its_octave() -> None:
    assert tuning.cents_off(tone(40, [0.1, 1.0, 0.8, 0.2]), 40) < 2
    assert tuning.cents_off(tone(41, [1.0]), 40) == pytest.approx(100, abs=2)
    assert tuning.cents_off(np.random.RandomState(0).normal(size=64000), 60) > 25
    assert tuning.cents_off(np.zeros(64000), 60) == np.inf


def test_haze_is_what_lies_between_the_harmonics() -> None:
    clean = tone(60, [0.5, 0.3])
    between = 0.1 * np.cos(2 * np.pi * 1.5 * targets.frequency(60) * np.arange(64000) / 16000)
    assert evaluate.haze(clean, 60) > 60
    assert evaluate.haze(clean + between, 60) == pytest.approx(10 * np.log10(0.34 / 0.01), abs=0.3)


@pytest.mark.parametrize(("cents", "clear"), [(-75, False), (-25, True), (25, True), (75, False)])
def test_haze_begins_fifty_cents_from_a_harmonic_at_low_pitches_too(cents: float, clear: bool) -> None:
    pitch = 40
    second = np.cos(2 * np.pi * 2 * targets.frequency(pitch) * 2 ** (cents / 1200) * np.arange(64000) / 16000)
    assert (evaluate.haze(tone(pitch, [1.0]) + second, pitch) > 10) == clear


def test_every_program_has_one_instrument() -> None:
    instruments.check_programs(instruments.BUNDLED)
    with pytest.raises(ValueError, match="each be given once"):
        instruments.check_programs(instruments.BUNDLED[1:])


def test_bundled_instruments_read_back_have_todays_programs() -> None:
    old = [{"name": "harp", "family": "plucked", "source": 46, "programs": [6]}]
    own = [{"name": "harp", "family": "own", "source": None, "programs": [6]}]
    found = instruments.listed(json.dumps(old + own))
    assert [one.programs for one in found] == [next(i.programs for i in instruments.BUNDLED if i.name == "harp"), (6,)]


@pytest.mark.parametrize("count", [3, 16, 18])
def test_latents_are_far_apart(count: int) -> None:
    codes = instruments.latents(count, 16)
    np.testing.assert_array_equal(codes, instruments.latents(count, 16))
    cosine = codes @ codes.T / instruments.norm(16) ** 2
    np.testing.assert_allclose(np.diag(cosine), 1.0, atol=1e-5)
    assert np.abs(cosine - np.eye(count)).max() < 0.15
    shares = instruments.blend(codes, codes)
    assert (np.diag(shares) > 0.99).all()
    np.testing.assert_allclose(instruments.blend(codes, codes[:1] + codes[1:2])[0, :2], 0.5, atol=0.01)


def test_pictures_are_written(tmp_path: Path) -> None:
    values = np.linspace(-80, 0, 40 * 30).reshape(40, 30)
    figures.sheet(tmp_path / "a.png", [[("one", values), ("two", values)]], -80, 0)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
