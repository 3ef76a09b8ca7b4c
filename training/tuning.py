"""Tuning of notes: their fundamental, by YIN."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training import targets

IN_TUNE = 25.0
"""Cents that a note may be off."""
_RATE = targets.SAMPLE_RATE


def yin(audio: NDArray[np.floating], expected: float, threshold: float = 0.3) -> float:
    """Estimates a note's fundamental: the median over voiced frames, searched over more than an octave each way.

    Args:
        audio: float [samples] at SAMPLE_RATE.
        expected: expected frequency in Hz; the search runs from 0.4 to 2.5 times this.
        threshold: threshold of the normalised difference, below which a frame is voiced.

    Returns:
        The frequency in Hz; NaN if no frame is voiced.

    Source: de Cheveigne and Kawahara, "YIN", JASA 2002; with a parabola through the minimum.
    """
    longest, shortest = int(_RATE / (0.4 * expected)) + 2, max(2, int(_RATE / (2.5 * expected)))
    window = max(1024, 2 * longest)
    audio = np.asarray(audio, np.float64)
    loudest = np.abs(audio).max()
    found = []
    for start in range(0, len(audio) - window - longest, 1024):
        frame = audio[start : start + window + longest]
        if np.sqrt(np.mean(frame**2)) <= 0.003 * loudest:
            continue
        size = 1 << int(np.ceil(np.log2(len(frame) + window)))
        product = np.fft.irfft(np.fft.rfft(frame, size) * np.conj(np.fft.rfft(frame[:window], size)), size)
        energy = np.concatenate([[0.0], np.cumsum(frame**2)])
        lags = np.arange(longest)
        difference = energy[window] + energy[lags + window] - energy[lags] - 2.0 * product[:longest]
        difference[0] = 0.0
        normalised = np.ones(longest)
        normalised[1:] = difference[1:] * lags[1:] / np.maximum(np.cumsum(difference[1:]), 1e-12)
        # A dip's depth between samples: a short period would else lose against a multiple nearer to a whole number.
        before, at, after = normalised[:-2], normalised[1:-1], normalised[2:]
        bend = np.maximum(before - 2 * at + after, 1e-12)
        depths = np.maximum(at - (before - after) ** 2 / (8 * bend), 0.0)
        candidates = [
            lag
            for lag in range(shortest, longest - 1)
            if depths[lag - 1] < threshold and normalised[lag - 1] >= normalised[lag] <= normalised[lag + 1]
        ]
        if not candidates:
            continue
        # The first dip within a little of the deepest: a multiple of the period fits as well as the period.
        deepest = min(depths[lag - 1] for lag in candidates)
        lag = next(lag for lag in candidates if depths[lag - 1] <= deepest + 0.1)
        before, at, after = difference[lag - 1 : lag + 2]
        bend = before - 2 * at + after
        found.append(_RATE / (lag + (0.5 * (before - after) / bend if bend > 0 else 0.0)))
    return float(np.median(found)) if found else float("nan")


def cents_off(audio: NDArray[np.floating], pitch: int) -> float:
    """Measures the distance of a note's fundamental from its pitch, in cents, between 0.1 and 1.5 s.

    Returns:
        The absolute distance; infinite if no fundamental is found.
    """
    expected = targets.frequency(pitch)
    found = yin(audio[_RATE // 10 : _RATE * 3 // 2], expected)
    return abs(1200.0 * float(np.log2(found / expected))) if found > 0 else float("inf")
