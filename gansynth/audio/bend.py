"""Band-limited resampling of notes along pitch curves, for bends, tunings and keys outside a checkpoint's range."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

_WINDOW, _MARGIN = 1 << 13, 1 << 10
"""Length in source samples of a block that is transformed at once, and of its overlap with each neighbour."""
_OVERSAMPLING, _ORDER = 3, 5
"""With these, images lie 84 dB below the source at its highest frequency, and lower at all others."""
_PASSED = 0.95
"""Share of the band below a cutoff that is passed unchanged; a raised cosine falls from there to the cutoff."""
_CUTOFFS = 12
"""Number of cutoff frequencies per octave."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The pitch of a note over time, in steps, relative to the pitch of its source.

    Attributes:
        seconds: float64 [k], times of the steps, not descending; the first is 0.
        semitones: float64 [k], the pitch from each step on.

    Raises:
        ValueError: the arrays differ in length, or the times are not in order.
    """

    seconds: NDArray[np.float64]
    semitones: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.seconds) or self.seconds[0] != 0 or (np.diff(self.seconds) < 0).any():
            raise ValueError("the times of a pitch curve must begin with 0 and not decrease.")
        if len(self.seconds) != len(self.semitones) or not np.isfinite(self.semitones).all():
            raise ValueError("a pitch curve needs a finite value for each of its times.")

    @classmethod
    def constant(cls, semitones: float) -> Curve:
        """Returns the curve of a note of constant pitch."""
        return cls(np.zeros(1), np.array([semitones], np.float64))

    @property
    def is_constant(self) -> bool:
        """Tells whether the pitch is constant."""
        return bool((self.semitones == self.semitones[0]).all())

    def at(self, samples: NDArray[np.int64], sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluates the curve at samples of the bent note.

        Args:
            samples: int64 [n], sample numbers, not negative.
            sample_rate: in Hz.

        Returns:
            float64 [n], positions in the source, in samples: the integral of the frequency ratio; and float64 [n], the
            pitch in semitones.
        """
        moves = np.append(
            True, self.semitones[1:] != self.semitones[:-1]
        )  # repeated values would change the rounding of positions
        begins = np.rint(self.seconds[moves] * sample_rate).astype(np.int64)
        values = self.semitones[moves]
        ratios = 2.0 ** (values / 12.0)
        positions = np.concatenate([[0.0], np.cumsum(np.diff(begins) * ratios[:-1])])
        step = np.searchsorted(begins, samples, side="right") - 1
        return positions[step] + (samples - begins[step]) * ratios[step], values[step]


def source_samples(samples: int, curve: Curve, sample_rate: int) -> int:
    """Counts the samples of the source that a bent note needs.

    Args:
        samples: length of the bent note.
        curve: pitch relative to that of the source.
        sample_rate: in Hz.
    """
    if samples <= 0:
        return 0
    positions, _ = curve.at(np.array([samples - 1], np.int64), sample_rate)
    return int(np.ceil(positions[0])) + 1


def bent(audio: NDArray[np.float32], curve: Curve, samples: int, sample_rate: int) -> NDArray[np.float32]:
    """Resamples a note along a pitch curve.

    The source is oversampled with a Fourier transform and interpolated with quintic B-splines. Where the pitch is
    raised, a low pass whose cutoff follows the pitch prevents aliases, with crossfades between cutoffs a semitone
    apart. A constant pitch has an exact cutoff; at the pitch of the source, the note is returned unchanged.

    Args:
        audio: float32 [n], the source, finite; `source_samples` of it are used, followed by silence if it is shorter.
        curve: pitch relative to that of the source.
        samples: length of the bent note.
        sample_rate: in Hz.

    Returns:
        float32 [samples]; aliases and images are more than 80 dB below their origin.

    Source: Unser, "Splines: a perfect fit for signal and image processing", 1999, for splines with the prefilter
    applied to the spectrum.
    """
    if curve.is_constant and curve.semitones[0] == 0:
        return np.pad(audio[:samples], [0, max(0, samples - len(audio))])
    positions, semitones = curve.at(np.arange(samples), sample_rate)
    out = np.zeros(samples, np.float32)
    inner = _WINDOW - 2 * _MARGIN
    edges = np.searchsorted(positions, np.arange(0, len(audio) + inner, inner)).tolist()
    for number, (first, last) in enumerate(pairwise(edges)):
        if first == last:
            continue
        start = number * inner - _MARGIN
        spectrum = fft.rfft(_window(audio, start))
        where = _OVERSAMPLING * (positions[first:last] - start)
        for cutoff, weight in _cutoffs(semitones[first:last], curve.is_constant):
            used = np.flatnonzero(weight)
            dense = fft.irfft(spectrum * _response(cutoff), _OVERSAMPLING * _WINDOW)
            read = ndimage.map_coordinates(dense, where[np.newaxis, used], order=_ORDER, prefilter=False)
            out[first + used] += (weight[used] * read).astype(np.float32)
    return out


def nearest_semitone(pitch: int, curve: Curve, samples: int, sample_rate: int) -> tuple[int, Curve]:
    """Splits a note's pitch into the key to synthesise and a curve that bends it.

    Args:
        pitch: MIDI number of the note's key.
        curve: bend and tuning, relative to that key.
        samples: length of the note; later steps of the curve are not considered.
        sample_rate: in Hz.

    Returns:
        The semitone nearest to the median over time of key and bend (the lower of two equally near), and the curve
        relative to it.
    """
    begins = np.minimum(np.rint(curve.seconds * sample_rate), samples)
    lengths = np.diff(np.append(begins, max(samples, 1)))
    order = np.argsort(curve.semitones, kind="stable")
    passed = np.cumsum(lengths[order])
    median = curve.semitones[order[np.searchsorted(passed, 0.5 * passed[-1])]]
    moved = int(np.ceil(median - 0.5))
    return pitch + moved, Curve(curve.seconds, curve.semitones - moved)


def stretched(pitch: int, curve: Curve, low: int, high: int) -> tuple[int, Curve]:
    """Splits a note's pitch into the nearest key within a range and a curve that bends it to the note's pitch.

    Args:
        pitch: MIDI number of the note's key.
        curve: pitch relative to that key.
        low, high: lowest and highest key of the network.

    Returns:
        The key, and the curve relative to it. A key more than an octave outside the range is first moved by octaves
        to within one octave of it.
    """
    beyond = max(pitch - high - 12, 0) - max(low - 12 - pitch, 0)
    folded = pitch - 12 * (-(-abs(beyond) // 12)) * (1 if beyond > 0 else -1)
    known = min(max(folded, low), high)
    return known, Curve(curve.seconds, curve.semitones + (folded - known))


def _window(audio: NDArray[np.float32], start: int) -> NDArray[np.float64]:
    """Cuts out a block of the source, faded at both ends so that they do not ring."""
    window = np.zeros(_WINDOW)
    first, last = max(start, 0), min(start + _WINDOW, len(audio))
    window[first - start : last - start] = audio[first:last]
    fade = 0.5 - 0.5 * np.cos(np.pi * np.arange(_MARGIN // 2) / (_MARGIN // 2))
    window[: len(fade)] *= fade
    window[-len(fade) :] *= fade[::-1]
    return window


def _cutoffs(semitones: NDArray[np.float64], is_constant: bool) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """Yields the cutoffs of a block, as shares of the band, each with its weight at every sample."""
    if is_constant:
        yield min(1.0, 2.0 ** (-semitones[0] / 12.0)), np.ones(len(semitones))
        return
    # Level k, without aliases for pitches raised by up to k steps, is crossfaded with level k + 1 below that.
    height = np.maximum(semitones * (_CUTOFFS / 12.0) + 1.0, 0.0)
    for level in range(int(height.min()), int(np.ceil(height.max())) + 1):
        weight = np.maximum(1.0 - np.abs(height - level), 0.0)
        if weight.any():
            yield 2.0 ** (-level / _CUTOFFS), weight


@functools.lru_cache(maxsize=64)
def _response(cutoff: float) -> NDArray[np.float64]:
    """Computes the factors of a block's spectrum: low pass, prefilter of the splines, gain of the oversampling."""
    frequency = np.linspace(0.0, 1.0, _WINDOW // 2 + 1)
    phase = np.pi * frequency / _OVERSAMPLING
    spline = (66.0 + 52.0 * np.cos(phase) + 2.0 * np.cos(2.0 * phase)) / 120.0
    fall = np.clip((frequency / cutoff - _PASSED) / (1.0 - _PASSED), 0.0, 1.0)
    return _OVERSAMPLING * (0.5 + 0.5 * np.cos(np.pi * fall)) / spline
