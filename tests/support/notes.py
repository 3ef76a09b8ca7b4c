"""Construction of notes, and comparison of audio."""

from __future__ import annotations

import numpy as np

from gansynth.midi.notes import Notes


def snr(expected: np.ndarray, found: np.ndarray) -> float:
    """Computes the signal-to-noise ratio in dB; infinite for equal arrays."""
    expected = np.asarray(expected, np.float64)
    noise = np.square(np.asarray(found, np.float64) - expected).sum()
    return float(10 * np.log10(np.square(expected).sum() / noise)) if noise else np.inf


def make_notes(*rows: tuple[float, ...]) -> Notes:
    """Makes notes from rows of pitch, start, end and, optionally, velocity, program, is_drum."""
    full = [(*row, *(100, 0, 0)[len(row) - 3 :]) for row in rows]
    pitch, start, end, velocity, program, drum = zip(*full, strict=True) if full else ((),) * 6
    return Notes(
        pitch=np.array(pitch, np.int16),
        velocity=np.array(velocity, np.int16),
        start=np.array(start, np.float64),
        end=np.array(end, np.float64),
        program=np.array(program, np.int16),
        track=np.zeros(len(full), np.int32),
        is_drum=np.array(drum, np.bool_),
    )
