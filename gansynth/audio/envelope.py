"""Envelope of each note: attack, sustain and release; and its peak."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from gansynth.config import EnvelopeConfig

RELEASE_SECONDS = 0.3
"""Release in seconds of an instrument without one of its own: the reference's."""
LONGEST_RELEASE = 3.0
"""Longest release in seconds."""
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
    """Counts the samples of the linear release, which sounds after the end of a note without another release."""
    return int(sample_rate * (RELEASE_SECONDS if config.release == "instrument" else config.release))


def longest_release(config: EnvelopeConfig, releases: Iterable[float] = (LONGEST_RELEASE,)) -> float:
    """Returns the longest release in seconds of instruments with these releases."""
    return max((RELEASE_SECONDS, *releases)) if config.release == "instrument" else config.release


def cut_samples(sample_rate: int) -> int:
    """Counts the samples of the fade of a note that all sound off ends."""
    return int(sample_rate * CUT_SECONDS)


def envelope(
    sustain: int, config: EnvelopeConfig, sample_rate: int, tail: int | None = None, decay: int = 0
) -> NDArray[np.float64]:
    """Computes the amplitude of a note.

    Args:
        sustain: samples up to the release, as `sustain_samples` gives them.
        config: attack and release.
        sample_rate: in Hz.
        tail: audible samples after the sustain, the last 5 ms faded out; None for the whole release.
        decay: samples in which the release falls by 60 dB, exponentially, at least `tail`; 0 for the linear release.

    Returns:
        float64 [sustain + tail], 0..1.

    Source: magenta/models/gansynth/lib/generate_util.py, get_envelope: the release overwrites an attack that is
    not over. Deviations: an attack longer than the note is cut off, where the reference raises; `tail`; an
    exponential release goes on with an attack that is not over.
    """
    rise, fall = _ramps(config, sample_rate)
    if decay:
        shape = np.ones(sustain + (decay if tail is None else tail))
        shape[: len(rise)] = rise[: len(shape)]
        shape[sustain:] *= _exponential(decay)[: len(shape) - sustain]
        return _faded_out(shape, sample_rate)
    shape = np.ones(sustain + len(fall))
    shape[: len(rise)] = rise[: len(shape)]
    shape[sustain:] = fall
    if tail is None or tail == len(fall):
        return shape
    return _faded_out(np.pad(shape, [0, max(0, tail - len(fall))])[: sustain + tail], sample_rate)


def _faded_out(shape: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """Fades the last 5 ms out, in place."""
    fade = min(cut_samples(sample_rate), len(shape))
    shape[len(shape) - fade :] *= _fade_out(fade)
    return shape


@functools.lru_cache(maxsize=64)
def _fade_out(samples: int) -> NDArray[np.float64]:
    return np.linspace(1.0, 0.0, samples)


@functools.lru_cache(maxsize=64)
def _exponential(decay: int) -> NDArray[np.float64]:
    """Computes a fall by 60 dB in `decay` samples."""
    return 10.0 ** (-3.0 * np.arange(1, decay + 1) / decay)


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
