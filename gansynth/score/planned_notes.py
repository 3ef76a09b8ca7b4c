"""Table of a song's notes that is synthesised, drawn and written, from the render plan on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.midi.notes import NoteTable


@dataclass(frozen=True)
class PlannedNotes(NoteTable):
    """Notes of a song as they are rendered, sorted by start; 25 to 31 bytes a note.

    Attributes:
        start: int64 [n], first sample in the clip.
        sustain: int32 [n], number of samples before the release.
        pitch, velocity: uint8 [n], as rendered, after folding.
        program: uint8 [n], MIDI program 0..127, 128 for drums.
        track: int32 [n], number of the note's track.
        left, right: integer [n], rows of the instruments' latents and names.
        fraction: position between left (0) and right (1): float64 [n] in chunks, float32 [n] in plans.
        release: number of samples of each note's release, after its sustain.
        pan: uint8 [n], 0 and 1 left, 64 centre, 127 right; None in mono.
        stem: uint8 [n], number of each note's stem; None without stems.
    """

    start: NDArray[np.int64]
    sustain: NDArray[np.int32]
    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]
    program: NDArray[np.uint8]
    track: NDArray[np.int32]
    left: NDArray[np.integer[Any]]
    right: NDArray[np.integer[Any]]
    fraction: NDArray[np.floating[Any]]
    release: int
    pan: NDArray[np.uint8] | None = None
    stem: NDArray[np.uint8] | None = None

    def without(self, rows: Sequence[int]) -> PlannedNotes:
        """Returns the notes without the rows `rows`, such as those that were rendered silent."""
        return self[np.delete(np.arange(len(self)), rows)] if rows else self
