"""Envelopes compared with the reference, including cases in which it crashes, and the scaling of notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gansynth.audio.envelope import (
    LONGEST_NOTE,
    cut_samples,
    envelope,
    peak_divisor,
    release_samples,
    sustain_samples,
)
from gansynth.config import EnvelopeConfig

RATE = 16000
DEFAULT = EnvelopeConfig()
REFERENCE = EnvelopeConfig(max_sustain=3.0)


def shaped(seconds: float, config: EnvelopeConfig = DEFAULT) -> np.ndarray:
    (sustain,) = sustain_samples(np.array([seconds]), config, RATE).tolist()
    return envelope(sustain, config, RATE)


def test_equals_the_references(data: Path) -> None:
    golden = np.load(data / "goldens" / "envelope.npz")
    long = golden["env_0.3"]
    for seconds in golden["lengths"].tolist():
        expected, found = golden[f"env_{seconds}"], shaped(seconds, REFERENCE)
        if not expected.shape:
            assert len(found) == expected
            assert (found[:160] == long[:160]).all()
            assert (found[160:-4800] == 1).all()
            assert (found[-4800:] == long[-4800:]).all()
        else:
            assert found.shape == expected.shape
            assert (found == expected).all()


CONFIGS = st.builds(
    lambda attack, release, sustain: EnvelopeConfig(attack=attack, release=release, max_sustain=sustain),
    st.floats(0, 0.1),
    st.floats(0, 0.5),
    st.floats(0.01, 2),
)


@given(st.floats(0, 3), CONFIGS)
def test_shape(seconds: float, config: EnvelopeConfig) -> None:
    shape, release = shaped(seconds, config), release_samples(config, RATE)
    assert len(shape) == int(RATE * min(seconds, config.max_sustain)) + release
    assert ((shape >= 0) & (shape <= 1)).all()
    if release > 1:
        assert shape[-1] == 0  # no click at the end
        assert (np.diff(shape[-release:]) <= 0).all()
    rise = int(RATE * config.attack)
    attack = shape[: min(rise, len(shape) - release)]
    assert (np.diff(attack) >= 0).all()
    if rise > 1 and len(attack):
        assert attack[0] == 0
    assert (shape[rise : len(shape) - release] == 1).all()


@pytest.mark.parametrize("seconds", [-1.0, -0.1, 0.0])
def test_a_note_of_no_length_is_all_release(seconds: float) -> None:
    # The reference raises for an end before the start (crash_table.txt).
    assert (shaped(seconds) == np.linspace(1, 0, 4800)).all()


def test_no_attack_and_no_release() -> None:
    plain = EnvelopeConfig(attack=0, release=0)
    assert shaped(0.01, plain).tolist() == [1.0] * 160
    assert len(shaped(0, plain)) == 0
    assert len(shaped(0.005, EnvelopeConfig(release=0))) == 80  # the attack is cut; the reference raises


@pytest.mark.parametrize("tail", [None, 800, 200])
def test_an_instruments_release_falls_by_60_db(tail: int | None) -> None:
    shape = envelope(1000, EnvelopeConfig(attack=0.0), RATE, tail, decay=800)
    assert len(shape) == 1000 + (800 if tail is None else tail)
    assert np.all(shape[:1000] == 1.0)
    faded = cut_samples(RATE)
    heard = 20 * np.log10(shape[1000 : len(shape) - faded])
    assert np.allclose(heard, -60 * np.arange(1, len(heard) + 1) / 800)
    assert shape[-1] == 0.0


def test_an_attack_goes_on_in_an_instruments_release() -> None:
    shape = envelope(10, EnvelopeConfig(attack=0.05), RATE, decay=4000)
    jump = np.diff(shape).max()
    assert jump <= 1.01 / (0.05 * RATE)  # the reference's jumps to full level here
    assert shape.max() < 0.5


def test_sustain_is_capped() -> None:
    seconds, capped = np.array([0.0, 2.99, 3.0, 5.0, np.inf]), EnvelopeConfig(max_sustain=3.0)
    assert sustain_samples(seconds, capped, RATE).tolist() == [0, 47840, 48000, 48000, 48000]
    longest = int(LONGEST_NOTE * RATE)
    assert sustain_samples(seconds, DEFAULT, RATE).tolist() == [0, 47840, 48000, 80000, longest]


def test_the_cached_ramps_are_not_handed_out() -> None:
    shaped(0.0)[:] = 7
    assert shaped(0.0).max() == 1


AUDIO = arrays(np.float32, st.integers(0, 20), elements=st.floats(-100, 100, width=32))


@given(AUDIO)
def test_divisor(audio: np.ndarray) -> None:
    assert peak_divisor(audio, "none") == 1
    for measure in ("positive", "absolute"):
        value = peak_divisor(audio, measure)
        assert value > 0
        if not audio.any():
            assert value == 1
    if audio.any():
        assert np.abs(audio / np.float64(peak_divisor(audio, "absolute"))).max() == pytest.approx(1)
    if len(audio) and audio.max() > 0:
        assert peak_divisor(audio, "positive") == audio.max()  # the reference's


def test_a_note_that_is_never_positive_is_not_turned_over() -> None:
    assert peak_divisor(np.array([-4.0, -2.0, 0.0]), "positive") == 4
    assert peak_divisor(np.array([-4.0, -2.0]), "positive") == 4
