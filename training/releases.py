"""`python -m training releases`: how quickly each instrument falls silent when its key is let go.

The player fades every note out by itself, so the network never learns releases. They are measured on the soundfont's
notes and written into the bank.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.instruments import BUNDLED
from training.render import RENDER_RATE, fluidsynth_releases

PITCHES = range(36, 85, 12)
FRAME = RENDER_RATE // 200
"""Samples of a frame of 5 ms."""
BETWEEN = (-3.0, -33.0)
"""Levels in dB, against that at the note's end, between which the slope is measured."""
BOUNDS = (0.03, 0.45)
"""Seconds that a release is held within.

Shorter ones would click. Longer ones, of strings that ring and organs in churches, would blur songs without a pedal.
"""

SECONDS = {
    "piano": 0.45,
    "epiano": 0.11,
    "harpsichord": 0.25,
    "clavinet": 0.17,
    "music_box": 0.45,
    "vibraphone": 0.45,
    "marimba": 0.45,
    "church_organ": 0.45,
    "accordion": 0.26,
    "nylon_guitar": 0.45,
    "steel_guitar": 0.45,
    "jazz_guitar": 0.05,
    "muted_guitar": 0.45,
    "distortion_guitar": 0.16,
    "bass": 0.13,
    "synth_bass": 0.35,
    "pizzicato": 0.42,
    "harp": 0.45,
    "violin": 0.38,
    "cello": 0.45,
    "strings": 0.45,
    "choir": 0.45,
    "trumpet": 0.19,
    "trombone": 0.19,
    "french_horn": 0.3,
    "brass_section": 0.34,
    "saxophone": 0.18,
    "oboe": 0.22,
    "clarinet": 0.03,
    "flute": 0.29,
    "synth_lead": 0.2,
    "warm_pad": 0.45,
}
"""Seconds in which the bundled instruments fall by 60 dB, as FluidR3 has them."""


def release_seconds(program: int, soundfont: Path) -> float:
    """Measures in how many seconds an instrument falls by 60 dB when released: the median over pitches.

    Args:
        program: General MIDI program, from 0.
        soundfont: path of the soundfont.
    """
    found = [_seconds(note) for note in fluidsynth_releases(program, PITCHES, soundfont)]
    return float(np.clip(np.median(found), *BOUNDS))


def _seconds(note: NDArray[np.float32]) -> float:
    """Extrapolates the fall of a note that was just released, float32 [samples, 2], to 60 dB."""
    frames = note[: len(note) // FRAME * FRAME].reshape(-1, FRAME * note.shape[1])
    level = 10.0 * np.log10(np.square(frames.astype(np.float64)).mean(axis=1) + 1e-14)
    level -= level[0]
    first, last = (int(np.argmax(level < bound)) for bound in BETWEEN)
    if level.min() >= BETWEEN[1]:
        last = len(level) - 1
    return 60.0 * (last - first) * 0.005 / max(level[first] - level[last], 1e-3)


def main(soundfont: Path) -> None:
    """Prints the releases of the bundled instruments."""
    for instrument in BUNDLED:
        if instrument.source is not None:
            print(f'    "{instrument.name}": {release_seconds(instrument.source, soundfont):.2f},')
