"""Peaks of a clip: the outline that a player draws as its waveform."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

PARTS = 256
"""Number of peaks of a clip, whatever its length."""


def peaks(clip: NDArray[np.float32], scale: float = 1.0) -> str:
    """Measures the highest absolute sample in each of `PARTS` equal parts of a clip.

    Args:
        clip: float32 [samples], or [samples, channels], of which the loudest counts; may be empty.
        scale: factor that the samples are multiplied with; full scale is 1.0.

    Returns:
        Base64 of `PARTS` bytes, 255 for full scale and above. A part shorter than a sample has the peak of that sample.
    """
    levels = np.zeros(PARTS, np.float32)
    if len(clip):
        starts = np.arange(PARTS, dtype=np.int64) * len(clip) // PARTS
        levels = np.maximum(np.maximum.reduceat(clip, starts), -np.minimum.reduceat(clip, starts))
    if levels.ndim == 2:
        levels = levels.max(axis=1)
    return base64.b64encode(np.rint(np.clip(levels * scale, 0, 1) * 255).astype(np.uint8).tobytes()).decode()
