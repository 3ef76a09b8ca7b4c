"""Panning of notes in stereo, with MIDI's values from 1 (left) over 64 (centre) to 127 (right)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.mix import FixedPointNote
from gansynth.midi.notes import CENTRE, Notes
from gansynth.score.schedule import Schedule

_WIDTH = 44
"""Distance of the outermost instruments from the centre, of at most 63."""


def positions(notes: Notes, schedule: Schedule, panning: str) -> NDArray[np.uint8] | None:
    """Finds the pan position of each note.

    Args:
        notes: the notes of a song.
        schedule: their instruments; a note between two instruments counts for the nearer one.
        panning: "off", "spread" or "midi", see MixConfig.

    Returns:
        uint8 [notes], 0..127; None for "off".
    """
    if panning == "off":
        return None
    if panning == "midi":
        return np.full(len(notes), CENTRE, np.uint8) if notes.pan is None else notes.pan
    instrument = schedule.nearest
    playing, which = np.unique(instrument, return_inverse=True)
    count = np.bincount(which)
    lowest_first = np.argsort(np.bincount(which, notes.pitch) / count, kind="stable")
    seats = np.rint(CENTRE + np.linspace(-_WIDTH, _WIDTH, len(playing)) * (len(playing) > 1)).astype(np.uint8)
    inside_out = np.argsort(np.abs(seats.astype(np.int16) - CENTRE), kind="stable")
    seat = np.empty(len(playing), np.uint8)
    seat[lowest_first] = seats[inside_out]
    return seat[which]


def gains(position: int) -> tuple[float, float]:
    """Returns the factors for the left and the right channel; their power is the same at every position.

    Args:
        position: 0..127; 0 is as far left as 1.

    Source: MIDI Manufacturers Association, RP-036, default pan formula.
    """
    angle = math.pi / 2 * max(0, position - 1) / 126
    return math.sin(math.pi / 2 - angle), math.sin(angle)


def panned(note: FixedPointNote, position: int) -> FixedPointNote:
    """Converts a mono note to stereo, int [2, samples], at a pan position, 0..127."""
    samples = np.stack([np.rint(note.samples * gain) for gain in gains(position)])
    return FixedPointNote(samples.astype(note.samples.dtype), note.peak)
