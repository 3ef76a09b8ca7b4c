"""Extension of notes beyond the length of a checkpoint's notes: steady tones stay steady, decaying tones decay.

The magnitudes of a note's spectral frames are repeated, backwards and forwards between turning points that differ each
time. The phases continue at one constant frequency for all bins around a partial, because the small differences between
the bins of a network's notes would beat within seconds. Changes of level below 8 Hz, such as beats and vibrato, are
removed, because they would recur with the repetition; faster ones stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

_FRAME, _OVERLAP = 2048, 4
_FEWEST_FRAMES = 12
_RESOLVED_BINS = 8
"""Partials closer than this get frames twice as long: a Hann window's main lobe is 4 bins wide."""
_TREND_TERMS, _CHANGE_TERMS = 6, 26
"""Terms of a cosine series over all frames: in notes of 4 s, for changes below 1.8 Hz, and below 8 Hz."""
_SETTLING_SECONDS = 0.3
"""Time constant in which a note's level goes over to its trend: its last frame may lie in a trough of a beat."""
_STEADY, _DECAYING = -2.0, -3.0
"""Slopes in dB/s: a sound that falls less than the first keeps its level, one that falls more than the second keeps
its slope; in between, part of the slope is kept."""
_BLOCKS = 30
"""Number of parts of a note whose levels are compared."""
_GOLDEN = 0.6180339887498949


def held_from(note_samples: int) -> int:
    """Returns the longest sustain, in samples, that needs no holding: three quarters of a whole note.

    Source: the notes of NSynth, on which Magenta's checkpoints were trained, are released after 3 of 4 seconds.
    """
    return note_samples * 3 // 4


def can_hold(note_samples: int) -> bool:
    """Tells whether a checkpoint's notes are long enough to be held."""
    return _steps(held_from(note_samples), 2 * _FRAME) >= _FEWEST_FRAMES


def held(audio: NDArray[np.float32], samples: int, pitch: int, sample_rate: int) -> NDArray[np.float32]:
    """Extends a note.

    Args:
        audio: float32 [held_from(note_samples)], beginning of a note, finite; its second half is repeated.
        samples: length of the result; its beginning does not depend on it.
        pitch: MIDI number of the note.
        sample_rate: in Hz.

    Returns:
        float32 [samples], beginning with all of `audio` but its last frame (128 ms, below C2 256 ms).

    Raises:
        ValueError: `audio` is too short, see `can_hold`.

    Source: Laroche and Dolson, "Improved phase vocoder time-scale modification of audio", 1999, for the locking of
    phases to spectral peaks. Deviation: the peaks of the mean spectrum are used, the same in all frames.
    """
    hertz = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
    frame = _FRAME if hertz * _FRAME >= _RESOLVED_BINS * sample_rate else 2 * _FRAME
    steps, hop, kept = _steps(len(audio), frame), frame // _OVERLAP, len(audio) - frame
    if steps < _FEWEST_FRAMES:
        raise ValueError(f"a note of {len(audio)} samples is too short to be held.")
    if samples <= kept:
        return audio[:samples]
    settling = math.exp(-hop / sample_rate / _SETTLING_SECONDS)
    loop = _Loop.of(audio[kept - steps * hop :], steps, frame, _decaying(audio, sample_rate), settling)
    # The first frames begin before `kept`, so that all samples from `kept` on are sums of four frames.
    early = (_OVERLAP - 1) * hop
    out = np.zeros(early + samples - kept + frame, np.float32)
    window = _hann(frame) / (0.375 * _OVERLAP)
    for at, spectrum in zip(range(0, early + samples - kept, hop), loop.spectra(), strict=False):
        out[at : at + frame] += (window * fft.irfft(spectrum)).astype(np.float32)
    return np.concatenate([audio[:kept], out[early : early + samples - kept]])


def _steps(samples: int, frame: int) -> int:
    """Counts the steps from the first repeated frame to the last."""
    return (samples // 2 - frame) // (frame // _OVERLAP)


@dataclass(frozen=True)
class _Loop:
    """The repeated frames. A band is a peak of the mean spectrum with the bins nearer to it than to other peaks.

    Attributes:
        frames: complex128 [n, bins].
        widths: int64 [bands], number of bins of each.
        turn: float64 [bands], phase advance from one frame to the next, in radians.
        level: float64 [n, bands], the level's changes that are removed, as the logarithm of an amplitude.
        rise: change of all levels in the extension, from that of the last frame to the trend.
        settling: share of the rise that is left to do after one frame.
        decay: float64 [bands], change of that level from one frame to the next in the extension.
    """

    frames: NDArray[np.complex128]
    widths: NDArray[np.int64]
    turn: NDArray[np.float64]
    level: NDArray[np.float64]
    rise: float
    settling: float
    decay: NDArray[np.float64]

    @classmethod
    def of(cls, audio: NDArray[np.float32], steps: int, frame: int, decaying: float, settling: float) -> _Loop:
        """Analyses the repeated part of a note; `decaying` is the share of its decay that continues; see `settling`."""
        hop = frame // _OVERLAP
        pieces = np.lib.stride_tricks.sliding_window_view(audio, frame)[::hop][: steps + 1]
        frames = fft.rfft(pieces * _hann(frame), axis=1)
        power = np.square(np.abs(frames))
        first = _bands(power.mean(axis=0))
        bands = np.add.reduceat(power, first, axis=1)
        level = 0.5 * np.log(bands + 1e-20)
        turn = np.angle(np.add.reduceat((frames[1:] * frames[:-1].conj()).sum(axis=0), first))
        whole = 0.5 * np.log(bands.sum(axis=1, keepdims=True) + 1e-20)
        rise = (1.0 - decaying) * float((_smooth(whole, _TREND_TERMS) - _smooth(whole, _CHANGE_TERMS))[-1, 0])
        decay = decaying * np.minimum(_slope(level), 0.5 * _slope(whole))  # no band outlasts a sound that decays
        widths = np.diff(first, append=power.shape[1])
        return cls(frames, widths, turn, _smooth(level, _CHANGE_TERMS), rise, settling, decay)

    def spectra(self) -> Iterator[NDArray[np.complex128]]:
        """Yields frames without end: the last four unchanged, then repeated ones."""
        yield from self.frames[-_OVERLAP:]
        last = len(self.frames) - 1
        phases = np.exp(1j * np.angle(self.frames[last]))
        for number, at in enumerate(_positions(last), 1):
            level = self.level[last] - self.level[at] + (1.0 - self.settling**number) * self.rise
            gain = np.exp(number * (self.decay + 1j * self.turn) + level)
            yield np.abs(self.frames[at]) * phases * np.repeat(gain, self.widths)


def _decaying(audio: NDArray[np.float32], sample_rate: int) -> float:
    """Rates a sound from steady (0) to decaying (1); a decaying sound falls in both halves, a swell in one."""
    block = len(audio) // _BLOCKS
    power = np.square(audio[: _BLOCKS * block].reshape(_BLOCKS, block), dtype=np.float64).mean(axis=1, keepdims=True)
    levels = 10.0 * np.log10(power + 1e-20)
    halves = levels[1 : _BLOCKS // 2], levels[_BLOCKS // 2 :]  # the first block is the attack
    fall = max(float(_slope(half)[0]) for half in halves) * sample_rate / block
    return min(max((_STEADY - fall) / (_STEADY - _DECAYING), 0.0), 1.0)


def _positions(last: int) -> Iterator[int]:
    """Yields the repeated frames in order: from the last one, backwards and forwards, turning in the outer thirds."""
    at, turns = last, 0
    while True:
        turns += 1
        beyond = round(turns * _GOLDEN % 1.0 * last / 3.0)
        target = beyond if turns % 2 else last - beyond
        while at != target:
            at += 1 if target > at else -1
            yield at


def _bands(power: NDArray[np.float64]) -> NDArray[np.int64]:
    """Finds the first bin of each band, halfway between peaks, which are higher than two bins on each side."""
    near = np.lib.stride_tricks.sliding_window_view(power, 5)
    peaks = 2 + np.flatnonzero(near[:, 2] > np.maximum(near[:, :2].max(axis=1), near[:, 3:].max(axis=1)))
    return np.concatenate([[0], (peaks[1:] + peaks[:-1] + 1) // 2]).astype(np.int64)


def _smooth(values: NDArray[np.float64], kept: int) -> NDArray[np.float64]:
    """Keeps the first terms of a cosine series along the first axis."""
    terms = fft.dct(values, axis=0)
    terms[kept:] = 0.0
    return fft.idct(terms, axis=0)


def _slope(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fits a straight line along the first axis and returns its slope."""
    time = np.arange(len(values)) - 0.5 * (len(values) - 1)
    return (time[:, np.newaxis] * values).sum(axis=0) / np.square(time).sum()


def _hann(samples: int) -> NDArray[np.float64]:
    """Computes a periodic Hann window; the squares of four overlapping windows add up to 1.5."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(samples) / samples)
