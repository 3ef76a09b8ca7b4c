"""Mixing of notes to clips, in whole numbers: the order of addition, and so the split of work, changes no byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gansynth.config import MixConfig

UNIT = 1 << 20
"""Fixed-point 1.0: one step is -126 dB below it."""
BLOCK = 1 << 14
"""Number of samples in a block of a sparse mix."""
_MOST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class FixedPointNote:
    """A note in units of 1 / UNIT.

    Attributes:
        samples: int32 or int64 [samples], or [2, samples] in stereo.
        peak: bound of the absolute samples.
    """

    samples: NDArray[np.signedinteger]
    peak: int


def quantize(audio: NDArray[np.floating]) -> FixedPointNote:
    """Rounds `audio` (float [samples], finite) to units of 1 / UNIT."""
    samples = np.rint(audio * UNIT)
    peak = int(np.abs(samples).max(initial=0))
    return FixedPointNote(samples.astype(np.int32 if peak <= _MOST else np.int64), peak)


@dataclass
class SparseMix:
    """A sum of notes, kept only where there is sound.

    Attributes:
        blocks: block number to int32 or int64 [BLOCK], or [2, BLOCK] in stereo, in units of 1 / UNIT.
        bounds: block number to a bound of its absolute samples, which decides between 32 and 64 bits.
    """

    blocks: dict[int, NDArray[np.signedinteger]] = field(default_factory=dict)
    bounds: dict[int, int] = field(default_factory=dict)

    def add(self, start: int, audio: NDArray[np.floating]) -> None:
        """Adds `audio` (float [samples], finite) from sample `start` on."""
        self.add_note(start, quantize(audio))

    def add_note(self, start: int, note: FixedPointNote) -> None:
        """Adds a quantised note from sample `start` on."""
        position, length = 0, note.samples.shape[-1]
        while position < length:
            block, offset = divmod(start + position, BLOCK)
            piece = note.samples[..., position : position + BLOCK - offset]
            mine = self.blocks.get(block)
            bound = self.bounds[block] = self.bounds.get(block, 0) + note.peak
            dtype = np.int32 if bound <= _MOST else np.int64
            if mine is None or mine.dtype != dtype:
                mine = np.zeros((*piece.shape[:-1], BLOCK), dtype) if mine is None else mine.astype(dtype)
                self.blocks[block] = mine
            mine[..., offset : offset + piece.shape[-1]] += piece
            position += piece.shape[-1]

    def merge(self, other: SparseMix) -> None:
        """Adds another mix to this one; `other` stays as it is."""
        for block, values in other.blocks.items():
            mine = self.blocks.get(block)
            bound = self.bounds[block] = self.bounds.get(block, 0) + other.bounds[block]
            if mine is None:
                self.blocks[block] = values
            elif bound <= _MOST:
                self.blocks[block] = mine + values
            else:
                self.blocks[block] = _narrow(mine.astype(np.int64) + values)

    def packed(self) -> SparseMix:
        """Returns the same mix with 32-bit blocks wherever they suffice, to be sent to other processes."""
        return SparseMix({block: _narrow(values) for block, values in self.blocks.items()}, dict(self.bounds))

    @property
    def nbytes(self) -> int:
        """Returns the size of all blocks in bytes."""
        return sum(values.nbytes for values in self.blocks.values())


def _narrow(values: NDArray[np.signedinteger]) -> NDArray[np.signedinteger]:
    if values.dtype == np.int32:
        return values
    limits = np.iinfo(np.int32)
    fits = values.min() >= limits.min and values.max() <= limits.max
    return values.astype(np.int32) if fits else values


def merged(mixes: Iterable[SparseMix]) -> SparseMix:
    """Adds several mixes."""
    total = SparseMix()
    for mix in mixes:
        total.merge(mix)
    return total


def clip_samples(last_end: float, last_sample: int, config: MixConfig, sample_rate: int) -> int:
    """Returns the length of a clip in samples.

    Args:
        last_end: latest note end in seconds.
        last_sample: sample at which the last release ends.
        config: `tail` decides between the two.
        sample_rate: in Hz.

    Source: generate_util.combine_notes for tail "reference": int(last end + 3) whole seconds.
    """
    return int(last_end + 3.0) * sample_rate if config.tail == "reference" else last_sample


def finish(mix: SparseMix, samples: int, config: MixConfig) -> NDArray[np.float32]:
    """Converts a mix to a clip and normalises its peak.

    Args:
        mix: sum of all notes.
        samples: length of the clip; sound beyond it is cut.
        config: peak and channels.

    Returns:
        float32 [samples], or [samples, 2] with panning; silence stays silence.

    Source: generate_util.combine_notes, for clip_peak "positive" and peak 0.5.
    """
    clip = np.zeros(_shape(samples, config), np.float32)
    scale = _scale(mix, config)
    for block, values in mix.blocks.items():
        piece = clip[block * BLOCK : (block + 1) * BLOCK]
        piece[:] = (values[..., : len(piece)] * scale).T
    return clip


def peak_gain(mix: SparseMix, config: MixConfig) -> float:
    """Returns the factor by which `finish` multiplies the sum of notes."""
    return _scale(mix, config) * UNIT


def _scale(mix: SparseMix, config: MixConfig) -> float:
    if config.clip_peak == "none":
        return 1.0 / UNIT
    highest = max((int(values.max()) for values in mix.blocks.values()), default=0)
    if config.clip_peak == "absolute" or highest <= 0:
        highest = max([highest, *(-int(values.min()) for values in mix.blocks.values())])
    return config.peak / max(highest, 1)


def pieces(mix: SparseMix, samples: int, config: MixConfig) -> Iterator[NDArray[np.float32]]:
    """Yields the unscaled sum of notes, a block at a time.

    Yields:
        float32 [up to BLOCK samples], or [up to BLOCK samples, 2] with panning, `samples` in all; exact up to 16.0.
    """
    for first in range(0, samples, BLOCK):
        length = min(BLOCK, samples - first)
        values = mix.blocks.get(first // BLOCK)
        if values is None:
            yield np.zeros(_shape(length, config), np.float32)
        else:
            yield (values[..., :length] * (1.0 / UNIT)).T.astype(np.float32)


def _shape(samples: int, config: MixConfig) -> tuple[int, ...]:
    return (samples, 2) if config.channels == 2 else (samples,)
