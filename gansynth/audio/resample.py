"""Resampling of clips, a piece at a time: the result does not depend on the size of the pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


def resampled(
    pieces: Iterable[NDArray[np.float32]], channels: int, sample_rate: int, wanted: int
) -> Iterator[NDArray[np.float32]]:
    """Resamples a clip with soxr's best filter (VHQ), without delay.

    Args:
        pieces: float32 [samples] or [samples, channels] each.
        channels: number of channels of the pieces.
        sample_rate: rate of the pieces, in Hz.
        wanted: rate of the result, in Hz.

    Yields:
        float32 pieces with the same channels; together the same duration, rounded to a sample.
    """
    if wanted == sample_rate:
        yield from pieces
        return
    import soxr

    stream = soxr.ResampleStream(sample_rate, wanted, channels, dtype="float32", quality="VHQ")
    for piece in pieces:
        yield stream.resample_chunk(np.ascontiguousarray(piece, np.float32))
    yield stream.resample_chunk(np.zeros((0, channels) if channels > 1 else 0, np.float32), last=True)


def measure(pieces: Iterable[NDArray[np.float32]]) -> tuple[int, float]:
    """Returns the number of samples of a clip in pieces, and its highest absolute sample."""
    samples, peak = 0, 0.0
    for piece in pieces:
        samples += len(piece)
        peak = max(peak, float(piece.max(initial=0.0)), -float(piece.min(initial=0.0)))
    return samples, peak
