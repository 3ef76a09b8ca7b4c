"""The instruments of the bundled voice: the GM program that FluidSynth renders for each, and the programs it plays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LATENT_NORM = 4.0
"""Length of every instrument's latent: what a random one of 16 numbers has on average."""


@dataclass(frozen=True)
class Instrument:
    """One named instrument.

    Attributes:
        name, family: as in instruments.yaml.
        source: the GM program, from 0, that FluidSynth renders; None if the notes come from a folder.
        programs: the GM programs it plays, from 0; 128 stands for drums.
    """

    name: str
    family: str
    source: int | None = None
    programs: tuple[int, ...] = ()


# Each program goes to the instrument whose harmonics over time are nearest to its own, as the soundfont plays it, where
# ears would not object: an organ stays an organ, a drum is no guitar.
BUNDLED = (
    Instrument("piano", "keys", 0, (0, 1, 2, 3, 6, 15)),
    Instrument("epiano", "keys", 4, (4, 5, 7, 88, 96)),
    Instrument("music_box", "mallets", 10, (8, 9, 10, 98, 112)),
    Instrument("vibraphone", "mallets", 11, (11, 14, 114)),
    Instrument("marimba", "mallets", 12, (12, 13, 47, 108, 113, 115, 116, 117, 118, 127, 128)),
    Instrument("church_organ", "organ", 19, (16, 17, 18, 19, 20, 21, 23, 86)),
    Instrument("nylon_guitar", "plucked", 24, (24, 25, 99, 104, 105, 106, 107)),
    Instrument("jazz_guitar", "plucked", 26, (26, 27, 28, 29, 30, 31, 120)),
    Instrument("bass", "plucked", 33, (32, 33, 34, 35, 36, 37, 38, 39, 87)),
    Instrument("harp", "plucked", 46, (45, 46)),
    Instrument("cello", "bowed", 42, (40, 41, 42, 43, 110)),
    Instrument("strings", "bowed", 48, (44, 48, 49, 50, 51, 55, 81)),
    Instrument("choir", "choir", 52, (52, 53, 54, 85, 91)),
    Instrument("trumpet", "wind", 56, (56, 57, 59, 61, 62, 63, 64, 65, 66, 67, 84, 109, 111)),
    Instrument("french_horn", "wind", 60, (58, 60, 68, 69, 70)),
    Instrument("clarinet", "wind", 71, (22, 71, 80)),
    Instrument("flute", "wind", 73, (72, 73, 74, 75, 76, 77, 78, 79, 82, 83)),
    Instrument(
        "warm_pad",
        "pad",
        89,
        (89, 90, 92, 93, 94, 95, 97, 100, 101, 102, 103, 119, 121, 122, 123, 124, 125, 126),
    ),
)


def listed(text: str) -> tuple[Instrument, ...]:
    """Parses instruments.json; bundled instruments get the programs that BUNDLED gives them now."""
    today = {(entry.name, entry.source): entry.programs for entry in BUNDLED}
    found = [Instrument(**{**entry, "programs": tuple(entry["programs"])}) for entry in json.loads(text)]
    return tuple(replace(one, programs=today.get((one.name, one.source), one.programs)) for one in found)


def latents(count: int, size: int, seed: int = 7) -> NDArray[np.float64]:
    """Computes the instruments' latents: as far apart as possible, randomly rotated.

    Args:
        count: number of instruments.
        size: latent size.
        seed: seed of the initial latents and the rotation.

    Returns:
        float64 [count, size], rows of length LATENT_NORM, rounded to 6 digits; orthogonal where count <= size,
        else spread by repulsion until the closest pair is as far apart as gradient steps bring it.
    """
    random = np.random.RandomState(seed)
    if count <= size:
        codes = np.linalg.qr(random.normal(size=[size, size]))[0][:count]
    else:
        codes = random.normal(size=[count, size])
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        for step in range(4000):
            cosine = codes @ codes.T * (1.0 - np.eye(count))
            # The closest pairs push hardest, opposite ones as well: half way between those there is no direction.
            push = np.sign(cosine) * np.exp((8 + step / 20) * (np.abs(cosine) - np.abs(cosine).max()))
            codes -= 0.02 / (1 + step / 200) * push @ codes
            codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    return np.round(codes * LATENT_NORM, 6)


def blend(codes: NDArray[np.float64], z: NDArray[np.float64], sharpness: float = 12.0) -> NDArray[np.float64]:
    """Computes the weight of each instrument in the target of a latent, for interpolated and random latents.

    Args:
        codes: latents of the instruments, float [instruments, size].
        z: latents, float [n, size].
        sharpness: factor of the cosines between them in the softmax.

    Returns:
        float64 [n, instruments]; at most four weights of a row are not zero, and they sum to 1.
    """
    cosine = _unit(z) @ _unit(codes).T
    weights = np.exp(sharpness * (cosine - cosine.max(axis=1, keepdims=True)))
    if weights.shape[1] > 4:
        weights[weights < np.sort(weights, axis=1)[:, -4:-3]] = 0.0
    return weights / weights.sum(axis=1, keepdims=True)


def _unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def check_programs(instruments: Sequence[Instrument]) -> None:
    """Checks that each of the programs 0..128 belongs to exactly one instrument.

    Raises:
        ValueError: a program is missing or given twice.
    """
    given = sorted(p for instrument in instruments for p in instrument.programs)
    if given != list(range(129)):
        raise ValueError(f"programs 0..128 must each be given once; got {given}")
