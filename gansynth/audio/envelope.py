"""Envelope of each note: attack, sustain and release; and its peak."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from gansynth.config import EnvelopeConfig


def sustain_samples(seconds: NDArray[np.float64], config: EnvelopeConfig, sample_rate: int) -> NDArray[np.int64]:
    """Returns the samples from each note's start to its release, int64: its length, at most `max_sustain`.

    Args:
        seconds: float64 [notes], lengths of the notes.
        config: the envelope.
        sample_rate: in Hz.
    """
    return (sample_rate * np.clip(seconds, 0.0, config.max_sustain)).astype(np.int64)


def release_samples(config: EnvelopeConfig, sample_rate: int) -> int:
    """Returns the number of samples of the release, which sounds after the note's end."""
    return int(sample_rate * config.release)


def envelope(sustain: int, config: EnvelopeConfig, sample_rate: int) -> NDArray[np.float64]:
    """Computes the amplitude of a note.

    Args:
        sustain: samples up to the release, see `sustain_samples`.
        config: the envelope.
        sample_rate: in Hz.

    Returns:
        float64 [sustain + release], 0..1.

    Source: magenta/models/gansynth/lib/generate_util.py, get_envelope: the release overwrites an unfinished
    attack. Deviation: the attack is cut if the whole note is shorter; the reference raises.
    """
    rise, fall = _ramps(config, sample_rate)
    shape = np.ones(sustain + len(fall))
    shape[: len(rise)] = rise[: len(shape)]
    shape[sustain:] = fall
    return shape


@functools.lru_cache(maxsize=8)
def _ramps(config: EnvelopeConfig, sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rise = np.linspace(0.0, 1.0, int(sample_rate * config.attack))
    return rise, np.linspace(1.0, 0.0, release_samples(config, sample_rate))


def peak_divisor(audio: NDArray[np.floating], measure: str) -> float:
    """Returns the number by which `audio` is divided to reach a peak of 1; 1 for silence.

    Args:
        audio: float [samples].
        measure: "positive" (the reference's audio.max()), "absolute" or "none".

    Deviation: audio without a positive sample is measured by its absolute peak, and silence is left unchanged; the
    reference divides by zero or inverts the audio.
    """
    if measure == "none" or not len(audio):
        return 1.0
    highest = float(audio.max())
    if measure == "absolute" or highest <= 0:
        highest = max(highest, -float(audio.min()))
    return highest if highest > 0 else 1.0
