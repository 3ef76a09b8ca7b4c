"""Envelope of each note: attack, sustain and release; and its peak."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from gansynth.config import EnvelopeConfig

LONGEST_NOTE = 600.0
"""Longest note in seconds; bounds the memory of one note."""
CUT_SECONDS = 0.005
"""Length in seconds of the fade of a note that all sound off ends."""


def sustain_samples(seconds: NDArray[np.float64], config: EnvelopeConfig, sample_rate: int) -> NDArray[np.int64]:
    """Counts the samples from each note's start to its release.

    Args:
        seconds: float64 [n], lengths of the notes as written.
        config: `max_sustain` bounds them; without it, LONGEST_NOTE.
        sample_rate: in Hz.
    """
    longest = LONGEST_NOTE if config.max_sustain is None else config.max_sustain
    return (sample_rate * np.clip(seconds, 0.0, longest)).astype(np.int64)


def release_samples(config: EnvelopeConfig, sample_rate: int) -> int:
    """Counts the samples of the release, which sounds after the note's end."""
    return int(sample_rate * config.release)


def cut_samples(sample_rate: int) -> int:
    """Counts the samples of the fade of a note that all sound off ends."""
    return int(sample_rate * CUT_SECONDS)


def envelope(sustain: int, config: EnvelopeConfig, sample_rate: int, tail: int | None = None) -> NDArray[np.float64]:
    """Computes the amplitude of a note.

    Args:
        sustain: samples up to the release, as `sustain_samples` gives them.
        config: attack and release.
        sample_rate: in Hz.
        tail: audible samples after the sustain, the last 5 ms faded out; None for the whole release.

    Returns:
        float64 [sustain + tail], 0..1.

    Source: magenta/models/gansynth/lib/generate_util.py, get_envelope: the release overwrites an attack that is
    not over. Deviations: an attack longer than the note is cut off, where the reference raises; `tail`.
    """
    rise, fall = _ramps(config, sample_rate)
    shape = np.ones(sustain + len(fall))
    shape[: len(rise)] = rise[: len(shape)]
    shape[sustain:] = fall
    if tail is None or tail == len(fall):
        return shape
    shape = np.pad(shape, [0, max(0, tail - len(fall))])[: sustain + tail]
    fade = min(cut_samples(sample_rate), len(shape))
    shape[len(shape) - fade :] *= np.linspace(1.0, 0.0, fade)
    return shape


@functools.lru_cache(maxsize=8)
def _ramps(config: EnvelopeConfig, sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rise = np.linspace(0.0, 1.0, int(sample_rate * config.attack))
    return rise, np.linspace(1.0, 0.0, release_samples(config, sample_rate))


def peak_divisor(audio: NDArray[np.floating], measure: str) -> float:
    """Computes the number that `audio` is divided by to have the peak 1; 1 for silence.

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
