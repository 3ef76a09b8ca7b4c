"""`python -m training releases`: how quickly each GM program falls silent when its key is let go.

The player fades every note out by itself, so the network never learns releases. They are measured on the soundfont's
notes and written into the bank.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansynth.general_midi import SUSTAINED
from training.render import RENDER_RATE, fluidsynth_releases

PITCHES = range(36, 85, 12)
FRAME = RENDER_RATE // 200
"""Samples of a frame of 5 ms."""
BETWEEN = (-3.0, -33.0)
"""Levels in dB, against that at the note's end, between which the slope is measured."""
SILENCE = -80.0
"""Level in dB at its end below which a note is over."""
SHORTEST = 0.03
"""Seconds that a release lasts at least; a shorter one would click."""
LONGEST = {True: 1.0, False: 0.45}
"""Seconds that a release lasts at most, of programs whose notes last while they are held, and of all others.

Strings and pads of the soundfont ring for up to 4 s, which would blur songs, and take the network as long. Notes that
decay do so while they are released, too.
"""

# fmt: off
SECONDS = (
    0.45, 0.45, 0.45, 0.44, 0.11, 0.45, 0.25, 0.17,
    0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45,
    0.13, 0.17, 0.17, 1.00, 0.25, 0.26, 0.11, 0.26,
    0.45, 0.45, 0.05, 0.36, 0.28, 0.11, 0.16, 0.03,
    0.12, 0.13, 0.13, 0.16, 0.13, 0.12, 0.35, 0.03,
    0.38, 0.26, 0.49, 0.18, 1.00, 0.42, 0.45, 0.45,
    1.00, 1.00, 1.00, 1.00, 1.00, 0.60, 1.00, 0.45,
    0.19, 0.19, 0.23, 0.19, 0.30, 0.34, 0.31, 0.31,
    0.19, 0.18, 0.19, 0.19, 0.22, 0.16, 0.23, 0.03,
    0.29, 0.29, 0.17, 0.11, 0.36, 0.27, 0.38, 0.19,
    0.18, 0.20, 1.00, 0.26, 0.16, 0.75, 0.19, 0.03,
    1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00,
    0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45,
    0.45, 0.45, 0.45, 0.45, 0.45, 0.33, 0.24, 0.15,
    0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.13,
    0.45, 0.45, 0.45, 0.45, 0.31, 0.45, 0.45, 0.28,
)
# fmt: on
"""Seconds in which each GM program falls by 60 dB, as FluidR3 has it, within the bounds; eight programs a line."""


def release_seconds(program: int, soundfont: Path) -> float:
    """Measures in how many seconds a program falls by 60 dB when released: the median over the pitches that sound.

    Args:
        program: General MIDI program, from 0.
        soundfont: path of the soundfont.
    """
    found = [_seconds(note) for note in fluidsynth_releases(program, PITCHES, soundfont)]
    heard = [seconds for seconds in found if np.isfinite(seconds)] or [np.inf]
    return float(np.clip(np.median(heard), SHORTEST, LONGEST[program in SUSTAINED]))


def _seconds(note: NDArray[np.float32]) -> float:
    """Extrapolates the fall of a note that was just released, float32 [samples, 2], to 60 dB; inf if it is over."""
    frames = note[: len(note) // FRAME * FRAME].reshape(-1, FRAME * note.shape[1])
    level = 10.0 * np.log10(np.square(frames.astype(np.float64)).mean(axis=1) + 1e-14)
    if level[0] < SILENCE:
        return np.inf
    level -= level[0]
    first, last = (int(np.argmax(level < bound)) for bound in BETWEEN)
    if level.min() >= BETWEEN[1]:
        last = len(level) - 1
    return 60.0 * (last - first) * 0.005 / max(level[first] - level[last], 1e-3)


def main(soundfont: Path) -> None:
    """Prints the releases of all GM programs, as SECONDS has them."""
    for family in range(0, 128, 8):
        print("    " + " ".join(f"{release_seconds(program, soundfont):.2f}," for program in range(family, family + 8)))
