"""Policies: which notes of a song are played, at which pitch and when."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi.notes import Notes


def apply_policies(notes: Notes, config: NotesConfig) -> tuple[Notes, dict[str, int]]:
    """Applies the policies: drums, range, stretch.

    Returns:
        The notes to play, and how many there were of each outcome: total, played, folded, drums_skipped,
        out_of_range_dropped.

    Raises:
        MidiError: nothing is left to play, a limit is passed, or a note is out of range where that is an error.
    """
    counts: Counter[str] = Counter(total=len(notes))
    if not len(notes):
        raise MidiError("it holds no notes", code="midi-no-notes")
    if len(notes) > config.max_notes:
        message = f"{len(notes)} notes are more than notes.max_notes {config.max_notes}"
        raise MidiError(message, code="midi-too-many-notes")
    if config.drums == "skip":
        counts["drums_skipped"] = int(notes.is_drum.sum())
        notes = notes[~notes.is_drum]
        if not len(notes):
            raise MidiError("all its notes are drums, and notes.drums is skip", code="midi-only-drums")
    pitch = notes.pitch.astype(np.int32)
    outside = (pitch < config.min_pitch) | (pitch > config.max_pitch)
    if outside.any():
        limits = f"{config.min_pitch}..{config.max_pitch}"
        if config.out_of_range == "error":
            message = f"{int(outside.sum())} notes are outside pitches {limits}, and out_of_range is error"
            raise MidiError(message, code="midi-out-of-range")
        if config.out_of_range == "fold":
            up = np.maximum(0, -((pitch - config.min_pitch) // 12))
            down = np.maximum(0, -((config.max_pitch - pitch) // 12))
            pitch = pitch + 12 * up - 12 * down
            still = (pitch < config.min_pitch) | (pitch > config.max_pitch)
            counts["folded"] = int((outside & ~still).sum())
            outside = still
        counts["out_of_range_dropped"] = int(outside.sum())
        notes = replace(notes, pitch=pitch.astype(np.int16))[~outside]
        if not len(notes):
            raise MidiError(f"all its notes are outside pitches {limits}", code="midi-out-of-range")
    notes = replace(notes, start=notes.start * config.time_stretch, end=notes.end * config.time_stretch)
    if notes.span > config.max_song_seconds:
        message = f"it lasts {notes.span:.0f} s, longer than notes.max_song_seconds {config.max_song_seconds:.0f}"
        raise MidiError(message, code="midi-too-long")
    counts["played"] = len(notes)
    return notes, dict(counts)
