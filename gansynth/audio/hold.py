"""Notes that last longer than a checkpoint makes them: a steady tone goes on, a decaying one goes on decaying.

The magnitudes of a note's spectral frames are read again, backwards and forwards between turning points that do not
repeat. Its phases run on from where they are, at one constant frequency for all bins around a partial: the little that
a network's bins differ by makes them beat in the course of seconds. Slow changes of level are taken out, for they would
come back at the rate of the reading; quick ones stay. A vibrato goes on in level, not in frequency.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

_FRAME, _OVERLAP = 2048, 4
_FEWEST_FRAMES = 12
_RESOLVED_BINS = 8
"""Partials closer than this get frames twice as long: a Hann window's main lobe is 4 bins wide."""
_SLOW_TERMS = 6
"""Terms of a cosine series over all frames: of the network's 4 s, what moves more slowly than 1.8 Hz."""
_STEADY, _DECAYING = -2.0, -3.0
"""In dB/s: a sound that falls less than the first goes on at its level, one that falls more than the second as it
fell; in between it goes on falling in part."""
_BLOCKS = 30
"""Parts of a note whose levels are compared."""
_GOLDEN = 0.6180339887498949


def held_from(note_samples: int) -> int:
    """Returns the longest sustain, in samples, that needs no holding: three quarters of a whole note.

    Source: the notes of NSynth, which Magenta's checkpoints learnt, are released after 3 of their 4 seconds.
    """
    return note_samples * 3 // 4


def can_hold(note_samples: int) -> bool:
    """Tells whether a checkpoint's notes are long enough to be held."""
    return _steps(held_from(note_samples), 2 * _FRAME) >= _FEWEST_FRAMES


def held(audio: NDArray[np.float32], samples: int, pitch: int, sample_rate: int) -> NDArray[np.float32]:
    """Extends a note.

    Args:
        audio: float32 [held_from(note_samples)], a note's beginning, finite. Its second half is what is read again.
        samples: length of the result; its beginning does not depend on it.
        pitch: MIDI number of the note.
        sample_rate: in Hz.

    Returns:
        float32 [samples]. All but the last frame (128 ms, 256 ms below C2) of `audio` stands at its beginning.

    Raises:
        ValueError: `audio` is too short, see `can_hold`.

    Source: Laroche and Dolson, "Improved phase vocoder time-scale modification of audio", 1999, for the locking of
    phases to spectral peaks; here the peaks are those of the mean spectrum, so that they are the same in all frames.
    """
    hertz = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
    frame = _FRAME if hertz * _FRAME >= _RESOLVED_BINS * sample_rate else 2 * _FRAME
    steps, hop, kept = _steps(len(audio), frame), frame // _OVERLAP, len(audio) - frame
    if steps < _FEWEST_FRAMES:
        raise ValueError(f"a note of {len(audio)} samples is too short to be held.")
    if samples <= kept:
        return audio[:samples]
    loop = _Loop.of(audio[kept - steps * hop :], steps, frame, _decaying(audio, sample_rate))
    # The first frames begin before `kept`: from there on, all samples are sums of four frames.
    early = (_OVERLAP - 1) * hop
    out = np.zeros(early + samples - kept + frame, np.float32)
    window = _hann(frame) / (0.375 * _OVERLAP)
    for at, spectrum in zip(range(0, early + samples - kept, hop), loop.spectra(), strict=False):
        out[at : at + frame] += (window * fft.irfft(spectrum)).astype(np.float32)
    return np.concatenate([audio[:kept], out[early : early + samples - kept]])


def _steps(samples: int, frame: int) -> int:
    """Counts the steps from the first frame that is read again to the last."""
    return (samples // 2 - frame) // (frame // _OVERLAP)


@dataclass(frozen=True)
class _Loop:
    """The frames that are read again. A band is a peak of the mean spectrum and the bins nearer to it than to others.

    Attributes:
        frames: complex128 [n, bins].
        widths: int64 [bands], bins of each.
        turn: float64 [bands], the phase that each gains from a frame to the next.
        level: float64 [n, bands], slow changes of level, as the logarithm of an amplitude.
        decay: float64 [bands], by how much that falls in a step when the note goes on.
    """

    frames: NDArray[np.complex128]
    widths: NDArray[np.int64]
    turn: NDArray[np.float64]
    level: NDArray[np.float64]
    decay: NDArray[np.float64]

    @classmethod
    def of(cls, audio: NDArray[np.float32], steps: int, frame: int, decaying: float) -> _Loop:
        """Analyses the part of a note that is read again; `decaying` is the share of its decay that goes on."""
        hop = frame // _OVERLAP
        pieces = np.lib.stride_tricks.sliding_window_view(audio, frame)[::hop][: steps + 1]
        frames = fft.rfft(pieces * _hann(frame), axis=1)
        power = np.square(np.abs(frames))
        first = _bands(power.mean(axis=0))
        bands = np.add.reduceat(power, first, axis=1)
        level = 0.5 * np.log(bands + 1e-20)
        turn = np.angle(np.add.reduceat((frames[1:] * frames[:-1].conj()).sum(axis=0), first))
        whole = _slope(0.5 * np.log(bands.sum(axis=1, keepdims=True) + 1e-20))
        decay = decaying * np.minimum(_slope(level), 0.5 * whole)  # no band outlasts a sound that decays
        return cls(frames, np.diff(first, append=power.shape[1]), turn, _slow(level), decay)

    def spectra(self) -> Iterator[NDArray[np.complex128]]:
        """Yields the note's frames without end: the last four as they are, then those that are read again."""
        yield from self.frames[-_OVERLAP:]
        last = len(self.frames) - 1
        phases = np.exp(1j * np.angle(self.frames[last]))
        for number, at in enumerate(_positions(last), 1):
            gain = np.exp(number * (self.decay + 1j * self.turn) + self.level[last] - self.level[at])
            yield np.abs(self.frames[at]) * phases * np.repeat(gain, self.widths)


def _decaying(audio: NDArray[np.float32], sample_rate: int) -> float:
    """Tells a decaying sound (1) from a steady one (0): it falls in both halves, where a swell falls in one."""
    block = len(audio) // _BLOCKS
    power = np.square(audio[: _BLOCKS * block].reshape(_BLOCKS, block), dtype=np.float64).mean(axis=1, keepdims=True)
    levels = 10.0 * np.log10(power + 1e-20)
    halves = levels[1 : _BLOCKS // 2], levels[_BLOCKS // 2 :]  # the first block is the attack
    fall = max(float(_slope(half)[0]) for half in halves) * sample_rate / block
    return min(max((_STEADY - fall) / (_STEADY - _DECAYING), 0.0), 1.0)


def _positions(last: int) -> Iterator[int]:
    """Yields the frames in the order of reading: from the last one on, to and fro, turning in the outer thirds."""
    at, turns = last, 0
    while True:
        turns += 1
        beyond = round(turns * _GOLDEN % 1.0 * last / 3.0)
        target = beyond if turns % 2 else last - beyond
        while at != target:
            at += 1 if target > at else -1
            yield at


def _bands(power: NDArray[np.float64]) -> NDArray[np.int64]:
    """Finds the first bin of each band: in the middle between peaks, which are higher than two bins on each side."""
    near = np.lib.stride_tricks.sliding_window_view(power, 5)
    peaks = 2 + np.flatnonzero(near[:, 2] > np.maximum(near[:, :2].max(axis=1), near[:, 3:].max(axis=1)))
    return np.concatenate([[0], (peaks[1:] + peaks[:-1] + 1) // 2]).astype(np.int64)


def _slow(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keeps what changes slowly along the first axis."""
    terms = fft.dct(values, axis=0)
    terms[_SLOW_TERMS:] = 0.0
    return fft.idct(terms, axis=0)


def _slope(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fits a straight line along the first axis and returns its slope."""
    time = np.arange(len(values)) - 0.5 * (len(values) - 1)
    return (time[:, np.newaxis] * values).sum(axis=0) / np.square(time).sum()


def _hann(samples: int) -> NDArray[np.float64]:
    """Computes a periodic Hann window; four that overlap have squares that add up to 1.5."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(samples) / samples)
