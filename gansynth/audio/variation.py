"""Small variations of start and level between repeated notes, which need no further rendering."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VARIANTS = 8
"""Number of variants of a note: few, so that notes of the same variant share their samples."""
_DECIBELS = 0.1
_SKIPPED_SECONDS = 0.00025


@dataclass(frozen=True)
class Variation:
    """A variation of a note.

    Attributes:
        skipped: samples left out at the beginning of the network's sound.
        gain: factor.
    """

    skipped: int = 0
    gain: float = 1.0


def choose_variants(
    seed: int, song: str, instrument: NDArray[np.integer], pitch: NDArray[np.integer]
) -> NDArray[np.uint8]:
    """Chooses the variant of each note of a song; eight successive repeats of a sound all have different variants.

    Args:
        seed: seed of the job, also used for random instruments.
        song: digest of the song's file.
        instrument: int [n], number of each note's instrument in the song, in the order of the notes' starts.
        pitch: int [n], MIDI pitch of each note.

    Returns:
        uint8 [n], 0..VARIANTS - 1.
    """
    state: dict[tuple[int, int], tuple[int, int]] = {}
    chosen = []
    for sound in zip(instrument.tolist(), pitch.tolist(), strict=True):
        if sound not in state:
            first, step = hashlib.sha256(f"{seed}/{song}/{sound[0]}/{sound[1]}".encode()).digest()[:2]
            state[sound] = first, 2 * step + 1  # an odd step visits all variants before it returns to one
        at, step = state[sound]
        chosen.append(at % VARIANTS)
        state[sound] = at + step, step
    return np.array(chosen, np.uint8)


def variation(variant: int, amount: float, sample_rate: int) -> Variation:
    """Computes the variation of a variant.

    At amount 1, the starts of two variants differ by at least 0.25 ms: the difference of two repeats is then at most
    26 dB below them at MIDI pitch 24, and less at higher pitches.

    Args:
        variant: 0..VARIANTS - 1, from `choose_variants`.
        amount: 0..1; 0 for no variation.
        sample_rate: in Hz.

    Returns:
        A variation of at most 1.75 ms and 0.09 dB.
    """
    if not amount:
        return Variation()
    level = (5 * variant % VARIANTS - 0.5 * (VARIANTS - 1)) / (0.5 * VARIANTS)
    return Variation(
        skipped=round(variant * amount * _SKIPPED_SECONDS * sample_rate),
        gain=10.0 ** (amount * _DECIBELS * level / 20.0),
    )
