"""Training targets of recorded notes: harmonic envelopes, exact partials, target images.

A note is reduced to the amplitudes A_h(t) of its harmonics and played again at exactly h * f0. The frequency image is
then constant in time and depends on the pitch alone, which a small network can draw exactly enough to be in tune.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from gansynth.model import mel

PITCHES = range(24, 85)
"""The MIDI pitches of a GANSynth generator, in the order of its labels (gansynth.model.checkpoint has them too)."""
COMPARED = range(36, 85, 4)
"""The pitches that are compared with recordings."""
SAMPLE_RATE = 16000
SAMPLES = 64000
ROWS, BINS, HOP, FRAME = 128, 1024, 512, 2048
LEAD = 3072
"""Samples that the synthesis drops in front: rows 0 to 2 are never heard, row 3 is the first that is."""
ONSET_ROWS = 4
"""Rows over which the partials' starting phases are spread in the frequency image."""
MAG_SCALE, MAG_OFFSET = 0.0661371661726, 0.113718730221
PHASE_SCALE = 0.8
FLOOR = -13.0
"""Natural logarithm of the power below which nothing is heard: the inverse adds 1e-6 to every bin's power."""


def frequency(pitch: int) -> float:
    """Returns the frequency of a MIDI pitch in Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69) / 12))


def partials(pitch: int) -> int:
    """Counts the harmonics of a pitch that lie at least 60 Hz below the Nyquist frequency."""
    return int((SAMPLE_RATE / 2 - 60.0) / frequency(pitch))


def start_phases(count: int) -> NDArray[np.float64]:
    """Returns the partials' phases at the first sample, in units of pi: fixed noise, which avoids pulse trains."""
    return np.random.RandomState(1).uniform(-1.0, 1.0, size=512)[:count]


def resynthesize(harmonics: NDArray[np.floating], pitch: int, seconds: float = 1.6) -> NDArray[np.float64]:
    """Plays a note's harmonics at exact multiples of the fundamental: for checks without images.

    Args:
        harmonics: float [partials, frames], one frame each 128 samples.
        pitch: MIDI pitch.
        seconds: how long.

    Returns:
        float64 [samples].
    """
    time = np.arange(int(seconds * SAMPLE_RATE))
    frames = np.arange(harmonics.shape[1]) * 128
    angle = 2.0 * np.pi * frequency(pitch) / SAMPLE_RATE * time
    loudest = harmonics.max()
    audio = np.zeros(len(time))
    for number, (row, phase) in enumerate(zip(harmonics, start_phases(len(harmonics)), strict=True), 1):
        if row.max() > 1e-3 * loudest:
            audio += np.interp(time, frames, row) * np.cos(number * angle + np.pi * phase)
    return audio


def level(harmonics: NDArray[np.floating]) -> float:
    """Computes the factor that scales a note to the common level: mean square 0.02 in its loudest 1/8 s.

    Args:
        harmonics: float [partials, frames], amplitudes, one frame each 128 samples.
    """
    power = (np.asarray(harmonics, np.float64) ** 2).sum(axis=0) / 2.0
    window = FRAME // 128
    loudest = np.convolve(power, np.ones(window) / window, "valid").max()
    return float(np.sqrt(0.02 / loudest)) if loudest > 0 else 0.0


def magnitudes(audio: NDArray[np.floating]) -> NDArray[np.float32]:
    """Computes the magnitude STFT as the reference does: no padding, without DC, float32 [frames, BINS]."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(audio, np.float32), FRAME)[::HOP]
    hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)
    return np.abs(np.fft.rfft(frames * hann, axis=1))[:, 1:].astype(np.float32)


@cache
def _mel() -> tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]:
    forward = mel.linear_to_mel(BINS, SAMPLE_RATE).astype(np.float32)
    inverse = mel.mel_to_linear(BINS, SAMPLE_RATE).astype(np.float32)
    return scipy.sparse.csr_matrix(forward), scipy.sparse.csr_matrix(inverse)


def mel_log_power(linear: NDArray[np.floating], iterations: int = 5) -> NDArray[np.float32]:
    """Finds the log power image that the reference's inverse transform maps closest to given magnitudes.

    Args:
        linear: float [rows, BINS], magnitudes.
        iterations: of Richardson and Lucy's multiplicative update (1972, 1974), from the reference's own mel
            analysis on; 0 is that analysis, which smears every partial over its neighbours.

    Returns:
        float32 [rows, BINS], natural logarithm, not below FLOOR - 1.
    """
    forward, inverse = _mel()
    power = np.asarray(linear, np.float32) ** 2
    bands = np.asarray(power @ forward) + 1e-9
    back, weight = inverse.T.tocsr(), np.asarray(inverse.sum(axis=1)).ravel() + 1e-9
    for _ in range(iterations):
        bands *= np.asarray(((power + 1e-9) / (np.asarray(bands @ inverse) + 1e-9)) @ back) / weight
    return np.log(np.maximum(bands, np.exp(FLOOR - 1.0))).astype(np.float32)


def _nearest_partial(pitch: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Finds for every linear bin the number and frequency of the nearest partial, and its distance in bins."""
    bins = np.arange(1, BINS + 1)
    spacing = SAMPLE_RATE / FRAME
    number = np.clip(np.round(bins * spacing / frequency(pitch)), 1, partials(pitch))
    hertz = number * frequency(pitch)
    return number, hertz, bins - hertz / spacing


def window_lobe(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """Computes the Hann window's transform at a distance in bins: 1 at 0, 0 from 2 bins on (no side lobes)."""
    edge = np.abs(np.abs(away) - 1) < 1e-6
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.abs(np.sinc(away) / np.where(edge, 2e9, 1 - away**2))
    return np.where(np.abs(away) < 2, np.where(edge, 0.5, shape), 0.0)


def lobe(pitch: int) -> NDArray[np.float32]:
    """Computes the weight of each linear bin's phase: the window's transform around the nearest partial, [BINS]."""
    return window_lobe(_nearest_partial(pitch)[2]).astype(np.float32)


SPLIT_BELOW = 4800.0
"""Hertz up to which mel bands are narrow enough to give adjacent bins levels of their own."""


@dataclass(frozen=True)
class Beats:
    """A pitch's second sinusoids, one beside each harmonic, a few tenths of a Hertz to a few Hertz off.

    The bin nearest to a harmonic, and those on its far side, hold the harmonic. The second nearest bin, and those on
    its far side, turn at a frequency of their own: an instrument whose levels move in each part of the spectrum (an
    ensemble, reeds, a piano's strings) puts power there, and both beat; others leave it empty.

    Attributes:
        hertz: of the second sinusoid of every harmonic, float64 [partials].
        own: bool [partials, BINS], the bins that hold the harmonic.
        second: bool [partials, BINS], the bins that hold the second sinusoid; none above SPLIT_BELOW.
    """

    hertz: NDArray[np.float64]
    own: NDArray[np.bool_]
    second: NDArray[np.bool_]


@cache
def beats(pitch: int) -> Beats:
    """Lays out a pitch's second sinusoids: 6 to 18 cents off, within about 0.3 to 5 Hz, by fixed noise."""
    random = np.random.RandomState(2000 + pitch)
    spacing = SAMPLE_RATE / FRAME
    exact = frequency(pitch) * np.arange(1, partials(pitch) + 1)
    nearest = np.round(exact / spacing)
    side = np.where(exact / spacing >= nearest, 1.0, -1.0)
    away = np.clip(exact * (2 ** (random.uniform(6, 18, len(exact)) / 1200) - 1), 0.3, 4.5) * random.uniform(
        0.6, 1.4, len(exact)
    )
    bins = np.arange(1, BINS + 1)
    number, _, _ = _nearest_partial(pitch)
    mine = number == np.arange(1, len(exact) + 1)[:, np.newaxis]
    second = mine & ((bins - nearest[:, np.newaxis]) * side[:, np.newaxis] >= 1)
    second &= (exact < SPLIT_BELOW)[:, np.newaxis]
    return Beats(exact + side * away, ~second, second)


@cache
def lobes(pitch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Computes the power in bins of harmonics and second sinusoids of amplitude 1, float64 [partials, BINS] each.

    A sinusoid that has lost bins to the other one is drawn louder in those that are left: what bins add to it is
    weighted by the window's transform, whose squares sum to 1.5.
    """
    parts = beats(pitch)
    exact = frequency(pitch) * np.arange(1, partials(pitch) + 1)
    found = []
    for hertz, where in ((exact, parts.own), (parts.hertz, parts.second)):
        shape = window_lobe(np.arange(1, BINS + 1) - hertz[:, np.newaxis] * FRAME / SAMPLE_RATE) * where
        share = np.square(shape).sum(axis=1, keepdims=True) / 1.5
        found.append(np.square(FRAME / 4 * shape / np.maximum(share, 0.12)))
    return found[0], found[1]


def image(
    harmonics: NDArray[np.floating],
    ratios: NDArray[np.floating],
    noise: NDArray[np.floating],
    pitch: int,
    gain: tuple[NDArray[np.floating], NDArray[np.floating]],
) -> NDArray[np.float32]:
    """Computes the log power image of a note.

    Args:
        harmonics: float [partials, ROWS], amplitudes of every row.
        ratios: float [partials], the amplitudes of the second sinusoids to those of their harmonics.
        noise: float [ROWS, BINS], power between the partials as squared STFT magnitudes.
        pitch: MIDI pitch.
        gain: of harmonics and noise, as `gains` gives.

    Returns:
        float32 [ROWS, BINS], natural logarithm.
    """
    harmonic_gain, noise_gain = gain
    own, second = lobes(pitch)
    loud = np.square(harmonics.astype(np.float64) * harmonic_gain[:, np.newaxis])
    power = loud.T @ own + (loud * np.square(ratios)[:, np.newaxis]).T @ second
    return mel_log_power(np.sqrt(power + noise * noise_gain))


NOISE_WEIGHT = 1e-3
"""Weight of the phases of bins between the partials, relative to those at a partial's centre."""


def frequency_images(pitch: int, strays: tuple[float, ...] = (), smoothness: float = 1e-4) -> NDArray[np.float32]:
    """Computes the two distinct rows of a pitch's phase channel: the onset's, and that of all later rows.

    Args:
        pitch: MIDI pitch.
        strays: frequencies in Hertz of partials that are not harmonics, the most important first.
        smoothness: weight of the second difference between bands against exactness at the partials.

    Returns:
        float32 [2, BINS], in units of pi before normalising: row 0 for the first ONSET_ROWS rows, row 1 for the others.

    A partial's phase turns by pi from one linear bin to the next across its peak; that ramp, centred on the peak, and
    the starting phase are spread over the onset rows, which are (nearly) all before the note is heard. Between the
    partials every bin has a frequency and a phase of its own, drawn at random: what is there sounds as noise.
    """
    _, inverse = _mel()
    number, hertz, away = _nearest_partial(pitch)
    spacing = SAMPLE_RATE / FRAME

    def wrap(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x - 2.0 * np.round(x / 2.0)

    bins = np.arange(1, BINS + 1)
    random = np.random.RandomState(1000 + pitch)
    start = start_phases(512)[number.astype(int) - 1]
    weight = lobe(pitch).astype(np.float64) ** 2
    free = np.abs(away) > 2.5
    weight[free] = NOISE_WEIGHT
    hertz = np.where(free, (bins + random.uniform(-0.5, 0.5, BINS)) * spacing, hertz)
    start = np.where(free, random.uniform(-1.0, 1.0, BINS), start)
    away = np.where(free, 0.0, away)
    parts = beats(pitch)
    for h in np.flatnonzero(parts.second.any(axis=1)):
        mine = parts.second[h] & ~free
        hertz[mine], start[mine] = parts.hertz[h], random.uniform(-1.0, 1.0)
        away[mine] = bins[mine] - parts.hertz[h] / spacing
        weight[mine] = np.maximum(window_lobe(away[mine]) ** 2, NOISE_WEIGHT)
    for stray in strays:
        own = free & (np.abs(bins - stray / spacing) < 2.5)
        hertz[own], start[own], away[own] = stray, random.uniform(-1.0, 1.0), (bins - stray / spacing)[own]
        weight[own] = np.maximum(window_lobe(away[own]) ** 2, NOISE_WEIGHT)
        free &= ~own
    advance = wrap(2.0 * hertz * HOP / SAMPLE_RATE)
    start = wrap(start + (ONSET_ROWS - 1) * advance)
    onset = (start - np.clip(away, -3, 3)) / ONSET_ROWS
    weight += 1e-6
    matrix = inverse.toarray().astype(np.float64)
    bend = np.diff(np.eye(BINS), n=2, axis=0)
    system = (matrix * weight) @ matrix.T + smoothness * bend.T @ bend + 1e-7 * np.eye(BINS)
    return np.linalg.solve(system, matrix @ (weight[:, np.newaxis] * np.stack([onset, advance], 1))).T.astype(
        np.float32
    )


def gains(pitch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measures the factors by which the inverse changes amplitudes of harmonics and power of noise, as corrections.

    Above 5 kHz, where mel bands are wider than a partial, harmonics lose level; noise does everywhere, since
    neighbouring bins do not agree. Both are measured on notes whose partials, or noise, are equally loud everywhere.

    Returns:
        float64 [partials] and [BINS].
    """
    count = partials(pitch)
    phase = phase_image(frequency_images(pitch))
    flat = mel_log_power(np.sqrt(np.repeat((0.01**2 * lobes(pitch)[0].sum(axis=0))[None], ROWS, 0)))
    audio = invert(flat, phase)[SAMPLE_RATE // 2 :].astype(np.float64)
    window = np.hanning(len(audio))
    time = np.arange(len(audio)) / SAMPLE_RATE
    found = np.array(
        [abs((audio * window) @ np.exp(-2j * np.pi * h * frequency(pitch) * time)) for h in range(1, count + 1)]
    )
    harmonic = np.clip(0.01 / (2 * found / window.sum()), 0.7, 2.0)
    noise = mel_log_power(np.full([ROWS, BINS], 0.3))
    audio = invert(noise, phase)
    got = np.square(magnitudes(audio)).mean(axis=0)
    smooth = np.convolve(np.pad(got, 40, mode="reflect"), np.ones(81) / 81, "valid")
    return harmonic, np.clip(0.09 / smooth, 0.5, 8.0)


def invert(log_power: NDArray[np.floating], phase: NDArray[np.floating]) -> NDArray[np.float32]:
    """Converts images to audio as the reference does, in numpy, to check targets without TensorFlow.

    Args:
        log_power: float [ROWS, BINS].
        phase: float [ROWS, BINS], phase advances in units of pi.

    Returns:
        float32 [SAMPLES].
    """
    _, inverse = _mel()
    power = np.exp(np.asarray(log_power, np.float64)) @ inverse
    angle = np.pi * np.cumsum(np.asarray(phase, np.float64), axis=0) @ inverse
    spectrum = np.sqrt(power + 1e-6) * np.exp(1j * angle)
    frames = np.fft.irfft(np.pad(spectrum, [[0, 0], [1, 0]]), FRAME, axis=1)
    frames *= mel.inverse_window(FRAME, HOP)
    audio = np.zeros(HOP * (ROWS - 1) + FRAME)
    for row, frame in enumerate(frames):
        audio[row * HOP : row * HOP + FRAME] += frame
    return audio[LEAD:].astype(np.float32)


def phase_image(images: NDArray[np.floating]) -> NDArray[np.float32]:
    """Assembles the whole phase channel of a pitch from `frequency_images`, float32 [ROWS, BINS]."""
    return np.where(np.arange(ROWS)[:, np.newaxis] < ONSET_ROWS, images[0], images[1]).astype(np.float32)
