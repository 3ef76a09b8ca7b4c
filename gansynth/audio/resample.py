"""Clips at another sample rate, a piece at a time: the same bytes however they are cut into pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


def resampled(
    pieces: Iterable[NDArray[np.float32]], channels: int, sample_rate: int, wanted: int
) -> Iterator[NDArray[np.float32]]:
    """A clip at another rate, by soxr's best filter; aligned to the sample, nothing is delayed.

    Args:
        pieces: float32 [samples] or [samples, channels] each.
        channels: of all of them.
        sample_rate: theirs, in Hz.
        wanted: the other rate, in Hz.

    Yields:
        float32 pieces of the same kind; together as many samples as the same time has at the other rate, rounded.
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
    """Number of samples of a clip in pieces, and how far from zero it goes."""
    samples, peak = 0, 0.0
    for piece in pieces:
        samples += len(piece)
        peak = max(peak, float(piece.max(initial=0.0)), -float(piece.min(initial=0.0)))
    return samples, peak
