"""Mastering: the level and the sample rate of a song's sound file, set from the sum of its notes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gansynth.audio import loudness
from gansynth.audio.encode import cut
from gansynth.audio.mix import SparseMix, finish, peak_gain
from gansynth.audio.resample import measure, resampled
from gansynth.config import MixConfig


@dataclass(frozen=True)
class Master:
    """A song ready to be written.

    Attributes:
        clip: float32 [samples], or [samples, 2] with panning, at the rate of the notes.
        clip_rate: sample rate of the clip, in Hz.
        sample_rate: sample rate of the file, in Hz.
        scale: factor applied after resampling, which keeps the peak.
        samples: length of the file, in samples.
        peak: highest absolute sample of the file.
        gain: factor by which the sum of notes was multiplied in all.
        loudness: integrated loudness in LUFS, if it set the level.
        true_peak: in dBTP, if loudness set the level.
    """

    clip: NDArray[np.float32] = field(repr=False)
    clip_rate: int
    sample_rate: int
    scale: float
    samples: int
    peak: float
    gain: float
    loudness: float | None = None
    true_peak: float | None = None

    @property
    def mono(self) -> NDArray[np.float32]:
        """Returns the clip with its channels added up, float32 [samples], at the rate of the notes."""
        return self.clip if self.clip.ndim == 1 else self.clip.sum(axis=1)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Yields the content of the file in pieces, float32 [samples] or [samples, 2] each, at the rate of the file."""
        if self.sample_rate == self.clip_rate:
            yield from cut(self.clip)
            return
        channels = 1 if self.clip.ndim == 1 else self.clip.shape[1]
        for piece in resampled(cut(self.clip), channels, self.clip_rate, self.sample_rate):
            yield piece * np.float32(self.scale)


def master(mix: SparseMix, samples: int, config: MixConfig, clip_rate: int, sample_rate: int | None = None) -> Master:
    """Sets the level and the sample rate of a song.

    Args:
        mix: sum of all notes.
        samples: length of the clip; sound beyond it is cut.
        config: normalisation and channels.
        clip_rate: sample rate of the notes, in Hz.
        sample_rate: sample rate of the file, in Hz; that of the notes if None.
    """
    sample_rate = sample_rate or clip_rate
    heard = None
    if config.normalize == "loudness":
        clip = finish(mix, samples, config.model_copy(update={"clip_peak": "none"}))
        heard = loudness.gain(clip, clip_rate, config.loudness, config.true_peak)
    if heard is None:
        clip, gain = finish(mix, samples, config), peak_gain(mix, config)
    else:
        gain = heard
        clip *= np.float32(gain)
    length, peak = measure(cut(clip))
    mastered = Master(clip, clip_rate, sample_rate, 1.0, length, peak, gain)
    if sample_rate != clip_rate:
        mastered = _resampled(mastered, keep_peak=heard is None and config.clip_peak != "none")
    if heard is None:
        return mastered
    levels = loudness.integrated(clip, clip_rate), 20 * math.log10(loudness.true_peak(clip, clip_rate))
    return replace(mastered, loudness=round(levels[0], 2), true_peak=round(levels[1], 2))


def _resampled(mastered: Master, keep_peak: bool) -> Master:
    """Measures a song at the file's rate; rescales it if asked, as interpolated samples may exceed the peak."""
    length, peak = measure(mastered.pieces())
    scale = mastered.peak / peak if keep_peak and peak else 1.0
    return replace(mastered, scale=scale, samples=length, peak=peak * scale, gain=mastered.gain * scale)
