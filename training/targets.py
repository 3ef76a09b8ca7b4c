"""Training targets of recorded notes: harmonic envelopes, exact partials, target images.

A note is reduced to the amplitudes A_h(t) of its harmonics and played again at exactly h * f0. The frequency image is
then constant in time and depends on the pitch alone, which a small network can draw exactly enough to be in tune.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from gansynth.model import mel

PITCHES = range(24, 85)
"""The MIDI pitches of a GANSynth generator, in the order of its labels (gansynth.model.checkpoint has them too)."""
SAMPLE_RATE = 16000
SAMPLES = 64000
ROWS, BINS, HOP, FRAME = 128, 1024, 512, 2048
LEAD = 3072
"""Samples that the synthesis drops in front: rows 0 to 2 are never heard, row 3 is the first that is."""
ONSET_ROWS = 4
"""Rows over which the partials' starting phases are spread in the frequency image."""
ENVELOPE_HOP = 128
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


def envelopes(audio: NDArray[np.floating], pitch: int) -> NDArray[np.float32]:
    """Computes the amplitudes of a note's harmonics over time.

    Args:
        audio: float [samples] or [samples, channels] at SAMPLE_RATE, the note's onset at sample 0. The channels'
            powers are averaged, so that stereo recordings do not cancel.
        pitch: MIDI pitch.

    Returns:
        float32 [partials, frames], one frame every ENVELOPE_HOP samples from 0 on.

    The window is folded at both ends, as if the amplitude were constant beyond them, so that a pluck's first frame has
    the pluck's full amplitude and not half of it.
    """
    channels = np.atleast_2d(np.asarray(audio, np.float64).T)
    channels = np.pad(channels, [[0, 0], [0, max(0, SAMPLES - channels.shape[1])]])[:, :SAMPLES]
    f0 = frequency(pitch)
    half = round(max(4.0 / f0, 0.03) * SAMPLE_RATE / 2)
    offsets = np.arange(-half, half)

    def hann(x: NDArray[np.integer]) -> NDArray[np.float64]:
        return np.where(np.abs(x) < half, 0.5 + 0.5 * np.cos(np.pi * x / half), 0.0)

    starts = np.arange(0, SAMPLES + 1, ENVELOPE_HOP)
    index = starts[:, np.newaxis] + offsets
    window = hann(np.broadcast_to(offsets, index.shape))
    window = window + np.where(index > 0, hann(-index - starts[:, np.newaxis]), 0.0)
    window += np.where(index < SAMPLES - 1, hann(2 * SAMPLES - 2 - index - starts[:, np.newaxis]), 0.0)
    inside = (index >= 0) & (index < SAMPLES)
    index = np.clip(index, 0, SAMPLES - 1)
    harmonics = f0 * np.arange(1, partials(pitch) + 1)
    basis = np.exp(-2j * np.pi * np.outer(offsets, harmonics) / SAMPLE_RATE).astype(np.complex64)
    power = np.zeros([len(starts), len(harmonics)])
    for channel in channels:
        frames = (channel[index] * window * inside).astype(np.float32)
        power += np.abs(frames @ basis) ** 2
    amplitude = 2.0 / half * np.sqrt(power / len(channels))
    return amplitude.T.astype(np.float32)


def start_phases(count: int) -> NDArray[np.float64]:
    """Returns the partials' phases at the first sample, in units of pi: fixed noise, which avoids pulse trains."""
    return np.random.RandomState(1).uniform(-1.0, 1.0, size=512)[:count]


def resynthesize(amplitudes: NDArray[np.floating], pitch: int, lead: int = LEAD) -> NDArray[np.float32]:
    """Plays envelopes at exact multiples of the fundamental.

    Args:
        amplitudes: float [partials, frames], as `envelopes` gives.
        pitch: MIDI pitch.
        lead: number of samples before the note, over which the first frame's amplitudes are held.

    Returns:
        float32 [lead + SAMPLES].
    """
    amplitudes = np.asarray(amplitudes, np.float32)
    total = lead + SAMPLES
    time = np.arange(total, dtype=np.float64)
    step = 2.0 * np.pi * frequency(pitch) / SAMPLE_RATE
    # The phase counts from LEAD samples before the onset whatever the lead, so both ways give the same waveform.
    turn = np.exp(1j * step * (time + (LEAD - lead))).astype(np.complex64)
    place = np.clip((time - lead) / ENVELOPE_HOP, 0, amplitudes.shape[1] - 1)
    left = np.minimum(place.astype(np.int64), amplitudes.shape[1] - 2)
    fraction = (place - left).astype(np.float32)
    difference = np.diff(amplitudes, axis=1)
    phases = np.exp(1j * np.pi * start_phases(len(amplitudes))).astype(np.complex64)
    audio, partial = np.zeros(total, np.float32), np.ones(total, np.complex64)
    loudest = amplitudes.max()
    for row, change, phase in zip(amplitudes, difference, phases, strict=True):
        partial *= turn
        if row.max() > 1e-6 * loudest:
            audio += (row[left] + fraction * change[left]) * (partial * phase).real
    return audio


def level(amplitudes: NDArray[np.floating], pitch: int) -> float:
    """Computes the factor that scales a note to the common level: mean square 0.02 in its loudest 1/8 s."""
    power = (np.asarray(amplitudes, np.float64) ** 2).sum(axis=0) / 2.0
    window = FRAME // ENVELOPE_HOP
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
    """Of every linear bin: number and frequency of the nearest partial, and bins from its centre."""
    bins = np.arange(1, BINS + 1)
    spacing = SAMPLE_RATE / FRAME
    number = np.clip(np.round(bins * spacing / frequency(pitch)), 1, partials(pitch))
    hertz = number * frequency(pitch)
    return number, hertz, bins - hertz / spacing


def lobe(pitch: int) -> NDArray[np.float32]:
    """Computes the weight of each linear bin's phase: the window's transform around the nearest partial, [BINS]."""
    _, _, away = _nearest_partial(pitch)
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.abs(np.sinc(away) / np.where(np.abs(np.abs(away) - 1) < 1e-6, 2e9, 1 - away**2))
    shape = np.where(np.abs(np.abs(away) - 1) < 1e-6, 0.5, shape)
    return np.where(np.abs(away) < 2, shape, 0.0).astype(np.float32)


def frequency_images(pitch: int, smoothness: float = 1e-4) -> NDArray[np.float32]:
    """Computes the two distinct rows of a pitch's phase channel: that of the onset, and that of all later rows.

    Args:
        pitch: MIDI pitch.
        smoothness: weight of the second difference between bands against exactness at the partials.

    Returns:
        float32 [2, BINS], in units of pi before normalising: row 0 for the first ONSET_ROWS rows, row 1 for the others.

    A partial's phase turns by pi from one linear bin to the next across its peak; that ramp, centred on the peak, and
    the starting phase are spread over the onset rows, which are (nearly) all before the note is heard.
    """
    _, inverse = _mel()
    number, hertz, away = _nearest_partial(pitch)

    def wrap(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x - 2.0 * np.round(x / 2.0)

    advance = wrap(2.0 * hertz * HOP / SAMPLE_RATE)
    start = wrap(start_phases(512)[number.astype(int) - 1] + (ONSET_ROWS - 1) * advance)
    onset = (start - np.clip(away, -3, 3)) / ONSET_ROWS
    weight = lobe(pitch).astype(np.float64) ** 2 + 1e-6
    matrix = inverse.toarray().astype(np.float64)
    bend = np.diff(np.eye(BINS), n=2, axis=0)
    system = (matrix * weight) @ matrix.T + smoothness * bend.T @ bend + 1e-7 * np.eye(BINS)
    return np.linalg.solve(system, matrix @ (weight[:, np.newaxis] * np.stack([onset, advance], 1))).T.astype(
        np.float32
    )


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


def phase_image(pitch: int) -> NDArray[np.float32]:
    """Returns the whole phase channel of a pitch, float32 [ROWS, BINS]."""
    onset, steady = frequency_images(pitch)
    return np.where(np.arange(ROWS)[:, np.newaxis] < ONSET_ROWS, onset, steady)
