"""The instruments of the bundled voice: the GM program that FluidSynth renders for each, and the programs it plays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def norm(size: int) -> float:
    """Returns the length of every instrument's latent: the average length of a random one of this size."""
    return float(np.sqrt(size))


@dataclass(frozen=True)
class Instrument:
    """One named instrument.

    Attributes:
        name, family: as in instruments.yaml.
        source: the GM program, from 0, that FluidSynth renders; None where the sound comes from a folder.
        programs: the GM programs it plays, from 0; 128 stands for drums. One that plays none is trained, but not listed
            in instruments.yaml: what the network makes of it is not good enough.
        level: dB by which it is played louder than the others, which all sound equally loud without.
    """

    name: str
    family: str
    source: int | None = None
    programs: tuple[int, ...] = ()
    level: float = 0.0


# Programs, levels and PITCH_LEVELS are what `python -m training programs` measures on the soundfont; the model card
# lists distances.
BUNDLED = (
    Instrument("piano", "keys", 0, (0, 1, 3, 99, 100, 103), level=-4.0),
    Instrument("epiano", "keys", 4, (4, 5), level=-1.5),
    Instrument("harpsichord", "keys", 6, (2, 6, 96, 97, 101, 105, 106, 107, 119, 122, 125, 126), level=1.0),
    Instrument("clavinet", "keys", 7, (7,), level=2.0),
    Instrument("music_box", "mallets", 10, (9, 10), level=-0.5),
    Instrument("vibraphone", "mallets", 11, (8, 11, 14), level=-3.5),
    Instrument("marimba", "mallets", 12, (12, 13, 15, 104, 108, 112, 128), level=-1.0),
    Instrument("church_organ", "organ", 19, (16, 17, 18, 19, 21), level=2.0),
    Instrument("accordion", "organ", 21),
    Instrument("nylon_guitar", "plucked", 24, (24, 102), level=1.0),
    Instrument("steel_guitar", "plucked", 25, (25, 27), level=1.5),
    Instrument("jazz_guitar", "plucked", 26, (26,), level=1.0),
    Instrument("muted_guitar", "plucked", 28, (28, 113, 115, 120, 121, 123)),
    Instrument("distortion_guitar", "guitar", 30, (29, 30, 31, 124), level=4.0),
    Instrument("bass", "plucked", 33, (33, 34, 37), level=2.0),
    Instrument("synth_bass", "plucked", 38, (32, 35, 36, 38, 39), level=0.5),
    Instrument("pizzicato", "plucked", 45, (45, 47, 55, 98, 114, 116, 117, 118, 127), level=1.0),
    Instrument("harp", "plucked", 46, (46,), level=-1.0),
    Instrument("violin", "bowed", 40, (40, 41, 43, 110)),
    Instrument("cello", "bowed", 42, (42, 94), level=-1.5),
    Instrument("strings", "bowed", 48, (44, 48, 49, 50, 53, 54, 85, 90), level=-2.5),
    Instrument("choir", "choir", 52, (52,), level=-2.5),
    Instrument("trumpet", "wind", 56, (20, 22, 56, 59, 87, 111), level=-2.5),
    Instrument("trombone", "wind", 57, (57,), level=1.5),
    Instrument("french_horn", "wind", 60, (58, 60), level=1.0),
    Instrument("brass_section", "wind", 61, (23, 61, 62, 63, 109), level=1.0),
    Instrument("saxophone", "wind", 65, (64, 65, 66, 67), level=1.5),
    Instrument("oboe", "wind", 68, (68, 69, 70, 88), level=-1.5),
    Instrument("clarinet", "wind", 71, (71,), level=0.5),
    Instrument("flute", "wind", 73, (72, 73, 74, 75, 76, 77, 78, 79, 91), level=-1.0),
    Instrument("synth_lead", "lead", 81, (51, 80, 81, 82, 83, 84, 86), level=-1.5),
    Instrument("warm_pad", "pad", 89, (89, 92, 93, 95), level=-4.5),
)

LEVEL_PITCHES = tuple(range(36, 85, 12))
PITCH_LEVELS = {
    "piano": (1.0, 1.5, -1.0, -2.0, -4.5),
    "epiano": (-6.0, -2.5, 1.0, 1.0, -1.0),
    "harpsichord": (-1.5, 0.5, 0.0, -0.5, 0.0),
    "clavinet": (-2.5, -2.0, 0.5, 0.5, 0.0),
    "music_box": (2.0, 0.5, -1.0, -0.5, 0.0),
    "vibraphone": (1.5, 1.0, 0.0, -2.0, -6.5),
    "marimba": (-1.0, -0.5, 0.0, 0.5, 1.0),
    "church_organ": (0.0, 0.0, -1.0, 0.0, 1.0),
    "accordion": (0.5, 0.5, 0.0, -1.5, 0.0),
    "nylon_guitar": (0.0, 1.5, 0.5, -2.0, -3.5),
    "steel_guitar": (1.0, -0.5, -0.5, -1.0, -2.0),
    "jazz_guitar": (-1.0, -0.5, 0.0, 2.0, 4.0),
    "muted_guitar": (2.5, 1.0, 0.0, -3.5, -4.0),
    "distortion_guitar": (2.0, 0.5, -1.0, 0.0, -0.5),
    "bass": (0.0, 0.0, 0.0, -0.5, 0.0),
    "synth_bass": (0.0, 0.0, 0.5, -0.5, -0.5),
    "pizzicato": (0.0, 0.0, 0.5, -0.5, -0.5),
    "harp": (-1.5, 1.5, 0.5, -2.5, -9.0),
    "violin": (0.0, 0.0, 0.5, -1.5, -1.5),
    "cello": (0.0, 0.5, -0.5, -2.5, -0.5),
    "strings": (-0.5, -0.5, 0.0, 0.5, 1.0),
    "choir": (0.0, 1.0, 0.0, -0.5, 0.5),
    "trumpet": (0.0, 0.0, -0.5, 1.0, 2.5),
    "trombone": (-3.0, -0.5, 1.5, 0.0, -0.5),
    "french_horn": (-0.5, 0.0, 1.0, 0.0, -1.0),
    "brass_section": (0.0, -1.0, 0.5, 0.5, 0.0),
    "saxophone": (1.5, 0.5, 0.5, -0.5, -0.5),
    "oboe": (0.0, 0.0, -0.5, 0.5, 1.0),
    "clarinet": (0.0, 0.0, 0.0, 0.0, 1.0),
    "flute": (-1.0, -1.0, 0.0, -0.5, 0.0),
    "synth_lead": (-1.0, -0.5, 0.5, 0.0, 0.5),
    "warm_pad": (1.0, 0.5, 0.5, -1.0, -1.5),
}
"""By how many dB the bundled instruments are louder at each of LEVEL_PITCHES than their level says."""


def listed(text: str) -> tuple[Instrument, ...]:
    """Parses instruments.json; bundled instruments get the programs and levels that BUNDLED gives them now."""
    today = {(entry.name, entry.source): entry for entry in BUNDLED}
    found = [Instrument(**{**entry, "programs": tuple(entry["programs"])}) for entry in json.loads(text)]
    return tuple(today.get((one.name, one.source), one) for one in found)


def latents(count: int, size: int, seed: int = 7) -> NDArray[np.float64]:
    """Computes the instruments' latents: as far apart as possible, randomly rotated.

    Args:
        count: number of instruments.
        size: latent size.
        seed: seed of the initial latents and the rotation.

    Returns:
        float64 [count, size], rows of length norm(size), rounded to 6 digits; orthogonal where count <= size,
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
    return np.round(codes * norm(size), 6)


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
