"""Fixed matrices and windows that convert between GANSynth's mel spectrograms and audio, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BREAK_HERTZ = 700.0
_HIGH_Q = 1127.0


def _mel_to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return _BREAK_HERTZ * (np.exp(mel / _HIGH_Q) - 1.0)


def _hertz_to_mel(hertz: float) -> float:
    return float(_HIGH_Q * np.log(1.0 + hertz / _BREAK_HERTZ))


def linear_to_mel(bins: int, sample_rate: int) -> NDArray[np.float64]:
    """Builds the triangular mel filters that GANSynth was trained with, at least 1.5 linear bins wide.

    Args:
        bins: number of linear bins, and of mel bands.
        sample_rate: in Hz; the bands run from 0 to half of it.

    Returns:
        float64 [linear bins, mel bands], the first row (DC) zero.

    Source: magenta/models/gansynth/lib/spectral_ops.py, linear_to_mel_weight_matrix. There the lists of lower
    edges, centres and upper edges are views of one array, so widening a band moves its neighbours too;
    trained networks depend on that, and one array of edges here gives the same numbers.
    """
    nyquist = sample_rate / 2.0
    edges = np.linspace(_hertz_to_mel(0.0), _hertz_to_mel(nyquist), bins + 2)
    narrowest = 1.5 * nyquist / bins
    for i in range(bins):
        lower, centre, upper = _mel_to_hertz(edges[i : i + 3])
        if upper - lower < narrowest:
            half = _HIGH_Q * np.arcsinh(0.5 * narrowest / (centre + _BREAK_HERTZ))
            edges[i], edges[i + 2] = edges[i + 1] - half, edges[i + 1] + half
    hertz = _mel_to_hertz(edges)
    lower, centre, upper = hertz[:-2], hertz[1:-1], hertz[2:]
    frequencies = np.linspace(0.0, nyquist, bins)[1:, np.newaxis]
    rising = (frequencies - lower) / (centre - lower)
    falling = (upper - frequencies) / (upper - centre)
    return np.pad(np.maximum(0.0, np.minimum(rising, falling)), [[1, 0], [0, 0]])


def mel_to_linear(bins: int, sample_rate: int) -> NDArray[np.float64]:
    """Builds the reference's approximate inverse of `linear_to_mel`: its transpose with scaled columns.

    Args:
        bins: number of linear bins, and of mel bands.
        sample_rate: in Hz.

    Returns:
        float64 [mel bands, linear bins].

    Source: magenta/models/gansynth/lib/specgrams_helper.py, _mel_to_linear_matrix.
    """
    matrix = linear_to_mel(bins, sample_rate)
    total = (matrix @ matrix.T).sum(axis=0)
    scale = np.where(np.abs(total) > 1e-8, 1.0 / np.where(total == 0, 1.0, total), total)
    return matrix.T * scale


def inverse_window(frame_length: int, hop: int) -> NDArray[np.float64]:
    """Computes the synthesis window with which overlap-add inverts a Hann-windowed STFT.

    Args:
        frame_length: samples of a frame, a multiple of `hop`.
        hop: samples from one frame to the next.

    Returns:
        float64 [frame_length].

    Source: Griffin and Lim 1984; tf.signal.inverse_stft_window_fn.
    """
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(frame_length) / frame_length)
    energy = (hann**2).reshape(-1, hop).sum(axis=0)
    return hann / np.tile(energy, frame_length // hop)
