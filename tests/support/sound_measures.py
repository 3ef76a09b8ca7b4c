"""Test tones, and measurements of sounds: levels, spectral lines, frequencies."""

from __future__ import annotations

import numpy as np

RATE = 16000


def tone(hertz: np.ndarray | float, samples: int, amplitudes: tuple[float, ...] = (1.0,)) -> np.ndarray:
    """Synthesises harmonics of a constant or moving frequency (float [samples]), in cosine phase at sample 0."""
    steps = np.broadcast_to(np.asarray(hertz, np.float64), samples) / RATE
    phase = 2 * np.pi * (np.cumsum(steps) - steps)
    return sum(a * np.cos(n * phase) for n, a in enumerate(amplitudes, 1))


def spectrum(audio: np.ndarray, zoom: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Computes frequencies in Hz, and levels in dB relative to a sine of amplitude 1; side lobes are below -110 dB."""
    window = np.kaiser(len(audio), 14)
    values = np.abs(np.fft.rfft(audio * window, zoom * len(audio))) / (window.sum() / 2)
    return np.fft.rfftfreq(zoom * len(audio), 1 / RATE), 20 * np.log10(values + 1e-12)


def frequency(audio: np.ndarray, near: float) -> float:
    """Measures the frequency in Hz of the strongest line within half a semitone of `near`."""
    hertz, levels = spectrum(audio, 16)
    levels[np.abs(hertz / near - 1) > 0.03] = -np.inf
    return float(hertz[levels.argmax()])


def levels(audio: np.ndarray, seconds: float = 0.05) -> np.ndarray:
    """Measures RMS levels in dB of successive pieces of a sound."""
    length = round(seconds * RATE)
    pieces = np.asarray(audio, np.float64)[: len(audio) // length * length].reshape(-1, length)
    return 10 * np.log10(np.square(pieces).mean(axis=1) + 1e-20)


def decibels(noise: np.ndarray, wanted: np.ndarray) -> float:
    """Measures the level of `noise` relative to `wanted`, in dB."""
    noise, wanted = np.asarray(noise, np.float64), np.asarray(wanted, np.float64)
    return float(10 * np.log10(np.square(noise).sum() / np.square(wanted).sum() + 1e-30))
