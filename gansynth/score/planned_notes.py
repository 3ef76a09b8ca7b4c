"""Table of a song's planned notes, which is synthesised, drawn and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.midi.notes import NoteTable

MOVING_GAIN, MOVING_BEND = 1, 2
"""Flags of `PlannedNotes.moving`."""


@dataclass(frozen=True)
class PlannedNotes(NoteTable):
    """Notes of a song as they are rendered, sorted by start; about 40 bytes a note, 60 with expression.

    Columns that are None hold the value in brackets for every note.

    Attributes:
        start: int64 [n], first sample in the clip.
        sustain: int32 [n], samples before the release; of a drum hit, all its samples.
        pitch, velocity: uint8 [n], after folding.
        program: uint8 [n], MIDI program 0..127, 128 for drums.
        track: int32 [n], number of the note's part.
        left, right: integers [n], rows of the instruments' latents and names.
        fraction: position between left (0) and right (1): float64 [n] in chunks, float32 [n] in plans.
        release: samples of the linear fade after the sustain of notes without a decay.
        gain: float64 [n], factor for the note's normalised sound: velocity, constant channel gain, variation
            [velocity / 127].
        key: uint8 [n], pitch that the network renders [`pitch`]; of a drum hit, its key in the kit.
        semitones: float64 [n], constant part of the distance from `key` to the sounding pitch [0].
        moving: uint8 [n], flags MOVING_GAIN and MOVING_BEND: the channel's gain or bend changes during the note [0].
        channel: uint16 [n], number of the channel whose timelines shape the note [0].
        decay: int32 [n], samples in which the release of the note's instrument falls by 60 dB; 0 for notes that fall
            linearly [0].
        tail: int32 [n], audible samples after the sustain [`release`].
        source: int32 [n], samples of the network's sound that the note needs [sustain + tail].
        held: bool [n], whether the network's sound is extended [False].
        skip: uint8 [n], samples left out at the beginning of the network's sound [0].
        kit: uint8 [n], program of the drum channel, which selects a variant of the kit [no drum hits].
        pan: uint8 [n], 1 left, 64 middle, 127 right [mono].
        stem: uint8 [n], number of each note's stem [no stems].
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
    gain: NDArray[np.float64] | None = None
    key: NDArray[np.uint8] | None = None
    semitones: NDArray[np.float64] | None = None
    moving: NDArray[np.uint8] | None = None
    channel: NDArray[np.uint16] | None = None
    decay: NDArray[np.int32] | None = None
    tail: NDArray[np.int32] | None = None
    source: NDArray[np.int32] | None = None
    held: NDArray[np.bool_] | None = None
    skip: NDArray[np.uint8] | None = None
    kit: NDArray[np.uint8] | None = None
    pan: NDArray[np.uint8] | None = None
    stem: NDArray[np.uint8] | None = None

    def without(self, rows: Sequence[int]) -> PlannedNotes:
        """Returns the notes without the rows `rows`, such as those that were rendered silent."""
        return self[np.delete(np.arange(len(self)), rows)] if rows else self

    def slim(self) -> PlannedNotes:
        """Leaves out the columns that only synthesis needs: 200,000 notes are then 5 MB."""
        fraction = self.fraction.astype(np.float32)
        return replace(self, fraction=fraction, gain=None, key=None, decay=None, source=None, held=None, skip=None)

    @property
    def gains(self) -> NDArray[np.float64]:
        """Returns the factors for the notes' normalised sounds, float64 [n]."""
        return self.velocity / 127.0 if self.gain is None else self.gain

    @property
    def tails(self) -> NDArray[np.int32]:
        """Returns the audible samples after each note's sustain, int32 [n]."""
        return np.full(len(self), self.release, np.int32) if self.tail is None else self.tail

    @property
    def keys(self) -> NDArray[np.uint8]:
        """Returns the pitches that the network renders, uint8 [n]."""
        return self.pitch if self.key is None else self.key

    @property
    def sources(self) -> NDArray[np.int32]:
        """Returns the samples of the network's sound that each note needs, int32 [n]."""
        return self.sustain + self.tails if self.source is None else self.source

    @property
    def is_hit(self) -> NDArray[np.bool_]:
        """Finds the hits of the drum kit, bool [n]."""
        return np.zeros(len(self), np.bool_) if self.kit is None else self.program == 128
