"""Loudness and true peak of clips after ITU-R BS.1770-4, as broadcasting and streaming services measure them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.encode import cut
from gansynth.audio.resample import measure, resampled

BLOCK_SECONDS = 0.4
"""Length of the standard's gating block."""
_OVERSAMPLING = 4


def integrated(clip: NDArray[np.float32], sample_rate: int) -> float:
    """Measures integrated loudness in LUFS; minus infinity for silence, and for clips below the standard's gate.

    Args:
        clip: float32 [samples] or [samples, channels]; a clip shorter than a gating block is padded with silence.
        sample_rate: in Hz.

    Source: ITU-R BS.1770-4 as pyloudnorm computes it.
    """
    import pyloudnorm

    missing = math.ceil(BLOCK_SECONDS * sample_rate) - len(clip)
    if missing > 0:
        clip = np.pad(clip, [(0, missing)] + [(0, 0)] * (clip.ndim - 1))
    return float(pyloudnorm.Meter(sample_rate, block_size=BLOCK_SECONDS).integrated_loudness(clip))


def true_peak(clip: NDArray[np.float32], sample_rate: int) -> float:
    """Measures the true peak: the highest absolute sample at four times the rate; 1.0 is 0 dBTP.

    Args:
        clip: float32 [samples] or [samples, channels].
        sample_rate: in Hz.

    Source: ITU-R BS.1770-4, annex 2, with soxr's filter.
    """
    channels = 1 if clip.ndim == 1 else clip.shape[1]
    between = measure(resampled(cut(clip), channels, sample_rate, _OVERSAMPLING * sample_rate))[1]
    return max(between, measure(cut(clip))[1])


def gain(clip: NDArray[np.float32], sample_rate: int, target: float, ceiling: float) -> float | None:
    """Computes the gain that brings a clip to a loudness, or as near to it as the true peak allows.

    Args:
        clip: float32 [samples] or [samples, channels], at any level.
        sample_rate: in Hz.
        target: integrated loudness, in LUFS.
        ceiling: highest true peak, in dBTP.

    Returns:
        A factor; None if loudness cannot be measured, because the clip is silent or below the gate.
    """
    peak = measure(cut(clip))[1]
    if not peak:
        return None
    factor = 1.0 / peak
    for _ in range(2):  # the gate is at an absolute level, so the measured loudness depends slightly on the gain
        loudness = integrated(clip * np.float32(factor), sample_rate)
        if not math.isfinite(loudness):
            return None
        factor *= 10 ** ((target - loudness) / 20)
    return min(factor, 10 ** (ceiling / 20) / true_peak(clip, sample_rate))
