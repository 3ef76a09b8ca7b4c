"""Analysis of recorded notes into harmonics over time and the noise between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.ndimage
import scipy.signal
from numpy.typing import NDArray

from training.targets import BINS, FRAME, HOP, LEAD, ROWS, SAMPLE_RATE, SAMPLES, frequency, partials

ENVELOPE_HOP = 128
FRAMES = SAMPLES // ENVELOPE_HOP + 1
SHORT, LONG = 0.012, 0.04
"""Seconds of the least analysis window at the attack and after it; low notes need two and four periods."""
ATTACK = (0.04, 0.12)
"""Seconds over which the short window gives way to the long one."""


@dataclass(frozen=True)
class Parts:
    """A note taken apart.

    Attributes:
        harmonics: float32 [partials, FRAMES], amplitudes, one frame each ENVELOPE_HOP samples from the onset on.
        noise: float32 [ROWS, BINS], power of what lies between the partials, in squared STFT magnitudes.
    """

    harmonics: NDArray[np.float32]
    noise: NDArray[np.float32]


def take_apart(audio: NDArray[np.floating], pitch: int) -> Parts:
    """Measures a note's harmonics and its noise.

    Args:
        audio: float [samples] or [samples, channels] at SAMPLE_RATE, the note's onset at sample 0. Channels are
            mixed, or their powers averaged where the mix cancels.
        pitch: MIDI pitch.
    """
    channels = np.atleast_2d(np.asarray(audio, np.float64).T)
    channels = np.pad(channels, [[0, 0], [0, max(0, SAMPLES - channels.shape[1])]])[:, :SAMPLES]
    mixed = channels.mean(axis=0, keepdims=True)
    if np.square(mixed).mean() > 0.1 * np.square(channels).mean():
        channels = mixed
    hertz = partial_frequencies(channels, pitch)
    return Parts(envelopes(channels, pitch, hertz), noise_power(channels, pitch, hertz))


def partial_frequencies(channels: NDArray[np.float64], pitch: int) -> NDArray[np.float64]:
    """Finds a note's actual partials: the strongest peak near every harmonic, in Hertz, float64 [partials].

    A string's upper partials are sharp, and samples are a few cents off: measured at exact multiples of the
    fundamental, they would be too weak.
    """
    f0, count = frequency(pitch), partials(pitch)
    part = channels[:, SAMPLE_RATE // 20 : SAMPLE_RATE * 2]
    size = 1 << 17
    power = (np.abs(np.fft.rfft(part * np.blackman(part.shape[1]), size)) ** 2).sum(axis=0)
    spacing = SAMPLE_RATE / size
    found = np.empty(count)
    for h in range(1, count + 1):
        reach = min(0.45 * f0, 2.5 * SAMPLE_RATE / FRAME)
        low, high = int((h * f0 - reach) / spacing), int((h * f0 + reach) / spacing) + 1
        near = power[low : high + 1]
        peak = int(near.argmax())
        clear = 0 < peak < len(near) - 1 and near[peak] > 4 * np.median(near)
        found[h - 1] = (low + peak) * spacing if clear else h * f0
    return found


def envelopes(
    channels: NDArray[np.float64], pitch: int, hertz: NDArray[np.float64] | None = None
) -> NDArray[np.float32]:
    """Measures the amplitudes of a note's harmonics over time, float32 [partials, FRAMES].

    Args:
        channels: float64 [channels, SAMPLES].
        pitch: MIDI pitch.
        hertz: the partials' frequencies; exact harmonics if None.

    At the attack the window is short, two periods or SHORT, and later four periods or LONG. It is folded at both
    ends (the amplitude goes on evenly there), so that a pluck's first frame is as loud as the pluck and not half of it.
    """
    f0 = frequency(pitch)
    hertz = f0 * np.arange(1, partials(pitch) + 1) if hertz is None else hertz
    late = _demodulated(channels, hertz, max(4.0 / f0, LONG), np.arange(FRAMES))
    early_frames = np.arange(int(ATTACK[1] * SAMPLE_RATE / ENVELOPE_HOP) + 1)
    early = _demodulated(channels, hertz, max(2.0 / f0, SHORT), early_frames)
    seconds = early_frames * ENVELOPE_HOP / SAMPLE_RATE
    share = np.clip((seconds - ATTACK[0]) / (ATTACK[1] - ATTACK[0]), 0.0, 1.0)
    late[:, early_frames] = share * late[:, early_frames] + (1.0 - share) * early
    return late.astype(np.float32)


def _demodulated(
    channels: NDArray[np.float64], hertz: NDArray[np.float64], window: float, frames: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Amplitudes at given frequencies through a Hann window of so many seconds, [frequencies, frames]."""
    half = round(window * SAMPLE_RATE / 2)
    offsets = np.arange(-half, half)

    def hann(x: NDArray[np.integer]) -> NDArray[np.float64]:
        return np.where(np.abs(x) < half, 0.5 + 0.5 * np.cos(np.pi * x / half), 0.0)

    starts = frames * ENVELOPE_HOP
    index = starts[:, np.newaxis] + offsets
    weight = hann(np.broadcast_to(offsets, index.shape))
    weight = weight + np.where(index > 0, hann(-index - starts[:, np.newaxis]), 0.0)
    weight += np.where(index < SAMPLES - 1, hann(2 * SAMPLES - 2 - index - starts[:, np.newaxis]), 0.0)
    inside = (index >= 0) & (index < SAMPLES)
    index = np.clip(index, 0, SAMPLES - 1)
    basis = np.exp(-2j * np.pi * np.outer(offsets, hertz) / SAMPLE_RATE).astype(np.complex64)
    power = np.zeros([len(frames), len(hertz)])
    for channel in channels:
        power += np.abs((channel[index] * weight * inside).astype(np.float32) @ basis) ** 2
    return (2.0 / half * np.sqrt(power / len(channels))).T


def noise_power(channels: NDArray[np.float64], pitch: int, hertz: NDArray[np.float64]) -> NDArray[np.float32]:
    """Measures the power between the partials, as squared magnitudes of the reference's STFT, float32 [ROWS, BINS].

    Measured through Blackman and Harris's window, whose side lobes hide no noise; bins that a partial reaches get
    what is on both sides of it. Where partials leave no room between them, it is zero. In front of the onset
    the note is mirrored, as in the harmonics' folded windows.
    """
    size, reach = 2 * FRAME, 2.3
    window = scipy.signal.windows.blackmanharris(size, sym=False)
    centres = np.arange(ROWS) * HOP - LEAD + FRAME // 2
    index = np.abs(centres[:, np.newaxis] + np.arange(-size // 2, size // 2))
    index = np.where(index >= SAMPLES, 2 * SAMPLES - 2 - index, index)
    power = np.zeros([ROWS, size // 2 + 1])
    for channel in channels:
        power += np.abs(np.fft.rfft(channel[index] * window, axis=1)) ** 2 / len(channels)
    # The sum of the reference's squared Hann window over this one's.
    power *= 0.375 * FRAME / np.square(window).sum()
    power = scipy.ndimage.convolve1d(power, [0.25, 0.5, 0.25], axis=1, mode="nearest")[:, 2::2]

    bins = np.arange(1, BINS + 1) * SAMPLE_RATE / FRAME
    exact = frequency(pitch) * np.arange(1, len(hertz) + 1)
    places = np.concatenate([hertz, exact])
    taken = (np.abs(bins[:, np.newaxis] - places) < reach * SAMPLE_RATE / FRAME).any(axis=1)
    if taken.all():
        return np.zeros([ROWS, BINS], np.float32)
    smooth = scipy.ndimage.uniform_filter1d(power, 5, axis=0, mode="nearest")
    smooth[:12] = scipy.ndimage.uniform_filter1d(power, 3, axis=0, mode="nearest")[:12]
    free = np.flatnonzero(~taken)
    log = np.log(np.maximum(smooth[:, free], 1e-9))
    place = np.interp(np.arange(BINS), free, np.arange(len(free)))
    left = np.minimum(place.astype(int), len(free) - 1)
    right = np.minimum(left + 1, len(free) - 1)
    filled = log[:, left] + (place - left) * (log[:, right] - log[:, left])
    return np.exp(filled).astype(np.float32)


def without_half_harmonics(parts: Parts, pitch: int) -> Parts:
    """Parts whose partials half way between harmonics are 10 dB softer.

    An organ's fifth, at one and a half times the fundamental, makes its highest notes repeat every other period only:
    by their harmonics they are in tune, and yet they are heard an octave down.
    """
    spacing = SAMPLE_RATE / FRAME
    halves = frequency(pitch) * (np.arange(partials(pitch)) + 0.5)
    away = np.arange(1, BINS + 1)[:, np.newaxis] * spacing - halves
    near = (np.abs(away) < np.minimum(0.03 * halves + 2.5 * spacing, 0.2 * frequency(pitch))).any(axis=1)
    return Parts(parts.harmonics, np.where(near, 0.1 * parts.noise, parts.noise).astype(np.float32))


def hold_attack(harmonics: NDArray[np.float32], longest: float = 0.06) -> NDArray[np.float32]:
    """Holds a struck note's harmonics from the onset to their loudest moment, if that is within `longest` seconds.

    The reference's frames are too long for a rise of a few milliseconds; cut off at the onset, there is none.
    """
    frames = int(longest * SAMPLE_RATE / ENVELOPE_HOP)
    power = np.square(harmonics[:, : 2 * frames].astype(np.float64)).sum(axis=0)
    peak = int(np.argmax(power >= 0.9 * power.max()))
    if 0 < peak <= frames:
        harmonics = harmonics.copy()
        harmonics[:, :peak] = harmonics[:, peak : peak + 1]
    return harmonics


def movement(harmonics: NDArray[np.float32]) -> tuple[float, float]:
    """Measures a sustained note's movement: standard deviations in dB from 0.5 to 3 s, about a parabola.

    Returns:
        Of its level, and of the levels of its twelve loudest harmonics, the median.
    """
    per_second = SAMPLE_RATE / ENVELOPE_HOP
    power = np.square(harmonics.astype(np.float64))
    loudest = np.argsort(-power.sum(axis=1))[:12]
    curves = np.concatenate([power.sum(axis=0, keepdims=True), power[loudest]])
    level = 10 * np.log10(scipy.ndimage.uniform_filter1d(curves, 5, axis=1) + 1e-12)
    level = level[:, int(0.5 * per_second) : int(3 * per_second)]
    time = np.linspace(-1, 1, level.shape[1])
    trend = np.polynomial.polynomial.polyfit(time, level.T, 2)
    moving = (level - np.polynomial.polynomial.polyval(time, trend)).std(axis=1)
    return float(moving[0]), float(np.median(moving[1:]))


def beating(harmonics: NDArray[np.float32]) -> NDArray[np.float64]:
    """Measures how deep each harmonic beats: standard deviations of its level in dB from 0.3 to 3 s, about a parabola.

    Returns:
        float64 [partials]; only what is within 50 dB of the harmonic's loudest moment counts.
    """
    first, last = int(0.3 * SAMPLE_RATE / ENVELOPE_HOP), int(3 * SAMPLE_RATE / ENVELOPE_HOP)
    level = 20 * np.log10(np.maximum(harmonics[:, first:last], 1e-9).astype(np.float64))
    time = np.linspace(-1, 1, level.shape[1])
    powers = np.stack([np.ones_like(time), time, time**2], axis=1)
    found = np.zeros(len(level))
    for h, curve in enumerate(level):
        heard = curve > curve.max() - 50
        if heard.sum() < 40:
            continue
        fit = np.linalg.lstsq(powers[heard], curve[heard], rcond=None)[0]
        found[h] = (curve - powers @ fit)[heard].std()
    return found


def steady(harmonics: NDArray[np.float32], deviation: float, attack: float = 0.3) -> NDArray[np.float32]:
    """Harmonics without quick changes after the attack: smoothed over `deviation` seconds, in dB.

    Args:
        harmonics: float [partials, FRAMES].
        deviation: of the Gaussian window, in seconds.
        attack: seconds that are kept as they are; over as many again the smoothed levels take over.
    """
    seconds = np.arange(FRAMES) * ENVELOPE_HOP / SAMPLE_RATE
    first = int(np.argmax(seconds >= attack / 2))
    log = np.log(np.maximum(harmonics, 1e-7))
    smooth = log.copy()
    per_second = SAMPLE_RATE / ENVELOPE_HOP
    smooth[:, first:] = scipy.ndimage.gaussian_filter1d(log[:, first:], deviation * per_second, axis=1, mode="nearest")
    share = np.clip((seconds - attack) / attack, 0.0, 1.0)
    return np.exp(log + share * (smooth - log)).astype(np.float32)


DEPTH = 6.14
"""Standard deviation in dB of the level of two sinusoids, one much softer, by the ratio of their amplitudes."""


def swell(harmonics: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    """Harmonics whose level moves slowly by so many dB, by a pattern that all instruments and pitches share.

    Args:
        harmonics: float [partials, FRAMES], steady.
        deviation: standard deviation of the level in dB.
    """
    random = np.random.RandomState(5)
    time = np.arange(FRAMES) * ENVELOPE_HOP / SAMPLE_RATE
    rates = random.uniform(0.7, 1.6, [3, 1])
    wave = np.cos(2 * np.pi * (rates * time + random.uniform(size=rates.shape))).sum(axis=0)
    level = deviation * wave / wave.std() * np.clip((time - 0.2) / 0.3, 0.0, 1.0)
    return (harmonics * 10 ** (level / 20)).astype(np.float32)


@cache
def _frames_to_rows(smoothness: float = 0.02) -> NDArray[np.float64]:
    """Computes the matrix [ROWS, FRAMES] from an envelope to amplitudes of rows whose overlapping frames sum to it.

    A row is a Hann-windowed frame, windowed once more by the inverse: the amplitude at a time is a sum of squared
    Hann windows over 1.5. Rows that nothing is heard of go on as their neighbours.
    """
    time = np.arange(FRAMES)[:, np.newaxis] * ENVELOPE_HOP + LEAD - np.arange(ROWS) * HOP
    inside = (time >= 0) & (time < FRAME)
    kernel = np.where(inside, (0.5 - 0.5 * np.cos(2 * np.pi * time / FRAME)) ** 2 / 1.5, 0.0)
    bend = np.diff(np.eye(ROWS), axis=0)
    return np.linalg.solve(kernel.T @ kernel + smoothness * bend.T @ bend, kernel.T)


def rows(harmonics: NDArray[np.float32]) -> NDArray[np.float32]:
    """Amplitudes of every row of the image, so that its frames add to the envelopes, float32 [partials, ROWS]."""
    return np.maximum(harmonics.astype(np.float64) @ _frames_to_rows().T, 1e-9).astype(np.float32)


def decays(harmonics: NDArray[np.float32]) -> bool:
    """Tests whether a note is 6 dB softer at 2 s than at its loudest: struck or plucked, not held."""
    power = scipy.ndimage.uniform_filter1d(np.square(harmonics.astype(np.float64)).sum(axis=0), 9)
    return bool(power[2 * SAMPLE_RATE // ENVELOPE_HOP] < 0.25 * power.max())


def strays(noise: NDArray[np.floating], loudest: float) -> list[tuple[float, float]]:
    """Partials that are not harmonics: peaks of what lies between them, as (power, Hertz).

    Args:
        noise: float [ROWS, BINS], as `noise_power` gives.
        loudest: amplitude of the note's loudest harmonic; peaks 40 dB below it do not count.
    """
    power = noise[6:40].mean(axis=0).astype(np.float64) + 1e-12
    usual = scipy.ndimage.median_filter(power, 33, mode="nearest")
    least = max(1e-4 * (loudest * FRAME / 4) ** 2, 1e-12)
    peaks, _ = scipy.signal.find_peaks(np.log(power), distance=4)
    found = []
    for peak in peaks:
        if power[peak] < 30 * usual[peak] or power[peak] < least:
            continue
        before, at, after = np.log(power[peak - 1 : peak + 2])
        bend = before - 2 * at + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
        found.append((float(power[peak]), float((peak + 1 + offset) * SAMPLE_RATE / FRAME)))
    return found


def strongest(found: list[tuple[float, float]], most: int = 24, apart: float = 5.0) -> tuple[float, ...]:
    """Selects the strongest of several notes' strays, in Hertz, no two nearer than `apart` bins."""
    kept: list[float] = []
    for _, hertz in sorted(found, reverse=True):
        if all(abs(hertz - other) > apart * SAMPLE_RATE / FRAME for other in kept):
            kept.append(hertz)
    return tuple(kept[:most])
